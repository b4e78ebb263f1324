"""What a model's ``config.json`` says, ours or one of Hugging Face's, as a shape; free of torch, for whoever only plans."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from pipeline.errors import UserError
from pipeline.pretrain.config import Shape

OWN_TYPE = "sluice"
CLASSES = {
    "llama": "LlamaForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    OWN_TYPE: "SluiceForCausalLM",
}
"""Architectures that can be written and loaded, by ``model_type``, and their classes in transformers."""
_YARN = {"beta_fast": 32, "beta_slow": 1}
"""The only ends of yarn's ramp that ``rope.frequencies`` has, in turns; transformers' defaults too."""


class Described(NamedTuple):
    """A model by its ``config.json``."""

    shape: Shape
    max_length: int
    """Positions it was trained for."""
    rows: int
    """Of its embedding."""
    eos_id: int | None
    bos_id: int | None


def describe(config: Path) -> Described:
    """What a file ``config.json`` says.

    Raises:
        UserError: it is missing, no JSON, or of a model that cannot be loaded; the message names the field.
    """
    fields = read_json(config)
    try:
        return Described(
            read_shape(fields, config),
            int(fields["max_position_embeddings"]),
            int(fields["vocab_size"]),
            eos_id=_first(fields.get("eos_token_id")),
            bos_id=_first(fields.get("bos_token_id")),
        )
    except KeyError as error:
        msg = f"{config}: no field {error.args[0]!r}"
        raise UserError(msg) from None


def weight_files(folder: Path) -> tuple[Path, ...]:
    """``model.safetensors`` of a folder, or the several files that its index names.

    Raises:
        UserError: the index is no JSON, or names no file.
    """
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return (folder / "model.safetensors",)
    names = sorted(set(read_json(index).get("weight_map", {}).values()))
    if not names:
        msg = f"{index} names no file in its weight_map: fetch the model's index again, or remove an index that is not needed"
        raise UserError(msg)
    return tuple(folder / name for name in names)


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
    usual = _YARN if kind == "yarn" else {}
    strange = sorted(name for name in set(rope) - known if rope[name] not in (None, usual.get(name)))
    if kind not in ("default", "linear", "yarn") or strange:
        more = f" with {', '.join(strange)}" if strange else ""
        msg = f"rotary positions are of type {kind!r}{more}: only default, linear and plain yarn can be loaded"
        raise UserError(msg)
    if kind == "default":
        return None
    # Where yarn names none, transformers takes the positions there are; linear angles depend on the factor alone.
    unnamed = max_length if kind == "yarn" else round(max_length / rope["factor"])
    original = rope.get("original_max_position_embeddings") or unnamed
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


def read_json(path: Path) -> dict[str, Any]:
    """A file of a model's folder.

    Raises:
        UserError: it is missing or no JSON.
    """
    if not path.is_file():
        msg = f"{path} is not there: a model is a folder with model.safetensors and config.json"
        raise UserError(msg)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        msg = f"{path} is no JSON: {error}"
        raise UserError(msg) from None


def _first(ids: int | list[int] | None) -> int | None:
    return ids[0] if isinstance(ids, list) else ids
