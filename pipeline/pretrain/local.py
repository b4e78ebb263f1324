"""Ranks as processes of this machine, without Ray: for the inline backend and for tests."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import RunFailedError, StoppedError, UserError
from pipeline.pretrain.checks import check_device
from pipeline.pretrain.config import Job
from pipeline.pretrain.data.batches import checked_batches
from pipeline.pretrain.lifeline import import_path
from pipeline.pretrain.sharding.world import check_ranks
from pipeline.pretrain.stopping import ASKED, SAVE_S

_ERROR_CHARS = 4000
_LOOK_EVERY_S = 0.05
_STOPPED = "stopped while training; a next launch goes on from the last checkpoint"


def launch(job: Job, workers: int, command: Sequence[str] = ("-m", "pipeline.pretrain.torchrun")) -> None:
    """Train with that many ranks; a single one runs in this process, several as processes of their own.

    command: what Python runs for a rank, given the arguments of ``torchrun.main``.

    Raises:
        UserError: the recipe or the corpus is at fault.
        RunFailedError: a rank died, or the loss is no longer a number. A next launch goes on from the last checkpoint.
        StoppedError: somebody asked for it; the ranks have left a checkpoint of the step they had come to.
    """
    check_ranks(job, workers)
    check_device(job)
    checked_batches(job, workers)
    if workers == 1:
        _train_here(job)
        return
    with _own_folder(job) as folder:
        (folder / "job.json").write_text(job.model_dump_json(), encoding="utf-8")
        ranks = [_start(folder, rank, workers, command) for rank in range(workers)]
        try:
            failed = _wait(ranks)
        finally:
            for process in ranks:
                process.kill()
                process.wait()
                if process.stdin is not None:
                    process.stdin.close()
        if failed is not None:
            _raise(failed, ranks[failed].returncode, (folder / f"rank-{failed}.err").read_text(errors="replace"))


@contextmanager
def _own_folder(job: Job) -> Iterator[Path]:
    """A temporary folder, locked while its driver lives: the kernel lets go of the lock however that ends."""
    with tempfile.TemporaryDirectory(prefix=_clean_prefix(job)) as name:
        held = os.open(name, os.O_RDONLY)  # not inherited by ranks
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield Path(name)
        finally:
            os.close(held)


def _clean_prefix(job: Job) -> str:
    """Of the names of this training's temporary folders. What a driver that was killed has left is removed.

    Not within its home: that may be on a file system without the locks that the ranks' store needs.
    """
    prefix = f"sluice-ranks-{hashlib.sha256(str(Path(job.home).resolve()).encode()).hexdigest()[:16]}-"
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        _remove_unless_held(left)
    return prefix


def _remove_unless_held(folder: Path) -> None:
    """Leave the folder of a driver that is at work alone, and one that is another user's."""
    try:
        held = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return
    finally:
        os.close(held)


def _train_here(job: Job) -> None:
    from pipeline.pretrain.ranks import current_place
    from pipeline.pretrain.training.loop import train  # takes 2 s for torch, which a driver of ranks does not need

    train(job, current_place(job.device))


def _start(folder: Path, rank: int, world: int, command: Sequence[str]) -> subprocess.Popen[bytes]:
    options = ["--rank", str(rank), "--world", str(world), "--store", str(folder / "store")]
    with (folder / f"rank-{rank}.err").open("wb") as errors:
        return subprocess.Popen(
            [sys.executable, *command, str(folder / "job.json"), *options, "--die-with-parent", "--no-export"],
            stdin=subprocess.PIPE,  # held open by this process only: its end is how ranks learn that it died
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": import_path(), "OMP_NUM_THREADS": "1"},
        )


def _wait(ranks: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """The rank that failed first, None when all are done."""
    while True:
        codes = [process.poll() for process in ranks]
        failed = [rank for rank, code in enumerate(codes) if code]
        if failed:
            return failed[0]
        if all(code == 0 for code in codes):
            return None
        if ASKED.is_set():
            _let_save(ranks)
            raise StoppedError(_STOPPED)
        time.sleep(_LOOK_EVERY_S)


def _let_save(ranks: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask ranks to end with a checkpoint; those that do not in time are killed by the caller."""
    for process in ranks:
        process.terminate()
    until = time.monotonic() + SAVE_S
    while any(process.poll() is None for process in ranks) and time.monotonic() < until:
        time.sleep(_LOOK_EVERY_S)


def _raise(rank: int, code: int, errors: str) -> None:
    tail = errors.strip()[-_ERROR_CHARS:]
    if code == UserError.exit_code:
        raise UserError(tail)
    if code == StoppedError.exit_code:
        raise StoppedError(tail)
    if code < 0:
        msg = (
            f"rank {rank} of the training was killed by {_signal_name(-code)} (often: out of memory); the same command goes "
            f"on from the last checkpoint{': ' if tail else ''}{tail}"
        )
        raise RunFailedError(msg)
    msg = f"rank {rank} of the training ended with {code}: {tail}"
    raise RunFailedError(msg)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"
