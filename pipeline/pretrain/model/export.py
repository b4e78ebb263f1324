"""The trained model as ``model.safetensors`` and ``config.json``, named and laid out as Hugging Face's models are.

``vocab_size`` is the padded one, as the rows past the tokenizer's took part in every softmax. ``layout`` says which
architecture it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from pipeline.errors import RunFailedError
from pipeline.pretrain.config import Job, Shape
from pipeline.pretrain.model.described import CLASSES, OWN_TYPE
from pipeline.pretrain.model.layout import model_type, to_theirs
from pipeline.pretrain.model.rope import ntk_theta
from pipeline.pretrain.model.transformer import Transformer
from pipeline.pretrain.training.beginning import empty_model
from pipeline.pretrain.training.checkpoint import latest, load_weights


def export(job: Job, folder: Path) -> tuple[Path, Path]:
    """Write the newest checkpoint's weights into a folder; returns (model.safetensors, config.json).

    Raises:
        RunFailedError: the run has left no complete checkpoint.
    """
    checkpoints = Path(job.home) / "checkpoints"
    checkpoint = latest(checkpoints)
    if checkpoint is None:
        msg = f"{checkpoints} holds no complete checkpoint to export"
        raise RunFailedError(msg)
    model = empty_model(job)
    load_weights(checkpoint, model)
    return write_model(model, folder, eos_id=job.data.eos_id)


def write_model(model: Transformer, folder: Path, *, eos_id: int) -> tuple[Path, Path]:
    """Write a model into a folder; returns (model.safetensors, config.json)."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, described = folder / "model.safetensors", folder / "config.json"
    save_file(hf_tensors(model), weights, metadata={"format": "pt"})
    described.write_text(json.dumps(hf_config(model, eos_id), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return weights, described


def hf_tensors(model: Transformer) -> dict[str, Tensor]:
    """Weights by their Hugging Face names; fused projections taken apart."""
    return to_theirs(model.shape, model.state_dict())


def hf_config(model: Transformer, eos_id: int) -> dict[str, Any]:
    """What ``config.json`` says."""
    shape = model.shape
    scaling = _rope(shape)
    kind = model_type(shape)
    return {
        "architectures": [CLASSES[kind]],
        "model_type": kind,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": eos_id,
        "eos_token_id": eos_id,
        "head_dim": shape.head_dim,
        "hidden_act": "silu" if shape.feed_forward == "swiglu" else "relu2",
        "hidden_size": shape.dim,
        "initializer_range": 0.02,
        "intermediate_size": shape.ffn_dim,
        "max_position_embeddings": _positions(model),
        "mlp_bias": False,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "pretraining_tp": 1,
        **({"qk_norm": shape.qk_norm} if kind == OWN_TYPE else {}),
        "rms_norm_eps": shape.norm_eps,
        # transformers from 5 on reads rope_parameters, older ones rope_scaling and rope_theta.
        "rope_parameters": scaling,
        "rope_scaling": None if scaling["rope_type"] == "default" else scaling,
        "rope_theta": scaling["rope_theta"],
        "tie_word_embeddings": shape.tied,
        "torch_dtype": "float32",
        "use_cache": True,
        "vocab_size": model.embedding.num_embeddings,
        **_experts(shape),
    }


def _positions(model: Transformer) -> int:
    """Linear scaling names no original length: who reads it divides the positions by the factor."""
    scaling = model.shape.rope_scaling
    if scaling is None or scaling.method != "linear":
        return model.max_length
    return max(model.max_length, round(scaling.factor * scaling.original_length))


def _rope(shape: Shape) -> dict[str, Any]:
    """Rotary positions in transformers' words. A base that is enlarged once and for all (ntk) is just another base."""
    scaling = shape.rope_scaling
    if scaling is None:
        return {"rope_type": "default", "rope_theta": shape.rope_theta}
    if scaling.method == "ntk":
        return {"rope_type": "default", "rope_theta": ntk_theta(shape.head_dim, shape.rope_theta, scaling.factor)}
    stretched = {"rope_type": scaling.method, "rope_theta": shape.rope_theta, "factor": scaling.factor}
    # Linear angles depend on the factor alone, and transformers warns of a field it does not read.
    of_yarn = {"original_max_position_embeddings": scaling.original_length}
    return stretched | (of_yarn if scaling.method == "yarn" else {})


def _experts(shape: Shape) -> dict[str, Any]:
    experts = shape.experts
    if experts is None:
        return {}
    counts = {"num_experts_per_tok": experts.per_token, "router_aux_loss_coef": experts.balance}
    if model_type(shape) == "mixtral":
        return {**counts, "num_local_experts": experts.count, "intermediate_size": experts.ffn_dim}
    return {
        **counts,
        "num_experts": experts.count,
        "moe_intermediate_size": experts.ffn_dim,
        "norm_topk_prob": experts.per_token > 1,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    }
