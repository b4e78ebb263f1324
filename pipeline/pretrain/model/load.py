"""A model from ``model.safetensors`` and ``config.json``: ours, or one of Hugging Face's of the same architecture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.pretrain.config import RopeScaling, Shape
from pipeline.pretrain.model.layout import CLASSES, OWN_TYPE, to_ours
from pipeline.pretrain.model.transformer import Transformer


@dataclass(frozen=True)
class LoadedModel:
    """A model, ready to be asked (``eval``), and what its files say of it."""

    model: Transformer
    shape: Shape
    max_length: int
    """Positions it was trained for."""
    eos_id: int | None
    bos_id: int | None


def load_model(path: Path | str, device: torch.device | str = "cpu") -> LoadedModel:
    """From a folder that holds ``config.json`` and ``model.safetensors`` or the several files of its index.

    Raises:
        UserError: a file is missing or broken, or the architecture is another one.
    """
    folder = Path(path)
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(_json(index).get("weight_map", {}).values()))
        return _load([folder / name for name in names], folder / "config.json", device)
    return load_files(folder / "model.safetensors", folder / "config.json", device)


def load_files(weights: Path, config: Path, device: torch.device | str = "cpu") -> LoadedModel:
    """From a file of weights and its configuration, whatever they are called.

    Raises:
        UserError: as ``load_model``.
    """
    return _load([weights], config, device)


def stretched(loaded: LoadedModel, method: Literal["linear", "ntk", "yarn"], factor: float) -> LoadedModel:
    """The same weights with rotary angles for ``factor`` times as many positions, see ``rope.frequencies``.

    ntk and yarn serve without further training up to factors of about 2; more, and linear, want some training.

    Raises:
        UserError: the model's angles are scaled already, or the factor is not above 1.
    """
    if loaded.shape.rope_scaling is not None or factor <= 1:
        msg = f"cannot stretch by {factor}: the factor must be above 1, and the model's positions not scaled yet"
        raise UserError(msg)
    scaling = RopeScaling(method=method, factor=factor, original_length=loaded.max_length)
    shape = loaded.shape.model_copy(update={"rope_scaling": scaling})
    max_length, device = round(loaded.max_length * factor), loaded.model.embedding.weight.device
    model = _filled(shape, loaded.model.state_dict(), max_length, Path())
    return replace(loaded, model=model.to(device).eval(), shape=shape, max_length=max_length)


def _load(files: list[Path], config: Path, device: torch.device | str) -> LoadedModel:
    described = _json(config)
    shape, max_length = read_shape(described, config), int(described["max_position_embeddings"])
    theirs: dict[str, Tensor] = {}
    for path in files:
        theirs |= _tensors(path)
    try:
        ours = to_ours(shape, theirs)
    except KeyError as error:
        msg = f"{files[0].parent}: no weight {error.args[0]!r}, which {config.name} calls for: are they of one model?"
        raise UserError(msg) from None
    model = _filled(shape, ours, max_length, files[0])
    return LoadedModel(
        model.to(device).eval(),
        shape,
        max_length,
        eos_id=_first(described.get("eos_token_id")),
        bos_id=_first(described.get("bos_token_id")),
    )


def _filled(shape: Shape, ours: dict[str, Tensor], max_length: int, source: Path) -> Transformer:
    """The model with those weights, in float32."""
    rows = len(ours["embedding.weight"])
    model = Transformer(shape, rows, max_length=max_length, seed=None)
    if model.embedding.num_embeddings != rows:  # not padded by us: a row too many would take part in the softmax
        model.embedding = nn.Embedding(rows, shape.dim)
        model.head = None if shape.tied else nn.Linear(shape.dim, rows, bias=False)
    try:
        model.load_state_dict({name: tensor.float() for name, tensor in ours.items()})
    except RuntimeError as error:
        msg = f"{source}: weights do not fit the configuration: {error}"
        raise UserError(msg) from None
    return model


def read_shape(described: Mapping[str, Any], source: Path) -> Shape:
    """The shape that a ``config.json`` describes.

    Raises:
        UserError: it is none that this model can take; the message names the field.
    """
    for name, default, allowed in _allowed(described):
        value = described.get(name, default)
        if value not in allowed:
            choice = " or ".join(repr(one) for one in allowed if one is not None)
            msg = f"{source}: {name} is {value!r}, and only {choice} can be loaded"
            raise UserError(msg)
    try:
        return Shape.model_validate(_fields(described))
    except KeyError as error:
        msg = f"{source}: no field {error.args[0]!r}"
        raise UserError(msg) from None
    except ValidationError as error:
        wrong = (".".join(map(str, one["loc"])) + ": " + one["msg"] for one in error.errors())
        msg = f"{source}: {'; '.join(wrong)}"
        raise UserError(msg) from None


def _allowed(described: Mapping[str, Any]) -> list[tuple[str, object, tuple[object, ...]]]:
    """Fields, what transformers takes where there is none, and what can be loaded."""
    kind = described.get("model_type")
    rules: list[tuple[str, object, tuple[object, ...]]] = [
        ("model_type", None, tuple(CLASSES)),
        ("hidden_act", "silu", ("silu", "relu2") if kind == OWN_TYPE else ("silu",)),
        ("attention_bias", False, (False,)),
        ("mlp_bias", False, (False,)),
        ("use_sliding_window", False, (False,)),
        ("decoder_sparse_step", 1, (1,)),
        ("mlp_only_layers", None, (None, [])),
    ]
    if kind == "qwen3_moe":  # see Experts: several are made to add up to 1, a single one is not
        rules.append(("norm_topk_prob", False, (described.get("num_experts_per_tok", 0) > 1,)))
    return rules


def _fields(described: Mapping[str, Any]) -> dict[str, Any]:
    """Of ``Shape``."""
    kind, rope = described["model_type"], _rope(described)
    return {
        "layers": described["num_hidden_layers"],
        "dim": described["hidden_size"],
        "heads": described["num_attention_heads"],
        "head_width": _head_width(described),
        "kv_heads": described.get("num_key_value_heads") or described["num_attention_heads"],
        "ffn_dim": described["intermediate_size"],
        "tied": described.get("tie_word_embeddings", False),
        "qk_norm": kind.startswith("qwen3") or (kind == OWN_TYPE and described["qk_norm"]),
        "norm_eps": described["rms_norm_eps"],
        "feed_forward": "relu2" if described.get("hidden_act") == "relu2" else "swiglu",
        "experts": _experts(described),
        "rope_theta": rope["rope_theta"],
        "rope_scaling": _scaling(rope, described["max_position_embeddings"]),
    }


def _head_width(described: Mapping[str, Any]) -> int | None:
    """None where it is the width over the heads, as in most."""
    named = described.get("head_dim") or (128 if described["model_type"] == "qwen3" else None)
    return None if named and named * described["num_attention_heads"] == described["hidden_size"] else named


def _rope(described: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary positions: one field since transformers 5, two before."""
    found = described.get("rope_parameters") or described.get("rope_scaling") or {}
    return {"rope_type": found.get("type", "default"), "rope_theta": described.get("rope_theta", 10_000.0), **found}


def _scaling(rope: Mapping[str, Any], max_length: int) -> dict[str, Any] | None:
    kind = rope["rope_type"]
    known = {"rope_type", "type", "rope_theta", "factor", "original_max_position_embeddings"}
    strange = sorted(name for name in set(rope) - known if rope[name] is not None)
    if kind not in ("default", "linear", "yarn") or strange:
        more = f" with {', '.join(strange)}" if strange else ""
        msg = f"rotary positions are of type {kind!r}{more}: only default, linear and plain yarn can be loaded"
        raise UserError(msg)
    if kind == "default":
        return None
    original = rope.get("original_max_position_embeddings") or round(max_length / rope["factor"])
    return {"method": kind, "factor": rope["factor"], "original_length": original}


def _experts(described: Mapping[str, Any]) -> dict[str, Any] | None:
    count = described.get("num_local_experts") or described.get("num_experts")
    if not count:
        return None
    return {
        "count": count,
        "per_token": described["num_experts_per_tok"],
        "ffn_dim": described.get("moe_intermediate_size") or described["intermediate_size"],
        "balance": described.get("router_aux_loss_coef", 0.01),
    }


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        msg = f"{path} is not there: a model is a folder with model.safetensors and config.json"
        raise UserError(msg)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        msg = f"{path} is no JSON: {error}"
        raise UserError(msg) from None


def _tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        msg = f"{path} is not there: a model is a folder with model.safetensors and config.json"
        raise UserError(msg)
    try:
        return load_file(path)
    except SafetensorError as error:
        msg = f"{path} cannot be read: {error}"
        raise UserError(msg) from None


def _first(ids: int | list[int] | None) -> int | None:
    return ids[0] if isinstance(ids, list) else ids
