"""Rates and memory of the barrier of deduplication on made-up signatures: no text, so that many rows are cheap to have.

    python benchmarks/dedup_barrier.py --rows 10_000_000 --memory-gib 1.0 --folder /tmp/barrier

A share of the rows comes in families: the first is random, each other one is a copy of an earlier member in which some
slots are new, so that buckets connect families by chains as edited pages do; family sizes are heavy-tailed, up to
``--largest`` rows. Each node runs in a process of its own, one task after the other; printed are CPU seconds, rows/s,
and the peak of the anonymous memory (mapped files are the kernel's to drop) above what Python and its libraries take.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from operators.dedup.columns import write_columns
from operators.dedup.near.clusters import Clusters, Rule
from operators.dedup.near.components import Components
from operators.dedup.near.edges import BandEdges
from operators.dedup.near.runs import BandRuns, Bands
from operators.dedup.order import Order
from operators.dedup.signatures import Signatures
from operators.kernels import minhash, survivors
from operators.kernels.forest import warm
from pipeline.work import Extent, ShardWork, Task

SIGNED = Signatures(exact=False)
RUNS = BandRuns(signatures=SIGNED, bands=Bands())
_SHARE_IN_FAMILIES = 0.4
_SHARE_OF_NEW_SLOTS = 0.06
_SAMPLE_S = 0.02


@dataclass
class Made:
    """A shard of a node, as the next one sees it."""

    index: int
    files: Mapping[str, Path]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def file(self, suffix: str) -> Path:
        """Its output with that suffix."""
        return self.files[suffix]


def families(rows: int, largest: int, draw: np.random.Generator) -> np.ndarray:
    """For each row the row that it is an edited copy of, itself where it is new."""
    parent = np.arange(rows)
    first, end = 0, int(rows * _SHARE_IN_FAMILIES)
    while first < end:
        size = min(end - first, int(min(2 * draw.pareto(1.1) + 2, largest)))
        parent[first + 1 : first + size] = first + (draw.random(size - 1) * np.arange(1, size)).astype(int)
        first += size
    if largest > 1000:  # one family of that size for sure
        size = min(largest, rows)
        parent[1:size] = (draw.random(size - 1) * np.arange(1, size)).astype(int)
    return parent


def make(folder: Path, rows: int, largest: int, rows_per_shard: int) -> list[Made]:
    """Sketches of that many rows, dealt out to shards."""
    draw = np.random.default_rng(0)
    slots = np.lib.format.open_memmap(folder / "slots.npy", "w+", np.uint8, (rows, SIGNED.num_perm))
    parent = families(rows, largest, draw)
    step = 200_000
    for first in range(0, rows, step):
        slots[first : first + step] = draw.integers(0, 256, (min(step, rows - first), SIGNED.num_perm), np.uint8)
    for row in np.flatnonzero(parent != np.arange(rows)).tolist():
        kept = draw.random(SIGNED.num_perm) >= _SHARE_OF_NEW_SLOTS
        slots[row, kept] = slots[parent[row], kept]
    order = draw.permutation(rows)
    shards = []
    for number, first in enumerate(range(0, rows, rows_per_shard)):
        own = order[first : first + rows_per_shard]
        columns = {
            "id": draw.integers(0, 1 << 63, (len(own), 2)).astype(np.uint64),
            "bytes": draw.integers(100, 20_000, len(own)).astype(np.uint64),
            "shingles": np.full(len(own), 100, np.uint32),
            "slots": slots[own],
        }
        path = folder / f"{number}.sketch"
        write_columns(path, "sketch", SIGNED.parameters, columns)
        shards.append(Made(number, {".sketch": path}))
    (folder / "slots.npy").unlink()
    return shards


def anonymous_bytes() -> int:
    """Memory of this process that no file stands behind."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])


class Peak(threading.Thread):
    """Looks at the memory again and again."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = self.most = anonymous_bytes()
        self.done = threading.Event()

    def run(self) -> None:
        """Until ``done``."""
        while not self.done.wait(_SAMPLE_S):
            self.most = max(self.most, anonymous_bytes())


def tasks(work: ShardWork, inputs: Mapping[str, Sequence[Made]], folder: Path, answer: Any) -> None:
    """Run all tasks of a node, one after the other."""
    for module in (minhash, survivors):
        module.warm()
    warm()
    made = []
    peak = Peak()
    peak.start()
    start = time.thread_time()  # without the thread that looks at the memory
    for plan in work.tasks({role: Extent(len(shards)) for role, shards in inputs.items()}):
        given: Any = {r: list(inputs[r]) if ks is None else [inputs[r][k] for k in ks] for r, ks in plan.needs.items()}
        scratch = folder / str(plan.index)
        scratch.mkdir(parents=True)
        result = work.run(Task(folder.name, plan.index, given, scratch))
        made.append(Made(plan.index, {o.suffix: o.path for o in result.outputs}, result.facts))
    seconds = time.thread_time() - start
    peak.done.set()
    answer.put((made, seconds, peak.most - peak.before))


def node(work: ShardWork, inputs: Mapping[str, Sequence[Made]], folder: Path, rows: int) -> list[Made]:
    """Run a node in a fresh process and print what it took."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=tasks, args=(work, inputs, folder, answer))
    process.start()
    made, seconds, peak = answer.get()
    process.join()
    size = sum(path.stat().st_size for shard in made for path in shard.files.values())
    totals = {
        key: sum(shard.facts[key] for shard in made)
        for key in ("records", "edges", "affected", "near")
        if made and key in made[0].facts
    }
    if made and "largest_component" in made[0].facts:
        totals["largest_component"] = max(shard.facts["largest_component"] for shard in made)
    found = ", ".join(f"{key} {value:,}" for key, value in totals.items())
    print(
        f"  {folder.name:<11} {len(made):>4} tasks {seconds:8.1f} CPU s {rows / seconds:12,.0f} rows/s"
        f"  peak {peak / 2**20:7.0f} MiB  output {size / rows:6.1f} B/row  {found}",
        flush=True,
    )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=lambda text: int(text.replace("_", "")), default=1_000_000)
    parser.add_argument("--largest", type=lambda text: int(text.replace("_", "")), default=1000)
    parser.add_argument("--rows-per-shard", type=lambda text: int(text.replace("_", "")), default=250_000)
    parser.add_argument("--memory-gib", type=float, default=1.0)
    parser.add_argument("--rule", choices=["greedy", "transitive"], default="greedy")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/dedup_barrier"))
    options = parser.parse_args()
    rule: Rule = options.rule
    folder: Path = options.folder
    folder.mkdir(parents=True)
    rows = options.rows
    made = {"signatures": make(folder, rows, options.largest, options.rows_per_shard)}
    print(
        f"{rows:,} rows in {len(made['signatures'])} shards, memory_gib {options.memory_gib}, rule {rule}", flush=True
    )
    cut = {"memory_gib": options.memory_gib}
    clusters = Clusters(runs=RUNS, order=Order(), threshold=0.7, rule=rule, **cut)
    made["runs"] = node(RUNS, {"signatures": made["signatures"]}, folder / "runs", rows)
    made["edges"] = node(BandEdges(runs=RUNS, **cut), {"runs": made["runs"]}, folder / "edges", rows)
    made["components"] = node(Components(**cut), {"edges": made["edges"]}, folder / "components", rows)
    decided = {role: made[role] for role in ("signatures", "components")}
    node(clusters, decided, folder / "clusters", rows)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
