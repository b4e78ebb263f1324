"""The batches of one rank, read ahead by a thread: a step's tokens are on the device before they are asked for."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.pretrain.config import Job, Objective
from pipeline.pretrain.data.batch import IGNORED, Batch, next_token_batch
from pipeline.pretrain.data.cuts import Cutter
from pipeline.pretrain.data.documents import Int64s
from pipeline.pretrain.data.order import mix
from pipeline.pretrain.data.source import RowSource
from pipeline.pretrain.ranks import Place

_DEPTH = 2
"""Steps read ahead. One hides the reading; a second one hides that it is uneven."""
_OBJECTIVE = np.uint64(0x6F626A6563746976)  # so that these keys are not those of the order


@dataclass(frozen=True)
class StepBatch:
    """What a rank needs for one step.

    parts: its share of the rows, as micro-batches on its device. num_targets: tokens to be predicted, of all ranks.
    rows: (batch_size,) the rows of all ranks, for ``RowSource.documents_of``.
    """

    step: int
    parts: list[Batch]
    num_targets: int
    rows: Int64s


class StepReader:
    """The steps of a job as one rank reads them: a pure function of (source, step).

    Ranks take equal parts of a step's rows, in order, so that together they read the same for any number of them.
    """

    def __init__(self, job: Job, source: RowSource, place: Place) -> None:
        self._job, self._source, self._place = job, source, place
        self._cutter = Cutter()

    def read(self, step: int) -> StepBatch:
        """A step's share, on the device.

        Raises:
            UserError: an id the tokenizer does not have.
        """
        job, place = self._job, self._place
        config = job.config
        rows = self._source.rows(step)
        share = config.batch_size // place.world
        own = slice(place.rank * share, (place.rank + 1) * share)
        if config.objective is None:
            batch, num_targets = self._next_tokens(rows[own]), self._source.num_targets(rows)
        else:
            keys = _sample_keys(config.seed, (step - 1) * config.batch_size, config.batch_size)
            batch = self._prepared(rows[own], config.objective, keys[own])
            num_targets = self._count_targets(rows, config.objective, keys)
        count = max(1, job.micro_batch_tokens // config.sequence_length)
        parts = [part.cut(self._cutter).to(place.device) for part in batch.split(count)]
        return StepBatch(step, parts, num_targets, rows)

    def _next_tokens(self, rows: Int64s) -> Batch:
        tokens, lengths = self._source.tokens(rows)
        mask = self._job.config.document_mask
        breaks = self._source.breaks(rows)
        return next_token_batch(tokens, lengths, breaks, eos_id=self._job.data.eos_id, document_mask=mask)

    def _prepared(self, rows: Int64s, objective: Objective, keys: NDArray[np.uint64]) -> Batch:
        from pipeline.pretrain.objectives.prepare import prepare  # most trainings need none

        tokens, lengths = self._source.tokens(rows)
        data = self._job.data
        full = self._full(lengths, rows)
        batch = prepare(tokens, full, keys, objective, eos_id=data.eos_id, vocab_size=data.vocab_size)
        breaks = self._source.breaks(rows) if objective.kind == "prefix" else None
        if breaks is not None:
            batch.targets[torch.from_numpy(breaks[:, 1:])] = IGNORED
        return batch

    def _count_targets(self, rows: Int64s, objective: Objective, keys: NDArray[np.uint64]) -> int:
        """Of all ranks."""
        from pipeline.pretrain.objectives.prepare import count_targets

        lengths = self._full(self._source.lengths(rows), rows)
        breaks = self._source.breaks(rows) if objective.kind == "prefix" else None
        return count_targets(lengths, keys, objective, width=self._job.config.sequence_length + 1, breaks=breaks)

    def _full(self, lengths: Int64s | None, rows: Int64s) -> Int64s:
        return np.full(len(rows), self._job.config.sequence_length + 1, np.int64) if lengths is None else lengths


class Loader:
    """The steps of a job from ``first_step`` to the last, without ``skipped_steps``, read ahead by a thread of its own."""

    def __init__(self, job: Job, source: RowSource, place: Place, first_step: int) -> None:
        self._job, self._source, self._reader = job, source, StepReader(job, source, place)
        self._steps = (step for step in range(first_step, job.config.steps + 1) if step not in job.config.skipped_steps)
        self._ready: queue.Queue[StepBatch | BaseException | None] = queue.Queue(_DEPTH)
        self._closing = threading.Event()
        # Which GPU is meant is a matter of the thread, in CUDA.
        self._gpu = torch.cuda.current_device() if place.device.type == "cuda" else None
        self._thread = threading.Thread(target=self._run, name="loader", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def next_step(self) -> StepBatch:
        """The next step, as soon as it is read.

        Raises:
            UserError: an id the tokenizer does not have; whatever else reading raised.
            EOFError: the last step was given out before.
        """
        found = self._ready.get()
        if isinstance(found, StepBatch):
            return found
        self._ready.put(found)  # who asks again is told again
        if found is None:
            msg = f"step {self._job.config.steps} was the last one"
            raise EOFError(msg)
        raise found

    def close(self) -> None:
        """Stop reading. Nobody waits in ``next_step`` meanwhile."""
        self._closing.set()
        while self._thread.is_alive():
            self._source.close()
            self._thread.join(0.05)

    def _run(self) -> None:
        if self._gpu is not None:
            torch.cuda.set_device(self._gpu)
        found: BaseException | None = None
        try:
            for step in self._steps:
                if not self._put(self._reader.read(step)):
                    return
        except BaseException as error:  # noqa: BLE001  # whatever it is, the rank must learn of it and not wait for ever
            found = error
        self._put(found)

    def _put(self, found: StepBatch | BaseException | None) -> bool:
        """Hand over, as soon as there is room; False where nobody will take it."""
        while not self._closing.is_set():
            try:
                self._ready.put(found, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False


def _sample_keys(seed: int, first: int, count: int) -> NDArray[np.uint64]:
    """(count,) What an objective draws each sample's chance by; samples count from 0 over the whole training."""
    key = mix(np.array([seed], np.uint64) ^ _OBJECTIVE)
    return mix(key ^ mix(np.arange(first, first + count, dtype=np.uint64)))
