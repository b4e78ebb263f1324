"""Substring deduplication: speed, memory and disk of each node, beside a suffix array over the same words.

    python -m benchmarks.dedup_substrings throughput/base.jsonl.zst throughput/planted.jsonl.zst

The paths are .jsonl.zst with ``id`` and ``text``. Where ``--suffix-array`` names a Python that has pydivsufsort and
numpy, the words found are compared with what a suffix array over all of them says, word by word.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from operators.dedup.substrings.verb import DedupSubstrings
from operators.kernels.folded_words import folded_words
from operators.kernels.winnowing import anchors
from pipeline.documents import ID_TYPE
from pipeline.work import Extent, Output, Result, ShardWork, StreamWork, Task

ROUNDS = 3
_BATCH = 2048
_SHARD_DOCS = 4096

_SUFFIX_ARRAY = """
import sys, time
import numpy as np
from pydivsufsort import divsufsort, kasai
folder = sys.argv[1]
words = np.load(folder + "/words.npy")
start = time.process_time()
suffixes = divsufsort(words)
common = kasai(words, suffixes)
print(time.process_time() - start)
np.save(folder + "/suffixes.npy", suffixes)
np.save(folder + "/common.npy", common)
"""


@dataclass
class LocalShard:
    """A shard of documents in memory, or the files of a task."""

    index: int
    tables: Sequence[pa.Table] = ()
    outputs: Sequence[Output] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def documents(self) -> Iterator[pa.Table]:
        """Its batches."""
        yield from self.tables

    def rows(self) -> Iterator[tuple[int, pa.Table]]:
        """Not asked for."""
        raise NotImplementedError

    def take(self, rows: Any, columns: Any) -> pa.Table:
        """Not asked for."""
        raise NotImplementedError

    def file(self, suffix: str) -> Path:
        """The file with that suffix."""
        return next(one.path for one in self.outputs if one.suffix == suffix and one.folder == "shards")


def read(paths: Sequence[Path]) -> tuple[list[bytes], list[str]]:
    """Ids (hashed to 16 bytes) and texts."""
    ids, texts = [], []
    for path in paths:
        with path.open("rb") as raw:
            lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8", newline="\n")
            for record in map(json.loads, lines):
                ids.append(hashlib.md5(record["id"].encode()).digest())
                texts.append(record["text"])
    return ids, texts


def tables(ids: Sequence[bytes], texts: Sequence[str]) -> list[list[pa.Table]]:
    """Shards of batches."""
    shards = []
    for first in range(0, len(ids), _SHARD_DOCS):
        batches = []
        for start in range(first, min(first + _SHARD_DOCS, len(ids)), _BATCH):
            rows = slice(start, min(start + _BATCH, first + _SHARD_DOCS))
            columns = [pa.array(ids[rows], ID_TYPE), pa.array(texts[rows], pa.large_string())]
            batches.append(pa.table([*columns, pa.array(["text"] * len(ids[rows]))], names=["id", "text", "source"]))
        shards.append(batches)
    return shards


def run(verb: DedupSubstrings, shards: Sequence[Sequence[pa.Table]], folder: Path) -> dict[str, Any]:
    """Run every node; returns CPU seconds and bytes on disk by node, facts, and the repeated stretches."""
    done = {"docs": [LocalShard(k, batches) for k, batches in enumerate(shards)]}
    seconds: dict[str, float] = {}
    disk: dict[str, int] = {}
    facts: dict[str, int] = {}
    for node in verb.nodes("step", "docs", 0):
        name = node.name.removeprefix("step.")
        inputs = {role: done[source] for role, source in node.inputs.items()}
        done[node.name] = []
        started = time.process_time()
        for plan in node.work.tasks({role: Extent(len(found)) for role, found in inputs.items()}):
            scratch = folder / node.name / str(plan.index)
            scratch.mkdir(parents=True)
            needs = plan.needs.items()
            given = {role: inputs[role] if k is None else [inputs[role][one] for one in k] for role, k in needs}
            result = _task(node.work, Task(node.name, plan.index, given, scratch))
            done[node.name].append(LocalShard(plan.index, outputs=result.outputs, facts=result.facts))
            disk[name] = disk.get(name, 0) + sum(one.path.stat().st_size for one in result.outputs)
            for fact, number in result.facts.items():
                facts[f"{name}.{fact}"] = facts.get(f"{name}.{fact}", 0) + number
        seconds[name] = time.process_time() - started
    files = [one.path for shard in done["step"] for one in shard.outputs if one.folder == "repeats"]
    return {"seconds": seconds, "disk": disk, "facts": facts, "found": pa.concat_tables(map(pq.read_table, files))}


def _task(work: object, task: Task) -> Result:
    if isinstance(work, ShardWork):
        return work.run(task)
    assert isinstance(work, StreamWork)
    sink = work.open(task)
    for docs in task.inputs["documents"][0].documents():
        sink.add(docs)
    return sink.close()


def by_suffix_array(
    python: str, ids: Sequence[bytes], texts: Sequence[str], found: pa.Table, min_tokens: int
) -> dict[str, Any]:
    """Words in repeats by a suffix array over all words, texts in content order, and how many differ from ours."""
    order = sorted(range(len(ids)), key=lambda k: (-len(texts[k].encode()), ids[k]))
    hashes = [folded_words(texts[k]).hash for k in order]
    number = np.unique(np.concatenate(hashes), return_inverse=True)[1]
    ends = np.cumsum([len(one) for one in hashes])
    # A symbol of its own ends each text, so that no match goes over the end.
    words = np.insert(number.astype(np.int64), ends, number.max() + 1 + np.arange(len(ends)))
    with TemporaryDirectory() as folder:
        np.save(f"{folder}/words.npy", words)
        done = subprocess.run([python, "-c", _SUFFIX_ARRAY, folder], check=True, capture_output=True, text=True)
        suffixes, common = np.load(f"{folder}/suffixes.npy"), np.load(f"{folder}/common.npy")[: len(words)]
    group = np.cumsum(np.append(True, common[:-1] < min_tokens)) - 1
    first = np.full(group[-1] + 1, len(words))
    np.minimum.at(first, group, suffixes)
    theirs = _covered(suffixes[suffixes != first[group]], min_tokens, len(words))
    where = {
        ids[k]: begin for k, begin in zip(order, ends + np.arange(len(ends)) - np.diff(ends, prepend=0), strict=True)
    }
    begins = np.array([where[one] for one in found["id"].to_pylist()], np.int64) + found["first_token"].to_numpy()
    ours = np.zeros(len(words), np.bool_)
    for begin, size in zip(begins.tolist(), found["tokens"].to_pylist(), strict=True):
        ours[begin : begin + size] = True
    return {"seconds": float(done.stdout), "repeated": int(theirs.sum()), "differ": int((ours != theirs).sum())}


def _covered(starts: npt.NDArray[np.int64], size: int, num_words: int) -> npt.NDArray[np.bool_]:
    steps = np.zeros(num_words + size + 1, np.int64)
    np.add.at(steps, starts, 1)
    np.add.at(steps, starts + size, -1)
    return np.cumsum(steps)[:num_words] > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--min-tokens", type=int, default=50)
    parser.add_argument("--memory-gib", type=float, default=1.0)
    parser.add_argument("--suffix-array", metavar="PYTHON", help="a Python with pydivsufsort")
    arguments = parser.parse_args()
    ids, texts = read(arguments.paths)
    shards = tables(ids, texts)
    size = sum(len(text.encode()) for text in texts) / 1e6
    verb = DedupSubstrings(min_tokens=arguments.min_tokens, memory_gib=arguments.memory_gib)
    anchors(shards[0][0]["text"], arguments.min_tokens)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    runs = []
    for number in range(ROUNDS):
        started = time.process_time()
        for batch in (batch for batches in shards for batch in batches):
            anchors(batch["text"], arguments.min_tokens)
        kernel = time.process_time() - started
        with TemporaryDirectory() as folder:
            runs.append({"kernel": kernel, **run(verb, shards, Path(folder))})
        if number == 0:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    best = {name: min(one["seconds"][name] for one in runs) for name in runs[0]["seconds"]}
    print(f"{len(texts)} documents, {size:.1f} MB, {len(shards)} shards; CPU time of one process, best of {ROUNDS}")
    print(f"anchor kernel: {size / min(one['kernel'] for one in runs):.0f} MB/s")
    for name, seconds in best.items():
        share = runs[0]["disk"][name] / size / 1e6
        print(f"{name}: {seconds:.2f} s, {size / seconds:.0f} MB/s, {share:.3f} bytes on disk a byte of text")
    total = sum(best.values())
    print(
        f"whole step: {total:.2f} s, {size / total:.0f} MB/s; peak RSS {peak:.0f} MB, with the text {before:.0f} before"
    )
    print(runs[0]["facts"])
    if arguments.suffix_array:
        print(
            "suffix array:", by_suffix_array(arguments.suffix_array, ids, texts, runs[0]["found"], arguments.min_tokens)
        )


if __name__ == "__main__":
    sys.exit(main())
