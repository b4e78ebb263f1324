"""datatrove's MinHash stages as its own executor runs them: ``datatrove_stages.py FOLDER LANGUAGE STAGE ...``.

FOLDER/docs/*.jsonl are the documents; stages are ``signatures``, ``buckets``, ``cluster``, ``filter``. Each stage
leaves its files in FOLDER. Prints a line of JSON per stage: wall and CPU seconds, workers included, and the largest
resident set of a process.
"""

from __future__ import annotations

import importlib.metadata  # noqa: F401  # datatrove uses it without importing it
import json
import os
import resource
import sys
import time
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

CONFIG = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
WORKERS = int(os.environ.get("PEER_WORKERS", "1"))


def stage(folder: Path, language: str, name: str) -> tuple[list[object], int]:
    """The pipeline of a stage and its tasks."""
    tasks = len(list((folder / "docs").glob("*.jsonl")))
    reader = JsonlReader(str(folder / "docs"))
    signatures, buckets, removed = (str(folder / part) for part in ("signatures", "buckets", "remove"))
    match name:
        case "signatures":
            return [reader, MinhashDedupSignature(signatures, config=CONFIG, language=language)], tasks
        case "buckets":
            return [MinhashDedupBuckets(signatures, buckets, config=CONFIG)], CONFIG.num_buckets
        case "cluster":
            return [MinhashDedupCluster(buckets, removed, config=CONFIG, save_cluster_id=True)], 1
        case "filter":
            return [reader, MinhashDedupFilter(removed), JsonlWriter(str(folder / "kept"), compression=None)], tasks
    raise ValueError(name)


def cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def peak_mib() -> float:
    """Of this process, without what its parent had when it was started, or of the largest worker."""
    status = Path("/proc/self/status").read_text()
    own = int(status.partition("VmHWM:")[2].split()[0])
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def main() -> None:
    folder, language, *stages = sys.argv[1:]
    for name in stages:
        pipeline, tasks = stage(Path(folder), language, name)
        wall, cpu = time.perf_counter(), cpu_seconds()
        logs = f"{folder}/logs/{name}-{time.time_ns()}"
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=min(WORKERS, tasks), logging_dir=logs).run()
        done = {
            "stage": name,
            "wall_s": time.perf_counter() - wall,
            "cpu_s": cpu_seconds() - cpu,
            "peak_mib": peak_mib(),
        }
        print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
