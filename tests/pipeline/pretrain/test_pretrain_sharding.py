"""Gradients over ranks by hand, blocks that are computed again, and which numbers of ranks go."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.errors import UserError
from pipeline.pretrain.config import Experts, Job, TokenData, TrainConfig
from pipeline.pretrain.data.batch import Batch
from pipeline.pretrain.model.transformer import Transformer
from pipeline.pretrain.ranks import Agreement, Place
from pipeline.pretrain.sharding import distribute as distributing
from pipeline.pretrain.sharding import recompute as recomputing
from pipeline.pretrain.sharding import replicated
from pipeline.pretrain.sharding.distribute import distribute, groups, make_gradients
from pipeline.pretrain.sharding.replicated import ReplicatedGradients
from pipeline.pretrain.sharding.world import check_ranks, ranks_per_copy, usable_ranks
from tests.pipeline.pretrain.conftest import SMALL, VOCABULARY


def job(batch_size: int = 8, **fields: object) -> Job:
    data = TokenData(shards=(), dtype="uint16", vocab_size=VOCABULARY, eos_id=0)
    config = TrainConfig(shape=SMALL, learning_rate=1e-2, batch_size=batch_size, sequence_length=8)
    return Job(**{"config": config, "data": data, "home": ".", **fields})


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What ``rank_checks`` found on rank 0 and on rank 1."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "tests.pipeline.pretrain.rank_checks", str(folder)]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("bucket_bytes", [1, 12, 1000], ids=["each its own", "two", "one"])
def test_gradients_of_all_parts_are_measured_and_scaled_together(bucket_bytes: int) -> None:
    model = torch.nn.ModuleList([torch.nn.Linear(2, 1, bias=False), torch.nn.Linear(1, 1, bias=False)])
    gradients = ReplicatedGradients(model.parameters(), bucket_bytes=bucket_bytes)
    for _ in range(2):
        gradients.clear()
        for last in (False, True):
            with gradients.part(last=last):
                (1.5 * model[0].weight.sum() + 2 * model[1].weight.sum()).backward()
        assert gradients.add_up(torch.tensor([5.0])).tolist() == [5.0]
        assert gradients.norm().item() == pytest.approx(34**0.5)  # 9 + 9 + 16
    gradients.scale_(0.5)
    assert model[0].weight.grad.tolist() == [[1.5, 1.5]]
    assert model[1].weight.grad.tolist() == [[2.0]]
    model.zero_grad()  # lets go of the views
    gradients.clear()
    (7 * model[1].weight.sum()).backward()
    assert gradients.norm().item() == 7.0


def test_buckets_are_added_up_also_where_a_rank_has_no_gradient(two_ranks: list[dict[str, Any]]) -> None:
    first, second = (found["buckets"] for found in two_ranks)
    assert first == second
    assert first["step 1"] == [[4.0, 4.0], [200.0], [40.0, 40.0, 40.0]]  # two ranks, two parts; rank 1 alone
    assert first["step 2"] == [[8.0, 8.0], [200.0], [40.0, 40.0, 40.0]]
    assert first["sums"] == [2.0, 1.0]
    assert first["norm"] == pytest.approx((2 * 64 + 200**2 + 3 * 1600) ** 0.5 / 2)


def test_ranks_agree_one_step_late(two_ranks: list[dict[str, Any]]) -> None:
    assert [found["agreement"] for found in two_ranks] == [[False, False, True, False]] * 2
    alone = Agreement()
    assert [alone.any(asked) for asked in (False, True, False)] == [False, True, False]


def test_ranks_that_stop_meet_at_one_step_or_not_at_all(two_ranks: list[dict[str, Any]]) -> None:
    assert [found["meeting"] for found in two_ranks] == [[True, False, False], [True, False, None]]
    assert Agreement().all_at(5)


def test_a_rank_that_cannot_write_its_part_is_told_on_all(two_ranks: list[dict[str, Any]]) -> None:
    first, second = (found["full_disk"] for found in two_ranks)
    assert first == second
    assert set(first) == {"step 2", "left 1", "left 2", "left 3"}
    assert "step-00000002 could not be written" in first["step 2"]
    assert "rank 1: " in first["step 2"]
    assert "File too large" in first["step 2"]
    assert first["left 1"] == first["left 2"] == ["step-00000001"]
    assert first["left 3"] == ["step-00000001", "step-00000003"]


@pytest.mark.parametrize(("recompute", "passes"), [("none", 1), ("selective", 2), ("full", 2)])
def test_what_is_computed_again_is_the_same(recompute: str, passes: int) -> None:
    expected = _gradients(Transformer(SMALL, VOCABULARY, max_length=8, seed=1))
    asked = job(recompute=recompute)
    model = distribute(Transformer(SMALL, VOCABULARY, max_length=8, seed=1), asked, Place())
    calls = []
    model.blocks[0].ffn_norm.register_forward_hook(lambda *_: calls.append(1))
    found = _gradients(model)
    assert len(calls) == passes
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=0, msg=name)


def test_attention_by_document_is_kept() -> None:
    """By the name under which the kernel is seen by what decides, on tensors without values."""
    varlen = pytest.importorskip("torch.nn.attention.varlen")
    seen: list[str] = []

    class Names(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    heads = torch.empty(8, 2, 16, dtype=torch.bfloat16, device="meta")
    ends = torch.empty(3, dtype=torch.int32, device="meta")
    with Names():
        varlen.varlen_attn(heads, heads, heads, ends, ends, 4, 4)
    assert [name for name in seen if "attn" in name]
    assert {name for name in seen if "attn" in name} <= recomputing._KEPT


def _gradients(model: Transformer) -> dict[str, Tensor]:
    tokens = torch.randint(0, VOCABULARY, (3, 9), generator=torch.Generator().manual_seed(0))
    model.nats(tokens[:, :-1], tokens[:, 1:]).sum().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def test_one_rank_is_never_split() -> None:
    """It has nobody to share with, and no process group."""
    asked = job(sharding="fsdp")
    model = distribute(Transformer(SMALL, VOCABULARY, max_length=8), asked, Place())
    assert isinstance(make_gradients(model, asked, Place()), ReplicatedGradients)


def test_a_model_that_was_not_split_is_refused() -> None:
    with pytest.raises(TypeError, match="distribute"):
        make_gradients(torch.nn.Linear(1, 1), job(sharding="fsdp"), Place(world=2))


def test_blocks_are_gathered_in_groups() -> None:
    blocks = [torch.nn.Linear(5, 2, bias=False) for _ in range(5)]
    assert [len(group) for group in groups(blocks, 15)] == [2, 2, 1]
    assert [len(group) for group in groups(blocks, 1)] == [1] * 5
    assert [len(group) for group in groups(blocks)] == [5]


@pytest.mark.parametrize(
    ("fields", "world", "expected"),
    [
        ({}, 4, 1),
        ({"sharding": "fsdp"}, 4, 4),
        ({"sharding": "hsdp", "shard_ranks": 2}, 4, 2),
        ({"sharding": "hsdp"}, 8, 4),  # ranks of the node
        ({"sharding": "hsdp"}, 6, 2),  # nodes of four and of two
    ],
)
def test_ranks_of_one_copy(fields: dict[str, object], world: int, expected: int) -> None:
    assert ranks_per_copy(job(**fields), world, 4) == expected


@pytest.mark.parametrize(
    ("fields", "available", "expected"),
    [
        ({"batch_size": 8}, 8, 8),
        ({"batch_size": 8}, 7, 4),
        ({"batch_size": 12}, 5, 4),
        ({"batch_size": 12, "sharding": "hsdp", "shard_ranks": 3}, 5, 3),
        ({"batch_size": 8, "sharding": "hsdp", "shard_ranks": 3}, 5, 0),
    ],
)
def test_ranks_that_can_share_a_batch(fields: dict[str, Any], available: int, expected: int) -> None:
    assert usable_ranks(job(**fields), available) == expected


def test_what_cannot_run_is_refused_before_the_start() -> None:
    with pytest.raises(UserError, match=r"shard_ranks=3 workers.*4 workers.*divisor of 4"):
        check_ranks(job(sharding="hsdp", shard_ranks=3), 4)
    with_experts = SMALL.model_copy(update={"experts": Experts(count=4, ffn_dim=8)})
    config = TrainConfig(shape=with_experts, learning_rate=1e-2)
    with pytest.raises(UserError, match="compile"):
        check_ranks(job(config=config, compile=True), 1)
    check_ranks(job(compile=True), 1)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # the compiler does so
def test_a_compiled_model_has_the_same_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the compiler's front end: what inductor makes of the graph is torch's own business, and takes minutes."""
    from pipeline.pretrain.data.batch import next_token_batch  # only here

    monkeypatch.setattr(distributing, "COMPILER", "eager")
    tokens = torch.randint(0, VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(0)).numpy()
    batch = next_token_batch(tokens, eos_id=0, document_mask=True)
    plain = Transformer(SMALL, VOCABULARY, max_length=8, seed=1)
    names = list(plain.state_dict())
    expected = plain.loss(batch, z_loss=1e-3)
    compiled = distribute(Transformer(SMALL, VOCABULARY, max_length=8, seed=1), job(compile=True), Place())
    found = compiled.loss(batch, z_loss=1e-3)
    torch.testing.assert_close(found.nats, expected.nats)
    torch.testing.assert_close(found.extra, expected.extra)
    assert list(compiled.state_dict()) == names


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler asks for it
def test_a_split_model_is_compiled_to_learn_and_evaluated_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of evaluation have any length: no graph is made for them, and their numbers are the plain model's."""
    graphs = CompileCounter()
    monkeypatch.setattr(distributing, "COMPILER", graphs)
    monkeypatch.setattr(distributing, "make_mesh", lambda *_: None)
    monkeypatch.setattr(distributing, "_shard", lambda *_: None)  # what is compiled does not depend on it
    torch._dynamo.reset()
    plain = Transformer(SMALL, VOCABULARY, max_length=8, seed=1)
    asked = job(compile=True, sharding="fsdp")
    model = distribute(Transformer(SMALL, VOCABULARY, max_length=8, seed=1), asked, Place(world=2))
    expected, found = _gradients(plain), _gradients(model)
    made = graphs.frame_count
    assert made > 0
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=name)
    for length in (2, 5, 7, 8):
        tokens = torch.randint(0, VOCABULARY, (2, length + 1), generator=torch.Generator().manual_seed(length))
        with torch.no_grad():
            one, other = (each.nats(tokens[:, :-1], tokens[:, 1:]) for each in (model, plain))
        assert torch.equal(one, other)
    _gradients(model)
    assert graphs.frame_count == made


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler asks for it
@pytest.mark.parametrize("compiled", [False, True], ids=["as written", "compiled"])
def test_gradients_of_a_block_are_sent_before_those_of_the_one_below_are_made(
    monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    """On several ranks, a graph of the whole model would make all gradients before it gives out the first."""
    monkeypatch.setattr(
        distributing, "COMPILER", "aot_eager"
    )  # torch's own split into a graph forward and one backward
    torch._dynamo.reset()
    shape = SMALL.model_copy(update={"layers": 3})
    place = Place(world=2)
    model = distribute(Transformer(shape, VOCABULARY, max_length=8, seed=1), job(compile=compiled), place)
    tokens = torch.randint(0, VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(0))
    gradients = ReplicatedGradients(model.parameters(), bucket_bytes=1)
    seen: list[str] = []
    # The weight whose gradient is the first to be made in each block.
    for number, block in enumerate(model.blocks):
        block.ffn.down.weight.register_hook(lambda _, number=number: seen.append(f"made {number}"))
    whose = {view.data_ptr(): name for name, view in _views(model)}
    sent = SimpleNamespace(
        is_initialized=lambda: True,
        all_reduce=lambda bucket, **_: seen.append(f"sent {whose.get(bucket.data_ptr(), 'sums')}"),
    )
    monkeypatch.setattr(replicated, "dist", sent)
    with gradients.part(last=True):
        model.loss(Batch(tokens[:, :-1], tokens[:, 1:])).trained.backward()
    gradients.add_up(torch.zeros(1))
    for number in (1, 2):
        of_block = [f"sent {name}" for name in whose.values() if name.startswith(f"blocks.{number}.")]
        assert max(map(seen.index, of_block)) < seen.index(f"made {number - 1}")


def _views(model: Transformer) -> list[tuple[str, torch.Tensor]]:
    return [(name, p.grad) for name, p in model.named_parameters() if p.grad is not None]
