"""Checkpoints written beside the training: a step waits for a copy in memory, not for the disk."""

from __future__ import annotations

import contextlib
import shutil
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

from pipeline.errors import RunFailedError

_WRITE_TIMEOUT = timedelta(hours=1)
"""Ranks wait for the slowest of them to write its part."""


class Writer:
    """Writes one state at a time. Every rank calls every method, in the same order."""

    def __init__(self) -> None:
        # A group of its own: the writing threads talk while the training sends gradients. Gloo, as they have no GPU.
        self.group = dist.new_group(backend="gloo", timeout=_WRITE_TIMEOUT) if dist.is_initialized() else None
        self._stager: DefaultStager | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._written: Future[str | None] | None = None

    def start(self, state: dict[str, Any], folder: Path, commit: Callable[[], None], *, name: str) -> None:
        """Copy a state and write it into a new folder; returns once it is copied, so that it may change.

        commit: called by rank 0 when every rank has written. name: for messages. The one before must have been waited
        for.
        """
        writing = self._thread.submit(self._write, self._copy(state), folder, commit)
        self._written = self._thread.submit(self._outcome, writing, folder, name)

    def wait(self) -> None:
        """Return when what was started is on disk.

        Raises:
            RunFailedError: on every rank, where one could not write. What it had written is gone.
        """
        written, self._written = self._written, None
        failure = written.result() if written is not None else None
        if failure is not None:
            raise RunFailedError(failure)

    def close(self) -> None:
        """Let what was started come to its end, good or bad."""
        self._thread.shutdown()

    def _copy(self, state: dict[str, Any]) -> dict[str, Any]:
        if self._stager is None:  # its memory is kept from one checkpoint to the next
            on_gpu = torch.cuda.is_available()
            options = StagingOptions(
                use_pinned_memory=on_gpu,
                use_shared_memory=False,
                use_async_staging=False,
                use_non_blocking_copy=on_gpu,
            )
            self._stager = DefaultStager(options)
        staged = self._stager.stage(state)
        if not isinstance(staged, dict):
            msg = f"staging gave {type(staged).__name__}, though asked to wait"
            raise TypeError(msg)
        return staged

    def _write(self, state: dict[str, Any], folder: Path, commit: Callable[[], None]) -> None:
        with alone_on_purpose():
            dcp.save(state, checkpoint_id=folder, process_group=self.group, no_dist=self.group is None)
        if _first():
            commit()

    def _outcome(self, writing: Future[None], folder: Path, name: str) -> str | None:
        """What went wrong on any rank; None: nothing."""
        error = writing.exception()
        found = self._of_all_ranks(None if error is None else _words(error))
        if found is None:
            return None
        if _first():
            shutil.rmtree(folder, ignore_errors=True)
        return (
            f"the checkpoint {name} could not be written to {folder.parent}: {found}. Those before it are whole: "
            "make room, then run the same command again, and it goes on from the newest"
        )

    def _of_all_ranks(self, problem: str | None) -> str | None:
        """The first problem of any rank: rank 0 may fail alone, when it commits."""
        if self.group is None:
            return problem
        problems: list[str | None] = [None] * dist.get_world_size()
        dist.all_gather_object(problems, problem, group=self.group)
        return next((one for one in problems if one is not None), None)


@contextlib.contextmanager
def alone_on_purpose() -> Iterator[None]:
    """DCP warns of a missing process group even when it is told that there is none."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled, unavailable or uninitialized", UserWarning)
        yield


def _words(error: BaseException) -> str:
    """What went wrong, without DCP's tracebacks."""
    if isinstance(error, CheckpointException) and error.failures:
        rank, (cause, _) = min(error.failures.items(), key=lambda failure: failure[0])
        return f"rank {rank}: {_words(cause)}"
    return f"{type(error).__name__}: {error}"


def _first() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0
