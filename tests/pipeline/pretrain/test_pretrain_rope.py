"""Rotary angles for longer contexts against transformers, and against what the papers promise."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from pipeline.pretrain.config import RopeScaling
from pipeline.pretrain.model.rope import attention_gain, frequencies, rotation


@pytest.mark.parametrize(
    ("head_dim", "theta", "factor", "original"),
    [(64, 10_000.0, 4.0, 2048), (128, 500_000.0, 8.0, 8192), (16, 10_000.0, 2.0, 128), (64, 10_000.0, 1.5, 64)],
)
@pytest.mark.parametrize("method", ["linear", "yarn", "ntk"])
def test_angles_equal_those_of_transformers(
    method: str, head_dim: int, theta: float, factor: float, original: int
) -> None:
    # Dynamic NTK with a factor of 1 has, at `factor` times the original length, the base of the static one.
    kind = "dynamic" if method == "ntk" else method
    parameters = {"rope_type": kind, "rope_theta": theta, "factor": 1.0 if method == "ntk" else factor}
    if method == "yarn":
        parameters["original_max_position_embeddings"] = original
    config = LlamaConfig(
        hidden_size=2 * head_dim,
        num_attention_heads=2,
        max_position_embeddings=original if method == "ntk" else round(original * factor),
        rope_parameters=parameters,
    )
    expected, gain = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"), seq_len=round(original * factor))
    scaling = RopeScaling(method=method, factor=factor, original_length=original)
    torch.testing.assert_close(frequencies(head_dim, theta, scaling).float(), expected, rtol=2e-6, atol=0)
    assert attention_gain(scaling) == pytest.approx(gain, rel=1e-12)


def test_position_interpolation_puts_factor_positions_where_one_was() -> None:
    scaling = RopeScaling(method="linear", factor=4.0, original_length=16)
    stretched, plain = rotation(64, 8, 10_000.0, scaling), rotation(16, 8, 10_000.0)
    for long, short in zip(stretched, plain, strict=True):
        torch.testing.assert_close(long[::4], short, rtol=0, atol=1e-7)


def test_ntk_leaves_the_fastest_pair_and_interpolates_the_slowest() -> None:
    plain = frequencies(64, 10_000.0)
    ntk = frequencies(64, 10_000.0, RopeScaling(method="ntk", factor=8.0, original_length=2048))
    assert ntk[0] == plain[0]
    assert ntk[-1].item() == pytest.approx(plain[-1].item() / 8, rel=1e-9)


def test_yarn_leaves_pairs_that_turn_32_times_and_divides_those_that_turn_less_than_once() -> None:
    original = 4096
    plain = frequencies(128, 10_000.0)
    yarn = frequencies(128, 10_000.0, RopeScaling(method="yarn", factor=16.0, original_length=original))
    turns = plain * original / (2 * math.pi)
    # The ramp begins and ends at whole pairs, hence the margins.
    torch.testing.assert_close(yarn[turns > 40], plain[turns > 40], rtol=0, atol=0)
    torch.testing.assert_close(yarn[turns < 0.8], plain[turns < 0.8] / 16, rtol=1e-12, atol=0)
    between = (turns > 1.2) & (turns < 28)
    assert ((yarn < plain) & (yarn > plain / 16))[between].all()
    cos, sin = rotation(8, 128, 10_000.0, RopeScaling(method="yarn", factor=16.0, original_length=original))
    # 0.1 ln 16 + 1 = 1.277259, on query and key alike
    torch.testing.assert_close((cos**2 + sin**2).sqrt(), torch.full((8, 128), 1.277259), rtol=1e-5, atol=0)
