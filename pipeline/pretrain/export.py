"""The trained model as ``model.safetensors`` and ``config.json``, named and laid out as Hugging Face's models are.

Without QK-norm the architecture is Llama's (``LlamaForCausalLM``), with it Qwen3's (``Qwen3ForCausalLM``): rotary
pairs are the two halves of a head in both. ``vocab_size`` is the padded one, as the rows past the tokenizer's took
part in every softmax.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from pipeline.errors import RunFailedError
from pipeline.pretrain.checkpoint import latest, load_weights
from pipeline.pretrain.config import Job
from pipeline.pretrain.model import Transformer


def export(job: Job, folder: Path) -> tuple[Path, Path]:
    """Write the newest checkpoint's weights into a folder; returns (model.safetensors, config.json).

    Raises:
        RunFailedError: the run has left no complete checkpoint.
    """
    config, checkpoints = job.config, Path(job.home) / "checkpoints"
    checkpoint = latest(checkpoints)
    if checkpoint is None:
        msg = f"{checkpoints} holds no complete checkpoint to export"
        raise RunFailedError(msg)
    model = Transformer(config.shape, job.data.vocab_size, max_length=config.sequence_length, seed=config.seed)
    load_weights(checkpoint, model)
    folder.mkdir(parents=True, exist_ok=True)
    weights, described = folder / "model.safetensors", folder / "config.json"
    save_file(hf_tensors(model), weights, metadata={"format": "pt"})
    described.write_text(json.dumps(hf_config(model, job), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return weights, described


def hf_tensors(model: Transformer) -> dict[str, Tensor]:
    """Weights by their Hugging Face names; fused projections taken apart."""
    shape, ours = model.shape, model.state_dict()
    widths = [heads * shape.head_dim for heads in (shape.heads, shape.kv_heads, shape.kv_heads)]
    named = {"model.embed_tokens.weight": ours["embedding.weight"], "model.norm.weight": ours["norm.weight"]}
    if not shape.tied:
        named["lm_head.weight"] = ours["head.weight"]
    for number in range(shape.layers):
        layer, block = f"model.layers.{number}", f"blocks.{number}"
        query, key, value = ours[f"{block}.attention.qkv.weight"].split(widths)
        gate, up = ours[f"{block}.ffn.gate_up.weight"].chunk(2)
        named |= {
            f"{layer}.input_layernorm.weight": ours[f"{block}.attention_norm.weight"],
            f"{layer}.self_attn.q_proj.weight": query,
            f"{layer}.self_attn.k_proj.weight": key,
            f"{layer}.self_attn.v_proj.weight": value,
            f"{layer}.self_attn.o_proj.weight": ours[f"{block}.attention.out.weight"],
            f"{layer}.post_attention_layernorm.weight": ours[f"{block}.ffn_norm.weight"],
            f"{layer}.mlp.gate_proj.weight": gate,
            f"{layer}.mlp.up_proj.weight": up,
            f"{layer}.mlp.down_proj.weight": ours[f"{block}.ffn.down.weight"],
        }
        if shape.qk_norm:
            named[f"{layer}.self_attn.q_norm.weight"] = ours[f"{block}.attention.q_norm.weight"]
            named[f"{layer}.self_attn.k_norm.weight"] = ours[f"{block}.attention.k_norm.weight"]
    return {name: tensor.contiguous() for name, tensor in named.items()}


def hf_config(model: Transformer, job: Job) -> dict[str, Any]:
    """What ``config.json`` says."""
    shape = model.shape
    return {
        "architectures": ["Qwen3ForCausalLM" if shape.qk_norm else "LlamaForCausalLM"],
        "model_type": "qwen3" if shape.qk_norm else "llama",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": job.data.eos_id,
        "eos_token_id": job.data.eos_id,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "hidden_size": shape.dim,
        "initializer_range": 0.02,
        "intermediate_size": shape.ffn_dim,
        "max_position_embeddings": job.config.sequence_length,
        "mlp_bias": False,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "pretraining_tp": 1,
        "rms_norm_eps": shape.norm_eps,
        "rope_parameters": {"rope_theta": shape.rope_theta, "rope_type": "default"},
        "rope_scaling": None,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": shape.tied,
        "torch_dtype": "float32",
        "use_cache": True,
        "vocab_size": model.embedding.num_embeddings,
    }
