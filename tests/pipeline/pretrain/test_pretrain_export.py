"""The exported files, read by a Llama and Qwen3 forward pass written from the documented names alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pipeline.pretrain.checkpoint import latest, load_weights
from pipeline.pretrain.config import Job
from pipeline.pretrain.export import export
from pipeline.pretrain.loop import train
from pipeline.pretrain.model import Transformer
from pipeline.pretrain.ranks import Place
from tests.pipeline.pretrain.conftest import SMALL, VOCABULARY


def hf_forward(weights: dict[str, Tensor], config: dict[str, Any], tokens: list[int]) -> Tensor:
    """Logits (T, V) as Hugging Face's modelling files compute them, one head and one position at a time."""

    def norm(x: Tensor, name: str) -> Tensor:
        return x * (x.pow(2).mean(-1, keepdim=True) + config["rms_norm_eps"]).rsqrt() * weights[name]

    def rotated(x: Tensor, position: int) -> Tensor:
        half = config["head_dim"] // 2
        angle = position * config["rope_theta"] ** -(torch.arange(half) / half)
        turned = torch.cat((-x[half:], x[:half]))
        return x * angle.cos().repeat(2) + turned * angle.sin().repeat(2)

    width, shared = config["head_dim"], config["num_attention_heads"] // config["num_key_value_heads"]
    x = weights["model.embed_tokens.weight"][tokens]
    for number in range(config["num_hidden_layers"]):
        layer = f"model.layers.{number}"
        entering = norm(x, f"{layer}.input_layernorm.weight")
        query, key, value = (
            (entering @ weights[f"{layer}.self_attn.{part}_proj.weight"].T).unflatten(1, (-1, width)) for part in "qkv"
        )
        if config["model_type"] == "qwen3":
            query, key = norm(query, f"{layer}.self_attn.q_norm.weight"), norm(key, f"{layer}.self_attn.k_norm.weight")
        mixed = torch.zeros_like(query)
        for position in range(len(tokens)):
            for head in range(config["num_attention_heads"]):
                asked = rotated(query[position, head], position)
                keys = torch.stack([rotated(key[p, head // shared], p) for p in range(position + 1)])
                weight = (keys @ asked / width**0.5).softmax(0)
                mixed[position, head] = weight @ value[: position + 1, head // shared]
        x = x + mixed.flatten(1) @ weights[f"{layer}.self_attn.o_proj.weight"].T
        entering = norm(x, f"{layer}.post_attention_layernorm.weight")
        gate, up = (entering @ weights[f"{layer}.mlp.{part}_proj.weight"].T for part in ("gate", "up"))
        x = x + (torch.nn.functional.silu(gate) * up) @ weights[f"{layer}.mlp.down_proj.weight"].T
    head = "model.embed_tokens.weight" if config["tie_word_embeddings"] else "lm_head.weight"
    return norm(x, "model.norm.weight") @ weights[head].T


@pytest.mark.parametrize(("tied", "qk_norm", "model_type"), [(True, False, "llama"), (False, True, "qwen3")])
def test_the_exported_model_is_the_trained_one(
    make_job: Callable[..., Job], tmp_path: Path, tied: bool, qk_norm: bool, model_type: str
) -> None:
    job = make_job("small", steps=8, shape=SMALL.model_copy(update={"tied": tied, "qk_norm": qk_norm}))
    train(job, Place())
    checkpoint = latest(Path(job.home) / "checkpoints")
    weights_file, config_file = export(job, tmp_path / "export")
    config = json.loads(config_file.read_text())
    assert (config["model_type"], config["vocab_size"], config["eos_token_id"]) == (model_type, 128, 0)
    model = Transformer(job.config.shape, VOCABULARY, max_length=16)
    load_weights(checkpoint, model)
    tokens = [0, 5, 9, 9, 31, 2, 47]
    with torch.no_grad():
        expected = model(torch.tensor([tokens]))[0]
        found = hf_forward(load_file(weights_file), config, tokens)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 0.3  # trained, not the zeros of a fresh model
