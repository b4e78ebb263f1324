"""Runs a recipe inline in this process and tells what every node cost: ``python -m benchmarks.dedup_measured FOLDER``.

FOLDER/recipe.yaml is run into FOLDER/run. Prints one line of JSON: seconds, CPU seconds and the largest resident set
of the whole and of each node. Kernels are loaded before anything is timed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from operators.kernels.compiled import warm
from pipeline.backends import inline
from pipeline.commit import Commit
from pipeline.session import Settings
from pipeline.storage import Storage
from pipeline.worker import Assignment, execute
from workflows import load, run


def peak_mib() -> float:
    """The largest resident set since it was last forgotten."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def forget_peak() -> None:
    """Start the largest resident set anew."""
    Path("/proc/self/clear_refs").write_text("5")


class Costs:
    """What has been spent, by node; tasks that share a pass are counted for the last of them."""

    def __init__(self) -> None:
        self.nodes: dict[str, dict[str, float]] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Count what happens within."""
        forget_peak()
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        node = self.nodes.setdefault(name, {"tasks": 0, "wall_s": 0.0, "cpu_s": 0.0, "peak_mib": 0.0})
        node["tasks"] += 1
        node["wall_s"] += time.perf_counter() - wall
        node["cpu_s"] += time.process_time() - cpu
        node["peak_mib"] = max(node["peak_mib"], peak_mib())


def in_a_process(folder: Path) -> dict[str, Any]:
    """The same in a process of its own, so that its memory is its own."""
    command = [sys.executable, "-m", "benchmarks.dedup_measured", str(folder)]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    folder = Path(sys.argv[1])
    costs = Costs()

    def counted(assignment: Assignment, storage: Storage) -> Sequence[Commit]:
        with costs.of(assignment.tasks[-1].node):
            return execute(assignment, storage)

    inline.execute = counted  # what the inline backend calls for every task
    warm()
    start_mib = peak_mib()
    whole = Costs()
    with whole.of("whole"):
        run(load(folder / "recipe.yaml"), folder / "run", settings=Settings(backend="inline", progress="none"))
    peak = max([whole.nodes["whole"]["peak_mib"], *(node["peak_mib"] for node in costs.nodes.values())])
    total = {**whole.nodes["whole"], "peak_mib": peak, "start_mib": start_mib}
    print(json.dumps({"whole": total, "nodes": costs.nodes}))


if __name__ == "__main__":
    main()
