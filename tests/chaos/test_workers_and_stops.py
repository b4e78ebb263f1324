"""Workers that die, and a driver that is told to stop: the run goes on to the same bytes and the same curve."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from pipeline.backends.ray import ray_folder
from pipeline.pretrain.training.metrics import read_metrics
from pipeline.storage import Storage
from tests.chaos.conftest import FEW_STEPS, Done, command, environment, run_to_end
from tests.chaos.test_kill_the_driver import (
    commits,
    exact_payloads,
    family,
    gone,
    losses,
    start,
    with_the_same_classifier,
)

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
    wait_for_training(process, out)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=300) == 75
    run_to_end(out, [*FEW_STEPS, "--backend", backend])
    assert losses(out) == losses(undisturbed.out)


@pytest.mark.sweep
def test_ctrl_c_twice_leaves_a_checkpoint_and_nothing_else(undisturbed: Done, tmp_path: Path) -> None:
    """A terminal sends it to the driver, to Ray's processes and to the ranks; and people press it again."""
    out = tmp_path / "run"
    shutil.copytree(undisturbed.out, out, ignore=shutil.ignore_patterns("model-*", "run.lock"))
    process = subprocess.Popen(
        command(out, *FEW_STEPS),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_for_training(process, out)
    started = family(process)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.5)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=300) == 75
    assert started
    assert gone(started)
    assert not ray_folder(Storage(out)).exists()
    (home,) = out.glob("model-*")
    newest = max(path.name for path in (home / "checkpoints").iterdir())
    assert newest == f"step-{read_metrics(home / 'metrics.jsonl')[-1]['step']:08d}"
    assert not {"stop", "refused.txt", "ray_train"} & {path.name for path in home.iterdir()}
    run_to_end(out, FEW_STEPS)
    assert losses(out) == losses(undisturbed.out)


def wait_for_training(process: subprocess.Popen, out: Path) -> None:
    """Until some steps are done."""
    while process.poll() is None and not any(
        metrics.read_bytes().count(b"\n") > 8 for metrics in out.glob("model-*/metrics.jsonl")
    ):
        time.sleep(0.05)
