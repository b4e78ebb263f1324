"""Learning rates by hand, which weights are decayed, Muon against torch's, and updates that are left out."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch

from pipeline.pretrain.config import Experts, Shape, TrainConfig
from pipeline.pretrain.model.transformer import Transformer
from pipeline.pretrain.training import muon
from pipeline.pretrain.training.muon import Muon, orthogonal
from pipeline.pretrain.training.optim import make_optimizers, update
from pipeline.pretrain.training.schedule import learning_rate

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


def test_the_decay_of_wsd_is_as_long_as_asked_for() -> None:
    config = TrainConfig(
        shape=SMALL, steps=36, warmup_steps=4, learning_rate=1.0, schedule="wsd", decay_fraction=0.5
    )  # 18 steps in nineteenths
    rates = [learning_rate(config, step) for step in (18, 19, 36)]
    assert rates == pytest.approx([1.0, 18 / 19, 1 / 19])


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_only_matrices_are_decayed_and_each_weight_is_learned_once(tied: bool, optimizer: str) -> None:
    model = Transformer(SMALL.model_copy(update={"tied": tied}), 9, max_length=4)
    config = TrainConfig(shape=SMALL, learning_rate=1e-3, weight_decay=0.3, optimizer=optimizer)
    optimizers = make_optimizers(model, config)
    groups = [group for one in optimizers for group in one.param_groups]
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    kept = {name for name, parameter in model.named_parameters() if decay[id(parameter)] == 0.0}
    assert kept == {"embedding.weight", "norm.weight", "blocks.0.attention_norm.weight", "blocks.0.ffn_norm.weight"}
    assert len(decay) == sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    if optimizer == "muon":
        inside = {id(p) for name, p in model.named_parameters() if name.startswith("blocks.") and p.ndim > 1}
        assert {id(p) for group in optimizers[0].param_groups for p in group["params"]} == inside


@pytest.mark.parametrize("shape", [(24, 10), (10, 24), (16, 16)], ids=["tall", "wide", "square"])
def test_muon_is_torchs(shape: tuple[int, int]) -> None:
    """Two matrices of a shape, so that they are stacked; torch takes one at a time, in bfloat16 as we here."""
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(shape)) for _ in range(2)]
    theirs = copy.deepcopy(ours)
    mine = Muon(ours, lr=0.05, weight_decay=0.2, dtype=torch.bfloat16)
    reference = torch.optim.Muon(theirs, lr=0.05, weight_decay=0.2, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(shape)
            other.grad = one.grad.clone()
        mine.step()
        reference.step()
    for one, other in zip(ours, theirs, strict=True):
        # An element moves by about 0.2 * 0.05 a step, and bfloat16 knows 1 part in 256.
        torch.testing.assert_close(one, other, atol=4e-4, rtol=0)


@pytest.mark.parametrize("experts", [None, Experts(count=2, ffn_dim=12)], ids=["dense", "experts"])
def test_what_is_stored_in_one_parameter_is_torchs_muon_of_each_part(experts: Experts | None) -> None:
    """Queries, keys, values, and gate and up of each expert, told apart by how the forward pass cuts what they make."""
    shape = Shape(layers=2, dim=32, heads=4, kv_heads=2, ffn_dim=24, experts=experts)
    model = Transformer(shape, 9, max_length=4)
    config = TrainConfig(shape=shape, learning_rate=0.05, weight_decay=0.2, optimizer="muon")
    made = make_optimizers(model, config)[0]
    torch.manual_seed(4)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape)
    cut = {name: rows for name, rows in CUT.items() if (".ffn.up" in name) == (experts is not None) or ".qkv." in name}
    before = {name: model.get_parameter(name).detach().clone() for name in cut}
    expected = {}
    for name, rows in cut.items():
        parameter = model.get_parameter(name)
        expected[name] = torch.stack([_by_torch(*both, rows) for both in _matrices(parameter)]).view(parameter.shape)
    made.step()
    for name, value in expected.items():
        off = (model.get_parameter(name).detach() - value).norm() / (value - before[name]).norm()
        # torch works in bfloat16, ours in float32 here: 1.5 % apart; as one matrix they would be 50 % off.
        assert off < 0.04


CUT = {
    "blocks.0.attention.qkv.weight": [32, 16, 16],
    "blocks.1.attention.qkv.weight": [32, 16, 16],
    "blocks.1.ffn.gate_up.weight": [24, 24],
    "blocks.1.ffn.up": [12, 12],
}


def _matrices(parameter: torch.nn.Parameter) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The weight and the gradient of each matrix of a stack."""
    assert parameter.grad is not None
    size = parameter.shape[-2:]
    yield from zip(parameter.detach().clone().view(-1, *size), parameter.grad.view(-1, *size), strict=True)


def _by_torch(weight: torch.Tensor, grad: torch.Tensor, rows: list[int]) -> torch.Tensor:
    parts = [torch.nn.Parameter(part.clone()) for part in weight.split(rows)]
    for part, of_part in zip(parts, grad.split(rows), strict=True):
        part.grad = of_part.clone()
    torch.optim.Muon(parts, lr=0.05, weight_decay=0.2, adjust_lr_fn="match_rms_adamw").step()
    return torch.cat(parts).detach()


def test_what_is_orthogonal_has_the_same_singular_vectors_and_values_near_one() -> None:
    torch.manual_seed(1)
    matrices = torch.randn(3, 12, 20, dtype=torch.float64)
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    values = left.mT @ orthogonal(matrices) @ right.mT
    diagonal = torch.diagonal(values, dim1=-2, dim2=-1)
    assert (values - torch.diag_embed(diagonal)).abs().max() < 1e-9
    assert diagonal.min() > 0.6
    assert diagonal.max() < 1.3


def test_experts_are_matrices_of_their_own() -> None:
    torch.manual_seed(2)
    stacked = torch.nn.Parameter(torch.randn(3, 6, 4))
    alone = [torch.nn.Parameter(part.clone()) for part in stacked.detach()]
    stacked.grad = torch.randn(3, 6, 4)
    for parameter, grad in zip(alone, stacked.grad, strict=True):
        parameter.grad = grad.clone()
    Muon([stacked], lr=0.1).step()
    for parameter in alone:
        Muon([parameter], lr=0.1).step()
    torch.testing.assert_close(stacked.detach(), torch.stack([p.detach() for p in alone]))


@pytest.mark.parametrize(("chunk_bytes", "expected"), [(1, [1, 1, 1, 3, 1]), (700, [2, 1, 3, 1]), (1400, [3, 4])])
def test_muon_in_chunks_is_muon_at_once(chunk_bytes: int, expected: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Matrices (10, 8) of 320 bytes, three experts (6, 8) of 576 and one of 192: stacks within the bound, bits the same."""
    torch.manual_seed(3)
    shapes = [(10, 8), (3, 6, 8), (10, 8), (10, 8), (6, 8)]
    whole = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    cut = copy.deepcopy(whole)
    optimizers = [Muon(parameters, lr=0.1, weight_decay=0.2) for parameters in (whole, cut)]
    for _ in range(3):
        for one, other in zip(whole, cut, strict=True):
            one.grad = torch.randn(one.shape)
            other.grad = one.grad.clone()
        optimizers[0].step()
        stacks: list[int] = []
        with monkeypatch.context() as patch:
            patch.setattr(muon, "CHUNK_BYTES", chunk_bytes)
            patch.setattr(
                muon, "orthogonal", lambda stack, stacks=stacks: (stacks.append(len(stack)), orthogonal(stack))[1]
            )
            optimizers[1].step()
        assert stacks == expected
    for one, other in zip(whole, cut, strict=True):
        assert torch.equal(one, other)


def test_muon_refuses_what_is_no_matrix() -> None:
    with pytest.raises(ValueError, match=r"not for a parameter of shape \(7,\)"):
        Muon([torch.nn.Parameter(torch.zeros(7))], lr=0.1)
    parameter = torch.nn.Parameter(torch.zeros(7, 3))
    with pytest.raises(ValueError, match=r"rows \(4, 4\) do not make up a parameter of shape \(7, 3\)"):
        Muon([parameter], lr=0.1, rows={parameter: (4, 4)})


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_an_update_that_is_left_out_leaves_no_trace(optimizer: str) -> None:
    """Steps a, b, c of which b is left out, gradients not numbers at that, end where a, c do."""
    shape = SMALL.model_copy(update={"experts": Experts(count=2, ffn_dim=4)})
    config = TrainConfig(shape=shape, learning_rate=1e-2, optimizer=optimizer)
    models = [Transformer(shape, 9, max_length=4) for _ in range(2)]
    optimizers = [make_optimizers(model, config) for model in models]
    random = torch.Generator().manual_seed(0)
    for leave_out in (False, True, False):
        grads = [torch.randn(p.shape, generator=random) for p in models[0].parameters()]
        for number, model in enumerate(models):
            if number and leave_out:
                continue
            for parameter, grad in zip(model.parameters(), grads, strict=True):
                parameter.grad = torch.full_like(grad, float("nan")) if leave_out else grad.clone()
            update(optimizers[number], 1e-2, torch.tensor(float(leave_out)))
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(models[0].norm.weight, Transformer(shape, 9, max_length=4).norm.weight)
