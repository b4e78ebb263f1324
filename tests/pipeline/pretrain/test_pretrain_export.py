"""Exported files read by transformers and by ``load``, and foreign ones by ``load``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from pipeline.errors import UserError
from pipeline.pretrain.config import Experts, RopeScaling, Shape
from pipeline.pretrain.model.export import write_model
from pipeline.pretrain.model.load import LoadedModel, load_files, load_model, stretched
from pipeline.pretrain.model.transformer import Transformer
from tests.pipeline.pretrain.conftest import SMALL
from tests.pipeline.pretrain.test_pretrain_model import random_tokens, varied

EXPERTS = Experts(count=4, per_token=2, ffn_dim=24)
TOKENS = random_tokens(2, 24, seed=3)


def random_model(shape: Shape) -> Transformer:
    """Weights and gains that are all different from 1 and large enough to matter."""
    model = Transformer(shape, 40, max_length=24)
    random = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=random)
        parameter.data = noise * 0.2 if parameter.ndim > 1 else 1 + noise * 0.3
    return model.eval()


def scaled(method: str) -> RopeScaling:
    return RopeScaling(method=method, factor=2.0, original_length=12)


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        found = model(TOKENS)
    return found if isinstance(found, torch.Tensor) else found.logits


@pytest.mark.parametrize(
    ("shape", "architecture"),
    [
        pytest.param(SMALL, "LlamaForCausalLM", id="llama"),
        pytest.param(varied(qk_norm=True, tied=False), "Qwen3ForCausalLM", id="qwen3"),
        pytest.param(varied(qk_norm=True, head_width=16), "Qwen3ForCausalLM", id="qwen3-wide-heads"),
        pytest.param(varied(experts=EXPERTS, tied=False), "MixtralForCausalLM", id="mixtral"),
        pytest.param(varied(experts=EXPERTS, qk_norm=True), "Qwen3MoeForCausalLM", id="qwen3_moe"),
        pytest.param(
            varied(experts=EXPERTS.model_copy(update={"per_token": 1}), qk_norm=True),
            "Qwen3MoeForCausalLM",
            id="qwen3_moe-1",
        ),
        pytest.param(varied(rope_scaling=scaled("linear")), "LlamaForCausalLM", id="linear"),
        pytest.param(varied(rope_scaling=scaled("yarn"), qk_norm=True), "Qwen3ForCausalLM", id="yarn"),
        pytest.param(varied(rope_scaling=scaled("ntk")), "LlamaForCausalLM", id="ntk"),
    ],
)
def test_transformers_and_load_compute_the_same_logits(tmp_path: Path, shape: Shape, architecture: str) -> None:
    model = random_model(shape)
    write_model(model, tmp_path, eos_id=7)
    expected = logits(model)
    assert expected.std() > 0.5
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(theirs).__name__ == architecture
    torch.testing.assert_close(logits(theirs), expected, rtol=0, atol=2e-5)
    loaded = load_model(tmp_path)
    assert torch.equal(logits(loaded.model), expected)
    assert (loaded.max_length, loaded.eos_id, loaded.bos_id) == (24, 7, 7)


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(varied(feed_forward="relu2", qk_norm=True), id="relu2"),
        pytest.param(varied(feed_forward="relu2", experts=EXPERTS, tied=False), id="relu2-experts"),
        pytest.param(varied(experts=EXPERTS.model_copy(update={"per_token": 1})), id="one-expert"),
    ],
)
def test_what_transformers_has_no_class_for_is_refused_there_and_loaded_here(tmp_path: Path, shape: Shape) -> None:
    model = random_model(shape)
    write_model(model, tmp_path, eos_id=7)
    loaded = load_model(tmp_path)
    assert loaded.shape == shape
    assert torch.equal(logits(loaded.model), logits(model))
    with pytest.raises(ValueError, match="sluice"):
        AutoModelForCausalLM.from_pretrained(tmp_path)


def foreign(folder: Path, **changes: Any) -> LlamaForCausalLM:
    """A model that transformers made and saved, its vocabulary no multiple of 128."""
    torch.manual_seed(2)
    config = LlamaConfig(
        vocab_size=45,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
        initializer_range=0.3,
        **changes,
    )
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(folder, max_shard_size=changes.get("max_shard_size", "5GB"))
    return model


def test_a_foreign_model_in_several_files_is_loaded(tmp_path: Path) -> None:
    model = foreign(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    loaded = load_model(tmp_path)
    assert loaded.model.embedding.num_embeddings == 45
    torch.testing.assert_close(logits(loaded.model), logits(model), rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"model_type": "gpt2"}, "model_type is 'gpt2', and only 'llama' or 'qwen3'", id="architecture"),
        pytest.param({"hidden_act": "gelu"}, "hidden_act is 'gelu', and only 'silu'", id="activation"),
        pytest.param({"attention_bias": True}, "attention_bias is True, and only False", id="bias"),
        pytest.param({"head_dim": 16}, "weights do not fit the configuration", id="head_dim"),
        pytest.param({"head_dim": 7}, "times an even head width", id="odd"),
        pytest.param(
            {"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0}},
            "rotary positions are of type 'llama3' with low_freq_factor: only default, linear and plain yarn",
            id="rope",
        ),
        pytest.param(
            {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
            "of type 'default' with partial_rotary_factor: only",
            id="partial",
        ),
        pytest.param({"num_hidden_layers": 3}, "no weight 'model.layers.2.input_layernorm.weight'", id="layers"),
        pytest.param({"hidden_size": 64, "head_dim": 16}, "weights do not fit the configuration", id="width"),
        pytest.param({"num_hidden_layers": None}, "layers: Input should be a valid integer", id="null"),
    ],
)
def test_what_cannot_be_loaded_is_said(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    write_model(random_model(SMALL), tmp_path, eos_id=7)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, id="bare"),
        pytest.param({"beta_fast": 32, "beta_slow": 1.0}, id="ramp"),
        pytest.param({"original_max_position_embeddings": 16}, id="original"),
    ],
)
def test_yarn_is_read_as_transformers_reads_it(tmp_path: Path, more: dict[str, Any]) -> None:
    """Where no original length is named, it is that of the positions, 128: of 32, their quarter, this ramp is another."""
    foreign(tmp_path)
    path = tmp_path / "config.json"
    yarn = {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, **more}
    changes = {"max_position_embeddings": 128, "rope_parameters": yarn}
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    other = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(logits(load_model(tmp_path).model), logits(other), rtol=0, atol=2e-5)


def test_another_ramp_of_yarn_is_refused(tmp_path: Path) -> None:
    foreign(tmp_path)
    path = tmp_path / "config.json"
    yarn = {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "beta_fast": 16, "beta_slow": 1}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rope_parameters": yarn}))
    with pytest.raises(UserError, match="of type 'yarn' with beta_fast: only"):
        load_model(tmp_path)


def test_an_index_that_names_no_file_is_refused(tmp_path: Path) -> None:
    write_model(random_model(SMALL), tmp_path, eos_id=7)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {}}')
    with pytest.raises(UserError, match=r"index\.json names no file in its weight_map"):
        load_model(tmp_path)


def test_missing_and_broken_files_are_said(tmp_path: Path) -> None:
    weights, config = write_model(random_model(SMALL), tmp_path, eos_id=7)
    with pytest.raises(UserError, match=r"model\.safetensors is not there: a model is a folder with"):
        load_files(tmp_path / "elsewhere" / "model.safetensors", config)
    fields = json.loads(config.read_text())
    del fields["num_attention_heads"]
    config.write_text(json.dumps(fields))
    with pytest.raises(UserError, match="no field 'num_attention_heads'"):
        load_files(weights, config)
    config.write_text("{")
    with pytest.raises(UserError, match="is no JSON"):
        load_files(weights, config)
    write_model(random_model(SMALL), tmp_path, eos_id=7)
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(UserError, match="cannot be read"):
        load_files(weights, config)


def test_half_precision_weights_are_widened(tmp_path: Path) -> None:
    weights, _ = write_model(random_model(SMALL), tmp_path, eos_id=7)
    save_file({name: tensor.bfloat16() for name, tensor in load_file(weights).items()}, weights)
    loaded: LoadedModel = load_model(tmp_path)
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("method", ["linear", "ntk", "yarn"])
def test_a_stretched_model_has_more_positions_and_the_same_weights(tmp_path: Path, method: str) -> None:
    write_model(random_model(SMALL), tmp_path, eos_id=7)
    plain = load_model(tmp_path)
    longer = stretched(plain, method, 2.0)
    assert longer.max_length == 48
    with torch.inference_mode():
        assert longer.model(random_tokens(1, 48)).isfinite().all()
        assert (longer.model(TOKENS) - plain.model(TOKENS)).abs().max() > 0.01
    fresh = Transformer(
        varied(rope_scaling=RopeScaling(method=method, factor=2.0, original_length=24)), 40, max_length=48
    )
    fresh.load_state_dict(plain.model.state_dict())
    assert torch.equal(logits(longer.model), logits(fresh))
    with pytest.raises(UserError, match="cannot stretch by 3"):
        stretched(longer, method, 3.0)
