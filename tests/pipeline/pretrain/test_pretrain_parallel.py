"""However the model lies on ranks, it learns the same; and a run goes on from one way of it to another."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import StoppedError
from pipeline.pretrain import local
from pipeline.pretrain.config import Job
from pipeline.pretrain.ranks import Place
from pipeline.pretrain.stopping import ASKED
from pipeline.pretrain.training.checkpoint import latest
from pipeline.pretrain.training.loop import train
from pipeline.pretrain.training.metrics import read_metrics
from tests.pipeline.pretrain.conftest import run_ranks

MakeJob = Callable[..., Job]
OF_THE_CLOCK = ("tokens_per_s", "seconds_to_first_step")


def numbers(job: Job) -> dict[tuple[object, ...], float]:
    """All numbers of the curve but the clock's, by their places in it."""

    def walk(value: object, place: tuple[object, ...]) -> Iterator[tuple[tuple[object, ...], float]]:
        pairs: dict[Any, object] = value if isinstance(value, dict) else {}
        for name, inner in pairs.items():
            if name not in OF_THE_CLOCK:
                yield from walk(inner, (*place, name))
        if isinstance(value, int | float):
            yield place, value

    return dict(walk(dict(enumerate(read_metrics(Path(job.home) / "metrics.jsonl"))), ()))


@pytest.mark.slow
def test_however_it_is_split_it_learns_the_same(make_job: MakeJob) -> None:
    """A run is moved: fsdp on two ranks until one dies, one rank until it is stopped, hsdp of 2 x 2, two whole models."""
    whole, moved = (make_job(name, steps=15, evaluate_every=5) for name in ("whole", "moved"))
    split = moved.model_copy(update={"sharding": "fsdp", "recompute": "selective"})
    both = moved.model_copy(update={"sharding": "hsdp", "shard_ranks": 2, "checkpoint_every": 1000})
    train(whole, Place())
    run_ranks((split, 2, (1, 7)))
    assert newest(moved) == 5

    def stop(step: int, _saved: bool) -> None:
        if step == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(moved.model_copy(update={"checkpoint_every": 4}), Place(), stop)
    assert newest(moved) == 8
    run_ranks((both, 4, (3, 11, "ctrl-c")), (moved, 2, None))
    assert newest(moved) == 15
    # All agreed to stop after step 12, since the answer comes a step late.
    assert min(path.name for path in (Path(moved.home) / "checkpoints").iterdir()) == "step-00000012"
    found = numbers(moved)
    assert len(found) > 15 * 5 + 3 * 5
    assert found == pytest.approx(numbers(whole), rel=1e-5)


def test_a_run_that_is_stopped_leaves_a_checkpoint(make_job: MakeJob) -> None:
    """Of the step it had come to, though none was due."""
    stopped = make_job("stopped", steps=400, checkpoint_every=1000)
    asking = threading.Thread(target=_ask, args=(Path(stopped.home) / "metrics.jsonl",))
    ASKED.clear()
    asking.start()
    try:
        with pytest.raises(StoppedError, match="goes on"):
            local.launch(stopped, 1)
    finally:
        asking.join()
        ASKED.clear()
    assert 3 <= newest(stopped) < 400
    assert read_metrics(Path(stopped.home) / "metrics.jsonl")[-1]["step"] == newest(stopped)


def _ask(metrics: Path) -> None:
    """As a driver does when it is told to stop: here after three steps."""
    until = time.monotonic() + 120
    while time.monotonic() < until and len(read_metrics(metrics)) < 3:
        time.sleep(0.02)
    ASKED.set()


def test_ranks_that_are_stopped_may_save(make_job: MakeJob, tmp_path: Path) -> None:
    """Each gets a SIGTERM, and the time it takes; who has not ended by itself would be killed without a word."""
    script = (
        "import pathlib, signal, sys, time\n"
        "rank = sys.argv[sys.argv.index('--rank') + 1]\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "def save(*_):\n"
        "    time.sleep(0.3)\n"
        "    (folder / f'saved{rank}').touch()\n"
        "    sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "(folder / f'ready{rank}').touch()\n"
        "time.sleep(600)\n"
    )

    def ask() -> None:
        until = time.monotonic() + 120
        while time.monotonic() < until and len(list(tmp_path.glob("ready*"))) < 2:
            time.sleep(0.02)
        ASKED.set()

    ASKED.clear()
    asking = threading.Thread(target=ask)
    asking.start()
    try:
        with pytest.raises(StoppedError):
            local.launch(make_job("ranks"), 2, ("-c", script))
    finally:
        asking.join()
        ASKED.clear()
    assert sorted(path.name for path in tmp_path.glob("saved*")) == ["saved0", "saved1"]


def test_what_a_killed_driver_left_is_removed_by_the_next(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not what another training has, which may be at work."""
    temporary = tmp_path / "temporary"
    (temporary / "sluice-ranks-others").mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    job = make_job("killed")
    driver = os.fork()
    if not driver:
        local.launch(job, 2, ("-c", "import sys; sys.stdin.read()"))  # ranks that end when their driver does
        os._exit(0)
    until = time.monotonic() + 120
    while time.monotonic() < until and not list(temporary.glob("*/rank-1.err")):
        time.sleep(0.02)
    local.launch(job, 2, ("-c", ""))
    assert len(list(temporary.iterdir())) == 2  # it lives: its folder stays
    os.kill(driver, signal.SIGKILL)
    os.waitpid(driver, 0)
    assert len(list(temporary.iterdir())) == 2
    local.launch(job, 2, ("-c", ""))
    assert [path.name for path in temporary.iterdir()] == ["sluice-ranks-others"]


def newest(job: Job) -> int:
    """Step of the newest checkpoint."""
    found = latest(Path(job.home) / "checkpoints")
    assert found is not None
    return int(found.name.removeprefix("step-"))
