"""kill -9 at many points of the quickstart; the same command goes on and nothing differs."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pipeline.backends.ray import ray_folder
from pipeline.storage import Storage
from tests.chaos.conftest import FEW_STEPS, Done, command, environment, run_to_end

pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.timeout(1800)]

STEPS = (
    "crawl",
    "pages",
    "clean",
    "unique.signatures",
    "unique.exact",
    "unique.runs",
    "unique.edges",
    "unique.components",
    "unique.clusters",
    "unique",
    "bpe.strata",
    "bpe.counts",
    "bpe.merged",
    "bpe",
    "tokens",
)


def commits(out: Path, step: str) -> int:
    """Committed shards of a node."""
    return sum(1 for folder in out.glob(f"{step}-????????????????") for _ in folder.glob("commits/*.json"))


def progress(out: Path) -> int:
    """Commits and training steps so far."""
    steps = sum(metrics.read_bytes().count(b"\n") for metrics in out.glob("model-*/metrics.jsonl"))
    return steps + sum(1 for _ in out.glob("*-????????????????/commits/*.json"))


def published_without_commit(out: Path, step: str) -> bool:
    """A file of a shard lies there that no record names yet."""
    for folder in out.glob(f"{step}-????????????????"):
        done = {path.stem for path in folder.glob("commits/*.json")}
        if any(path.name[:8] not in done for path in folder.glob("shards/*")):
            return True
    return False


def points(out: Path, number: int) -> list[tuple[str, Callable[[], bool]]]:
    """Moments at which to kill, in the order in which a run passes them; seeded."""
    rng = random.Random(20261122)
    moments: list[tuple[str, Callable[[], bool]]] = []
    for k in range(number):
        step = STEPS[k * len(STEPS) // number]
        kind = rng.choice(["commit", "commit", "published", "scratch"])
        count = commits_at(rng, step)
        if kind == "published":
            moments.append(
                (f"published a file of {step}", lambda s=step: published_without_commit(out, s) or commits(out, s) > 0)
            )
        elif kind == "scratch":
            delay = rng.uniform(0.05, 0.4)
            moments.append((f"inside {step}", lambda s=step, n=count - 1, d=delay: started(out, s, n, d)))
        else:
            moments.append((f"commit {count} of {step}", lambda s=step, n=count: commits(out, s) >= n))
    return moments


def commits_at(rng: random.Random, step: str) -> int:
    """A number of commits that a step surely reaches."""
    barrier = ("unique.exact", "unique.edges", "unique.components", "unique.clusters", "bpe.merged", "bpe")
    return 1 if step in barrier else rng.randint(1, 6)


def started(out: Path, step: str, after: int, delay_s: float) -> bool:
    """A little after some commits of a step: in the middle of the next ones."""
    if commits(out, step) < after:
        return False
    time.sleep(delay_s)
    return True


def kill_when(process: subprocess.Popen, condition: Callable[[], bool]) -> bool:
    """SIGKILL the driver once the condition holds; False where it ended before."""
    while process.poll() is None:
        if condition():
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.002)
    return False


def start(out: Path, backend: str = "ray") -> subprocess.Popen:
    """The command, as a user types it."""
    return subprocess.Popen(
        command(out, *FEW_STEPS, "--backend", backend),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def family(process: subprocess.Popen) -> list[psutil.Process]:
    """The driver's descendants."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def gone(processes: list[psutil.Process], timeout_s: float = 60) -> bool:
    """All of them have ended."""
    _, alive = psutil.wait_procs(processes, timeout=timeout_s)
    return not [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def exact_payloads(out: Path) -> dict[str, str]:
    """Every file that the manifests of the exact steps name, with its hash, and the manifests themselves."""
    found = {}
    for manifest in sorted(out.glob("*-????????????????/manifest.json")):
        if manifest.parent.name.startswith("model-"):
            continue
        found[manifest.parent.name] = manifest.read_text()
        for shard in json.loads(manifest.read_bytes())["shards"]:
            for output in shard["outputs"]:
                found[output["path"]] = output["sha256"]
    return found


def losses(out: Path) -> list[tuple]:
    """The training curve without its timings."""
    (metrics,) = out.glob("model-*/metrics.jsonl")
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    return [tuple((k, v) for k, v in sorted(row.items()) if "per_s" not in k and "seconds" not in k) for row in rows]


def with_the_same_classifier(undisturbed: Done, out: Path) -> None:
    """fastText training is a recorded step: a second training is another model. Both runs take the first one's."""
    out.mkdir(parents=True)
    for folder in undisturbed.out.glob("quality-*"):
        shutil.copytree(folder, out / folder.name)


def test_killed_at_many_points_and_during_training(
    undisturbed: Done, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    out = tmp_path / "run"
    with_the_same_classifier(undisturbed, out)
    killed = []
    moments = points(out, request.config.getoption("--chaos-seeds"))
    moments.append(
        ("training", lambda: any(len(m.read_text().splitlines()) > 14 for m in out.glob("model-*/metrics.jsonl")))
    )
    families: list[psutil.Process] = []
    for number, (name, condition) in enumerate(moments):
        before = progress(out)
        # A run may go on under another backend; every other death is one of a driver with a pool.
        process = start(out, "inline" if number % 2 else "ray")

        def watched(condition=condition, process=process, before=before) -> bool:
            # Each driver gets something done before it dies, so that no two kills are one.
            if progress(out) > before and condition():
                families.extend(family(process))
                return True
            return False

        if kill_when(process, watched):
            killed.append(name)
    assert len(killed) == len(moments), killed
    run_to_end(out, FEW_STEPS)
    assert exact_payloads(out) == exact_payloads(undisturbed.out)
    assert losses(out) == losses(undisturbed.out)
    assert families
    assert gone(families), "processes of a killed driver are left behind"
    leftovers = [str(p) for p in out.rglob("*") if ".scratch" in p.parts or p.suffix in (".tmp", ".partial")]
    assert leftovers == []
    assert not ray_folder(Storage(out)).exists()
