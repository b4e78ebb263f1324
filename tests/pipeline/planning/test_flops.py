"""Parameters and operations against the model's own tensors and the published table; utilization; GPUs by name."""

from __future__ import annotations

import pytest
import torch

from pipeline.pretrain.config import PRESETS, Experts, Shape
from pipeline.pretrain.model.flops import flops_per_token, measured_peak_flops, parameters, peak_flops, utilization
from pipeline.pretrain.model.transformer import Transformer

SMALL = {"layers": 3, "dim": 64, "heads": 4, "kv_heads": 2, "ffn_dim": 160}
SHAPES = {
    "tied": Shape(**SMALL),
    "own head": Shape(**SMALL, tied=False),
    "relu2": Shape(**SMALL, feed_forward="relu2"),
    "qk norm": Shape(**SMALL, qk_norm=True),
    "experts": Shape(**SMALL, experts=Experts(count=4, per_token=2, ffn_dim=48)),
}


@pytest.mark.parametrize("name", list(SHAPES))
def test_parameters_are_those_of_the_model(name: str) -> None:
    shape = SHAPES[name]
    model = Transformer(shape, 200, max_length=8)
    counted = parameters(shape, 200)
    assert counted.total == sum(p.numel() for p in model.parameters())
    ends = {name: p.numel() for name, p in model.named_parameters() if name.startswith(("embedding.", "head."))}
    assert counted.embedding == sum(ends.values())
    blocks = sum(p.numel() for name, p in model.named_parameters() if p.ndim >= 2 and name not in ends)
    if shape.experts is not None:  # two of four are used
        blocks -= 3 * 2 * 3 * 64 * 48
    assert counted.matrices == blocks + 256 * 64


def test_operations_of_a_forward_pass_as_torch_counts_them() -> None:
    """A training step is three forward passes: its products once more for each of the two gradients."""
    from torch.utils.flop_counter import FlopCounterMode

    shape = SHAPES["own head"]
    rows, length = 2, 32
    model = Transformer(shape, 256, max_length=length)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(rows, length, dtype=torch.long))
    expected = flops_per_token(shape, 256, length)
    counts = counter.get_flop_counts()["Global"]
    attention = sum(count for operation, count in counts.items() if "attention" in str(operation))
    products = sum(counts.values()) - attention
    assert 3 * products == rows * length * expected.matrices
    # torch's counter does not know the CPU's attention kernel in every version.
    assert attention in (0, rows * length * expected.attention // 3)


@pytest.mark.parametrize(
    ("preset", "length", "expected"),
    [("124m", 1024, 773_849_088), ("350m", 2048, 2_654_994_432)],
    ids=["124m", "350m"],
)
def test_the_usual_presets(preset: str, length: int, expected: int) -> None:
    """Worked out by hand for 32,768 ids, as in 6 (12 x (4 x 768^2 + 3 x 768 x 2048) + 768 x 32768) + 12 x 12 x 768 x 1024."""
    assert flops_per_token(PRESETS[preset], 32_768, length).total == expected


def test_the_causal_count_leaves_half_of_the_attention() -> None:
    flops = flops_per_token(PRESETS["124m"], 32_768, 1024)
    assert flops.attention == 12 * 12 * 768 * 1024
    assert flops.total - flops.causal == 6 * 12 * 768 * 1024


@pytest.mark.parametrize(
    ("name", "tera"),
    [
        ("NVIDIA H200", 989.4),
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.5),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA A10", 125.0),
        ("NVIDIA L40S", 362.0),
        ("NVIDIA L4", 121.0),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA GH200 480GB", 989.4),
        ("AMD Instinct MI300X", 1307.4),
        ("Some Other Device", None),
    ],
    ids=str,
)
def test_gpus_by_the_names_that_drivers_give(name: str, tera: float | None) -> None:
    found = peak_flops(name)
    assert found == (None if tera is None else pytest.approx(tera * 1e12))


def test_utilization() -> None:
    assert utilization(500_000, 7.7e8, 989.4e12) == pytest.approx(0.389, abs=5e-4)
    assert utilization(500_000, 7.7e8, None) is None


def test_a_measured_peak_is_one() -> None:
    assert 1e6 < measured_peak_flops(torch.device("cpu"), size=64, seconds=0.01) < 1e15
