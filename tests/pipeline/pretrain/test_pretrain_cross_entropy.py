"""The loss by chunks of positions, against torch's over all logits."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.pretrain.data.batch import IGNORED
from pipeline.pretrain.model import vocabulary
from pipeline.pretrain.model.cross_entropy import chunked_nats, sums
from pipeline.pretrain.model.vocabulary import chunk_rows

POSITIONS, WIDTH, IDS = 50, 8, 64


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 16 rows: three whole ones, and one of two rows."""
    monkeypatch.setattr(vocabulary, "_LEAST_ROWS", 1)
    monkeypatch.setattr(vocabulary, "CHUNK_LOGITS", {"cpu": 16 * IDS})


def given(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    hidden, head = (torch.randn(rows, WIDTH, generator=random).to(dtype) for rows in (POSITIONS, IDS))
    targets = torch.randint(IDS, (POSITIONS,), generator=random)
    targets[::5] = IGNORED
    return hidden.requires_grad_(), head.requires_grad_(), targets


def whole(hidden: Tensor, head: Tensor, targets: Tensor, z_loss: float) -> tuple[Tensor, Tensor, Tensor]:
    logits = (hidden @ head.T).to(torch.promote_types(hidden.dtype, torch.float32))
    nats = functional.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
    squares = (logits.logsumexp(-1).square() * (targets != IGNORED)).sum()
    return nats + z_loss * squares, nats, squares


@pytest.mark.parametrize("z_loss", [0.0, 0.01])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.float64, 1e-13)], ids=["fp32", "fp64"])
def test_sums_and_gradients_are_those_of_all_logits(z_loss: float, dtype: torch.dtype, error: float) -> None:
    hidden, head, targets = given(dtype)
    found = sums(hidden, head, targets, z_loss=z_loss)
    expected = whole(hidden, head, targets, z_loss)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=error, atol=0)
    assert (found.nats.requires_grad, found.squares.requires_grad) == (False, False)
    gradients = torch.autograd.grad(found.trained / 40, (hidden, head))
    for one, other in zip(gradients, torch.autograd.grad(expected[0] / 40, (hidden, head)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=error)


def test_gradients_equal_finite_differences() -> None:
    hidden, head, targets = given(torch.float64)
    assert torch.autograd.gradcheck(lambda *both: sums(*both, targets, z_loss=0.1).trained, (hidden, head))


def test_a_tied_head_has_the_gradients_of_both_uses() -> None:
    _, head, targets = given(torch.float64)
    tokens = targets.clamp(min=0).flip(0)
    (found,) = torch.autograd.grad(sums(head[tokens].tanh(), head, targets, z_loss=0.1).trained, head)
    (expected,) = torch.autograd.grad(whole(head[tokens].tanh(), head, targets, 0.1)[0], head)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_half_precision_is_added_up_in_single() -> None:
    """Products are rounded to bfloat16, sums are not: as near to the exact gradient as those of all logits are."""
    hidden, head, targets = given()
    exact = torch.autograd.grad(whole(hidden, head, targets, 0.0)[0], (hidden, head))
    with torch.autocast("cpu", torch.bfloat16):
        found, plain = sums(hidden, head, targets, z_loss=0.0), whole(hidden, head, targets, 0.0)
    assert found.trained.dtype == torch.float32
    assert found.nats.item() == pytest.approx(plain[1].item(), rel=1e-6)
    for one, other, right in zip(
        torch.autograd.grad(found.trained, (hidden, head)),
        torch.autograd.grad(plain[0], (hidden, head)),
        exact,
        strict=True,
    ):
        assert one.dtype == torch.float32
        assert (one - right).norm() <= 1.2 * (other - right).norm() < 0.02 * right.norm()


def test_logits_are_widened_before_the_softmax() -> None:
    """bfloat16 has steps of 0.5 at 100: the normalizer of 64 equal logits, 104.16, would be rounded to 104."""
    hidden, head = torch.full((3, 1), 10.0, dtype=torch.bfloat16), torch.full((IDS, 1), 10.0, dtype=torch.bfloat16)
    found = sums(hidden, head, torch.tensor([0, IGNORED, 5]), z_loss=0.5)
    assert found.nats.item() == pytest.approx(2 * math.log(64), rel=1e-6)
    assert found.squares.item() == pytest.approx(2 * (100 + math.log(64)) ** 2, rel=1e-6)
    assert found.trained.item() == pytest.approx(2 * math.log(64) + (100 + math.log(64)) ** 2, rel=1e-6)


class _Largest(TorchDispatchMode):
    """Numbers of the largest tensor that an operation made."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        tensors = found if isinstance(found, tuple | list) else (found,)
        sizes = [one.numel() for one in tensors if isinstance(one, Tensor)]
        self.numbers = max([self.numbers, *sizes])
        return found


def test_no_more_logits_than_a_chunk_are_ever_held() -> None:
    hidden, head, targets = given()
    with _Largest() as found:
        sums(hidden, head, targets, z_loss=0.1).trained.backward()
    assert found.numbers == 16 * IDS
    with _Largest() as all_of_them:
        whole(hidden, head, targets, 0.1)[0].backward()
    assert all_of_them.numbers == POSITIONS * IDS


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # the compiler does so
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_it_is_compiled_as_one_graph() -> None:
    hidden, head, targets = given()
    torch._dynamo.reset()
    compiled = torch.compile(sums, backend="aot_eager", fullgraph=True, dynamic=False)
    found, expected = (one(hidden, head, targets, z_loss=0.1) for one in (compiled, sums))
    torch.testing.assert_close(tuple(found), tuple(expected))
    for one, other in zip(
        *(torch.autograd.grad(each.trained, (hidden, head)) for each in (found, expected)), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_nats_of_each_target() -> None:
    hidden, head, targets = given(torch.float64)
    found = chunked_nats(hidden, head, targets)
    expected = functional.cross_entropy(hidden @ head.T, targets, ignore_index=IGNORED, reduction="none")
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=0)
    assert found[::5].tolist() == [0.0] * 10


def test_rows_of_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """32,768 ids: 2**23 logits on a CPU, 2**28 on a GPU; with very many ids 128 rows all the same."""
    monkeypatch.undo()
    assert [chunk_rows(32_768, device) for device in ("cpu", "cuda")] == [256, 8192]
    assert [chunk_rows(1 << 20, device) for device in ("cpu", "cuda")] == [128, 256]
