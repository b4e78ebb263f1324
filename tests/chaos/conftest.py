"""One undisturbed quickstart run, shared by all who compare with it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "workflows" / "recipes" / "quickstart.yaml"
# Fewer steps than the quickstart takes: the subject is exactness, not the loss.
FEW_STEPS = [
    "--set",
    "model.pretrain.steps=24",
    "--set",
    "model.pretrain.checkpoint_every=6",
    "--set",
    "model.pretrain.evaluate_every=24",
]


@dataclass(frozen=True)
class Done:
    """A finished run and what the command printed."""

    out: Path
    printed: str


def command(out: Path, *more: str, recipe: Path = RECIPE) -> list[str]:
    """The command line of a run."""
    return [sys.executable, "-m", "workflows.cli", "run", str(recipe), "--out", str(out), "--progress", "plain", *more]


def environment() -> dict[str, str]:
    """Where a subprocess finds the packages, whatever its working directory."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}


def run_to_end(out: Path, more: Sequence[str] = (), recipe: Path = RECIPE, timeout_s: float = 900) -> Done:
    """Run a recipe to its end; fails with what it printed."""
    done = subprocess.run(
        command(out, *more, recipe=recipe),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return Done(out, done.stdout)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Done:
    """The quickstart, run once without interruption, by the first of several test processes that asks."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if hasattr(request.config, "workerinput") else base) / "undisturbed"
    folder.mkdir(exist_ok=True)
    printed = folder / "printed.txt"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.exists():
            printed.write_text(run_to_end(folder / "run", FEW_STEPS).printed, encoding="utf-8")
    return Done(folder / "run", printed.read_text(encoding="utf-8"))
