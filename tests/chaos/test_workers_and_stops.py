"""Workers that die, and a driver that is told to stop: the run goes on to the same bytes and the same curve."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.chaos.conftest import FEW_STEPS, Done, run_to_end
from tests.chaos.test_kill_the_driver import commits, exact_payloads, family, losses, start, with_the_same_classifier

pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.timeout(1800)]


@pytest.mark.sweep
def test_killed_workers_are_replaced(undisturbed: Done, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with_the_same_classifier(undisturbed, out)
    process = start(out)
    victims = 0
    while process.poll() is None:
        workers = [p for p in family(process) if is_worker(p)]
        if workers and victims < 3 and commits(out, "pages") > 2 * victims:
            workers[victims % len(workers)].kill()
            victims += 1
        time.sleep(0.05)
    assert process.returncode == 0
    assert victims == 3
    assert exact_payloads(out) == exact_payloads(undisturbed.out)
    assert losses(out) == losses(undisturbed.out)


def is_worker(process: psutil.Process) -> bool:
    """A process of the pool at work (Ray names it after the call it does)."""
    try:
        return "ray::Worker" in " ".join(process.cmdline())
    except psutil.Error:
        return False


@pytest.mark.parametrize("backend", [pytest.param("ray", marks=pytest.mark.sweep), "inline"])
def test_told_to_stop_while_training_it_goes_on_from_there(undisturbed: Done, tmp_path: Path, backend: str) -> None:
    out = tmp_path / "run"
    shutil.copytree(undisturbed.out, out, ignore=shutil.ignore_patterns("model-*", "run.lock"))
    process = start(out, backend)
    while process.poll() is None and not any(
        m.read_bytes().count(b"\n") > 8 for m in out.glob("model-*/metrics.jsonl")
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=300) == 75
    run_to_end(out, [*FEW_STEPS, "--backend", backend])
    assert losses(out) == losses(undisturbed.out)
