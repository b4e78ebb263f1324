"""What a rank gets for a step: the same for any number of ranks and wherever it begins, and errors of the thread in it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.pretrain.config import Job, Objective
from pipeline.pretrain.data.batch import IGNORED, Batch, next_token_batch
from pipeline.pretrain.data.batches import checked_batches
from pipeline.pretrain.data.documents import Int64s
from pipeline.pretrain.data.loader import Loader, StepBatch, StepReader
from pipeline.pretrain.data.source import RowSource
from pipeline.pretrain.model.transformer import Transformer
from pipeline.pretrain.ranks import Place
from tests.pipeline.pretrain.conftest import EOS, SMALL, VOCABULARY, sentences
from tests.pipeline.pretrain.test_pretrain_packed import packing, settings

MakeJob = Callable[..., Job]


def source_of(job: Job) -> RowSource:
    return checked_batches(job, 1)[1]


def steps(job: Job, place: Place, first: int = 1, last: int = 6) -> dict[int, StepBatch]:
    with Loader(job, source_of(job), place, first) as loader:
        return {batch.step: batch for batch in (loader.next_step() for _ in range(first, last + 1))}


def joined(parts: list[Batch]) -> list[list[Any]]:
    """Input, target and document number of every row."""
    columns = [torch.cat([getattr(part, name) for part in parts]).tolist() for name in ("inputs", "targets")]
    if parts[0].documents is not None:
        columns.append(torch.cat([part.documents for part in parts if part.documents is not None]).tolist())
    return [list(row) for row in zip(*columns, strict=True)]


def packed_job(folder: Path, **changes: Any) -> Job:
    changes = {"steps": 9, **changes}
    return Job(config=settings(**changes), data=packing(folder / "p").data, home=str(folder), micro_batch_tokens=16)


@pytest.mark.parametrize("kind", ["windows", "packed", "prefix"])
def test_ranks_together_read_what_one_reads(make_job: MakeJob, tmp_path: Path, kind: str) -> None:
    if kind == "packed":
        job = packed_job(tmp_path, document_mask=True)
    else:
        job = make_job("job", objective=Objective(kind="prefix") if kind == "prefix" else None)
    alone = steps(job, Place())
    for world in (2, 4):
        ranks = [steps(job, Place(rank, world)) for rank in range(world)]
        for step, batch in alone.items():
            together = [part for rank in ranks for part in rank[step].parts]
            assert joined(together) == joined(batch.parts)
            assert {rank[step].num_targets for rank in ranks} == {batch.num_targets}
            assert all(np.array_equal(rank[step].rows, batch.rows) for rank in ranks)
    for batch in alone.values():
        assert batch.num_targets == sum(int((part.targets != IGNORED).sum()) for part in batch.parts)
        assert [len(part.inputs) for part in batch.parts] == [1, 1, 1, 1]  # 16 tokens a micro-batch


def test_a_resume_reads_on_where_it_was(make_job: MakeJob) -> None:
    job = make_job("job", micro_batch_tokens=33)
    whole = steps(job, Place(), 1, 8)
    for first in (1, 2, 7):
        for step, batch in steps(job, Place(), first, 8).items():
            assert joined(batch.parts) == joined(whole[step].parts)
            assert [len(part.inputs) for part in batch.parts] == [2, 2]


def test_steps_left_out_are_not_read_and_the_last_ends_it(make_job: MakeJob) -> None:
    job = make_job("job", steps=5, skipped_steps=[2, 4])
    with Loader(job, source_of(job), Place(), 1) as loader:
        assert [loader.next_step().step for _ in range(3)] == [1, 3, 5]
        for _ in range(2):
            with pytest.raises(EOFError, match="step 5 was the last one"):
                loader.next_step()


class Broken:
    """A source whose third step cannot be read, or never comes."""

    def __init__(self, good: RowSource, *, waits: bool = False) -> None:
        self._good, self._waits, self._closed = good, waits, threading.Event()

    def rows(self, step: int) -> Int64s:
        if step < 3:
            return self._good.rows(step)
        if self._waits:
            self._closed.wait(timeout=60)
        msg = "shard 7 is gone"
        raise UserError(msg)

    def close(self) -> None:
        self._closed.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._good, name)


def test_an_error_of_the_thread_comes_up_at_its_step(make_job: MakeJob) -> None:
    job = make_job("job")
    with Loader(job, Broken(source_of(job)), Place(), 1) as loader:
        assert [loader.next_step().step for _ in range(2)] == [1, 2]
        for _ in range(2):
            with pytest.raises(UserError, match="shard 7 is gone"):
                loader.next_step()


@pytest.mark.parametrize("waits", [False, True], ids=["full", "waiting"])
def test_closing_ends_the_thread(make_job: MakeJob, waits: bool) -> None:
    job = make_job("job")
    before = threading.active_count()
    loader = Loader(job, Broken(source_of(job), waits=waits), Place(), 2 if waits else 1)
    loader.next_step()
    loader.close()
    assert threading.active_count() == before


@given(
    rows=st.lists(st.lists(st.integers(0, 3), min_size=9, max_size=9), min_size=1, max_size=3),
    lengths=st.lists(st.integers(1, 9), min_size=3, max_size=3),
    marks=st.lists(st.sets(st.integers(1, 8)), min_size=3, max_size=3),
)
def test_targets_and_documents_equal_plain_loops(
    rows: list[list[int]], lengths: list[int], marks: list[set[int]]
) -> None:
    rows = [row[:size] + [EOS] * (9 - size) for row, size in zip(rows, lengths, strict=False)]
    marks = [{mark for mark in own if mark < size} for own, size in zip(marks, lengths, strict=True)]
    breaks = np.array([[k in own for k in range(9)] for own, _ in zip(marks, rows, strict=False)])
    batch = next_token_batch(np.array(rows), np.array(lengths[: len(rows)]), breaks, eos_id=EOS, document_mask=True)
    assert batch.documents is not None
    assert batch.documents.dtype == torch.int32
    for number, (row, size, own) in enumerate(zip(rows, lengths, marks, strict=False)):
        document, numbers, targets = 0, [], []
        for k in range(8):
            if k < size and (row[k] == EOS or k in own):
                document += 1
            numbers.append(document)
            targets.append(row[k + 1] if k + 1 < size and k + 1 not in own else IGNORED)
        assert batch.inputs[number].tolist() == row[:8]
        assert batch.targets[number].tolist() == targets
        assert batch.documents[number].tolist() == numbers


def test_masked_documents_are_predicted_as_if_each_stood_alone() -> None:
    """Nats of rows with several documents against each document by itself, after one EOS, as evaluation has it."""
    documents = [words[: 4 + k] for k, words in enumerate(sentences(5, length=12))]
    row = [EOS, *(token for document in documents for token in (*document, EOS))]
    model = Transformer(SMALL, VOCABULARY, max_length=64, seed=1)
    batch = next_token_batch(np.array([row]), eos_id=EOS, document_mask=True)
    together = model.nats(batch.inputs, batch.targets, documents=batch.documents)[0].tolist()
    alone = []
    for document in documents:
        own = torch.tensor([[EOS, *document, EOS]])
        alone += model.nats(own[:, :-1], own[:, 1:])[0].tolist()
    assert together == pytest.approx(alone, abs=1e-5)
    mixed = next_token_batch(np.array([row]), eos_id=EOS, document_mask=False)
    assert mixed.documents is None
    assert model.nats(mixed.inputs, mixed.targets)[0].tolist() != pytest.approx(alone, abs=1e-3)


def test_an_objective_has_its_own_masks(make_job: MakeJob) -> None:
    job = make_job("job", objective=Objective(kind="prefix"), document_mask=True)
    with pytest.raises(UserError, match="objective 'prefix' has a mask of its own"):
        source_of(job)
    short = make_job("job", objective=Objective(kind="mlm"))
    with pytest.raises(UserError, match="needs 1 mask_ids, there are 0"):
        source_of(short)


@pytest.mark.parametrize("kind", ["prefix", "span", "mlm"])
def test_ranks_know_the_targets_of_all_and_prepare_their_own(tmp_path: Path, kind: str) -> None:
    packed = packed_job(tmp_path, steps=4)
    spare = packed.data.vocab_size
    masks = () if kind == "prefix" else tuple(range(spare, spare + 20))
    objective = Objective(kind=kind, mask_ids=masks)
    job = packed.model_copy(update={"config": packed.config.model_copy(update={"objective": objective})})
    asked: list[int] = []

    class Counted(Broken):
        def tokens(self, rows: Int64s) -> tuple[Int64s, Int64s | None]:
            asked.append(len(rows))
            return self._good.tokens(rows)

        def rows(self, step: int) -> Int64s:
            return self._good.rows(step)

    world = 2
    shares = [StepReader(job, Counted(source_of(job)), Place(rank, world)).read(2) for rank in range(world)]
    alone = StepReader(job, source_of(job), Place()).read(2)
    assert asked == [job.config.batch_size // world] * world
    assert {share.num_targets for share in shares} == {alone.num_targets}
    assert sum(part.num_targets for share in shares for part in share.parts) == alone.num_targets
    for name in ("inputs", "targets"):
        together = torch.cat([getattr(part, name) for share in shares for part in share.parts])
        assert torch.equal(together, torch.cat([getattr(part, name) for part in alone.parts]))


def test_an_objective_draws_anew_for_every_sample_and_keeps_to_the_pieces(tmp_path: Path) -> None:
    job = packed_job(tmp_path, steps=60, objective=Objective(kind="prefix"))
    source = source_of(job)
    prefixes: dict[int, set[int]] = {}
    for batch in steps(job, Place(), 1, 60).values():
        breaks = source.breaks(batch.rows)
        assert breaks is not None
        targets = torch.cat([part.targets for part in batch.parts]).numpy()
        assert (targets[breaks[:, 1:]] == IGNORED).all()
        drawn = torch.cat([part.prefix for part in batch.parts if part.prefix is not None])
        for row, prefix in zip(batch.rows.tolist(), drawn.tolist(), strict=True):
            prefixes.setdefault(row, set()).add(prefix)
    # Every row comes several times, and nearly all with another prefix.
    assert sum(len(found) > 1 for found in prefixes.values()) > len(prefixes) / 2
