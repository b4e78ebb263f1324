"""Learning rates by hand, and which weights are decayed."""

from __future__ import annotations

import pytest
import torch

from pipeline.pretrain.config import Shape, TrainConfig
from pipeline.pretrain.model import Transformer
from pipeline.pretrain.optim import Gradients, learning_rate, make_optimizer

SMALL = Shape(layers=1, dim=8, heads=2, kv_heads=1, ffn_dim=8)


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        ("cosine", 1, 0.2),  # warm-up of 4: fifths
        ("cosine", 4, 0.8),
        ("cosine", 5, 0.9 * 0.5 * (1 + 0.9951847) + 0.1),  # cos(pi / 32)
        ("cosine", 20, 0.55),  # halfway between 4 and 36
        ("cosine", 36, 0.1),
        ("wsd", 4, 0.8),
        ("wsd", 5, 1.0),
        ("wsd", 29, 1.0),  # a fifth of 36 is 7: steps 30 to 36 go down in eighths
        ("wsd", 30, 7 / 8),
        ("wsd", 36, 1 / 8),
    ],
)
def test_rate(schedule: str, step: int, expected: float) -> None:
    config = TrainConfig(shape=SMALL, steps=36, warmup_steps=4, learning_rate=2.0, schedule=schedule)
    assert learning_rate(config, step) == pytest.approx(2.0 * expected, rel=1e-6)


@pytest.mark.parametrize("tied", [True, False])
def test_only_matrices_are_decayed(tied: bool) -> None:
    model = Transformer(SMALL.model_copy(update={"tied": tied}), 9, max_length=4)
    optimizer = make_optimizer(model, TrainConfig(shape=SMALL, learning_rate=1e-3, weight_decay=0.3))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    kept = {name for name, parameter in model.named_parameters() if decay[id(parameter)] == 0.0}
    assert kept == {"embedding.weight", "norm.weight", "blocks.0.attention_norm.weight", "blocks.0.ffn_norm.weight"}
    assert len(decay) == len(list(model.parameters()))


def test_gradients_are_measured_and_clipped_together() -> None:
    model = torch.nn.ModuleList([torch.nn.Linear(2, 1, bias=False), torch.nn.Linear(1, 1, bias=False)])
    gradients = Gradients(model)
    gradients.clear()
    (3 * model[0].weight.sum() + 4 * model[1].weight.sum()).backward()
    gradients.loss.add_(5.0)
    assert gradients.clip(1.0) == pytest.approx(34**0.5)  # 9 + 9 + 16
    assert model[0].weight.grad.tolist()[0] == pytest.approx([3 / 34**0.5] * 2)
    assert gradients.clip(2.0) == pytest.approx(1.0)
    assert model[1].weight.grad.item() == pytest.approx(4 / 34**0.5)
    assert gradients.loss.item() == 5.0
    gradients.clear()
    assert gradients.summed.abs().sum() == 0
