"""Our weights and their Hugging Face names, once for both directions.

Without QK-norm the architecture is Llama's, with it Qwen3's; with experts Mixtral's and Qwen3-MoE's: rotary pairs are the
two halves of a head in all. ReLU^2 has no class of that layout in transformers, nor has one expert a token without
QK-norm: such a model is written as ``sluice``, which this package loads and transformers refuses by its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.pretrain.config import Shape
from pipeline.pretrain.model.described import OWN_TYPE


@dataclass(frozen=True)
class Weight:
    """One of our tensors, and the tensors over there that lie in it end to end, each with so many rows."""

    ours: str
    theirs: tuple[str, ...]
    rows: tuple[int, ...] = ()
    """Empty: there is one, and it is all of ours."""


def model_type(shape: Shape) -> str:
    """What ``config.json`` calls the architecture."""
    if shape.feed_forward != "swiglu":
        return OWN_TYPE
    if shape.experts is not None:
        # Mixtral makes the probability of a single expert 1, and Qwen3-MoE does so only where it is told to.
        without_norm = "mixtral" if shape.experts.per_token > 1 else OWN_TYPE
        return "qwen3_moe" if shape.qk_norm else without_norm
    return "qwen3" if shape.qk_norm else "llama"


def weights(shape: Shape) -> Iterator[Weight]:
    """All of a model's."""
    yield Weight("embedding.weight", ("model.embed_tokens.weight",))
    yield Weight("norm.weight", ("model.norm.weight",))
    if not shape.tied:
        yield Weight("head.weight", ("lm_head.weight",))
    widths = tuple(heads * shape.head_dim for heads in (shape.heads, shape.kv_heads, shape.kv_heads))
    for number in range(shape.layers):
        ours, theirs = f"blocks.{number}", f"model.layers.{number}"
        yield Weight(f"{ours}.attention_norm.weight", (f"{theirs}.input_layernorm.weight",))
        yield Weight(f"{ours}.ffn_norm.weight", (f"{theirs}.post_attention_layernorm.weight",))
        projections = tuple(f"{theirs}.self_attn.{part}_proj.weight" for part in "qkv")
        yield Weight(f"{ours}.attention.qkv.weight", projections, widths)
        yield Weight(f"{ours}.attention.out.weight", (f"{theirs}.self_attn.o_proj.weight",))
        if shape.qk_norm:
            for part in ("q_norm", "k_norm"):
                yield Weight(f"{ours}.attention.{part}.weight", (f"{theirs}.self_attn.{part}.weight",))
        yield from _feed_forward(shape, f"{ours}.ffn", theirs)


def _feed_forward(shape: Shape, ours: str, theirs: str) -> Iterator[Weight]:
    entering = ("gate_proj", "up_proj") if shape.feed_forward == "swiglu" else ("up_proj",)
    if shape.experts is None:
        name = f"{ours}.gate_up.weight" if shape.feed_forward == "swiglu" else f"{ours}.up.weight"
        yield Weight(name, _named(f"{theirs}.mlp", entering), (shape.ffn_dim,) * len(entering))
        yield Weight(f"{ours}.down.weight", (f"{theirs}.mlp.down_proj.weight",))
        return
    mixtral = model_type(shape) == "mixtral"
    home, down = (f"{theirs}.block_sparse_moe", "w2") if mixtral else (f"{theirs}.mlp", "down_proj")
    entering = ("w1", "w3") if mixtral else entering
    experts = [f"{home}.experts.{number}" for number in range(shape.experts.count)]
    ups = tuple(name for expert in experts for name in _named(expert, entering))
    yield Weight(f"{ours}.router.weight", (f"{home}.gate.weight",))
    yield Weight(f"{ours}.up", ups, (shape.experts.ffn_dim,) * len(ups))
    yield Weight(f"{ours}.down", tuple(f"{one}.{down}.weight" for one in experts), (shape.dim,) * len(experts))


def _named(home: str, parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{home}.{part}.weight" for part in parts)


def to_theirs(shape: Shape, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by their Hugging Face names; what is fused here is taken apart."""
    named: dict[str, Tensor] = {}
    for weight in weights(shape):
        tensor = ours[weight.ours]
        # Experts are stacked: (N, rows, columns) lie end to end as (N * rows, columns).
        flat = tensor.flatten(0, 1) if tensor.ndim == 3 else tensor
        parts = flat.split(weight.rows) if weight.rows else (flat,)
        named |= {name: part.contiguous() for name, part in zip(weight.theirs, parts, strict=True)}
    return named


def to_ours(shape: Shape, theirs: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Weights with our names, one after the other.

    Raises:
        KeyError: one is missing.
    """
    for weight in weights(shape):
        parts = [theirs[name] for name in weight.theirs]
        tensor = parts[0] if len(parts) == 1 else torch.cat(parts)
        stacked = shape.experts is not None and weight.ours.endswith((".ffn.up", ".ffn.down"))
        yield weight.ours, tensor.unflatten(0, (shape.experts.count, -1)) if stacked and shape.experts else tensor
