"""MinHash signatures side by side with datasketch, and what the whole dedup step finds on planted and natural pairs.

    python benchmarks/dedup_signatures.py throughput/base.jsonl.zst --pairs dedup/small dedup/natural

The path is a .jsonl.zst with ``text``. A name of ``--pairs`` stands for NAME_docs.jsonl.zst (``id``, ``text``) and the
exact similar pairs NAME_truth_j30.jsonl.zst, or NAME_pairs.jsonl.zst where there is none (``id_a``, ``id_b``,
``jaccard_w5``); NAME_pairs may give the ``kind`` of planted pairs.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import statistics
import time
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
import zstandard
from datasketch import MinHash as Datasketch

from operators.dedup.sketch import Bands, sketch
from operators.dedup.verb import Dedup
from operators.kernels.minhash import minhash, signatures
from operators.kernels.shingles import shingle_hashes
from pipeline.documents import ID_TYPE
from pipeline.work import Result, ShardWork, StreamWork, Task

NUM_PERM, NGRAM = 112, 5
ROUNDS = 3
_BATCH = 2000
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+"
)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Records of a .jsonl.zst."""
    with path.open("rb") as raw:
        stream = zstandard.ZstdDecompressor().stream_reader(raw)
        yield from map(json.loads, io.TextIOWrapper(stream, encoding="utf-8"))


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one thread."""
    start = time.thread_time()
    work()
    return time.thread_time() - start


def with_datasketch(texts: Sequence[str]) -> list[Datasketch]:
    """The fastest way to use datasketch that we know: ``bulk`` over xxh32 of space-joined lower-cased word 5-grams."""
    sets = []
    for text in texts:
        words = text.lower().split()
        sets.append([" ".join(words[k : k + NGRAM]).encode() for k in range(len(words) - NGRAM + 1)])
    return Datasketch.bulk(sets, num_perm=NUM_PERM, scheme="affine32", hashfunc=xxhash.xxh32_intdigest)


def speed(path: Path, share: int) -> None:
    """Print MB/s of the kernels and of datasketch on every ``share``-th document, in interleaved rounds."""
    texts = [record["text"] for record in read(path)]
    fewer = texts[::share]
    size, fewer_size = (sum(len(text.encode()) for text in some) / 1e6 for some in (texts, fewer))
    fresh = [pa.array(texts[k : k + _BATCH], pa.large_string()) for k in range(0, len(texts), _BATCH)]
    ids = [pa.array([bytes(16)] * len(column), ID_TYPE) for column in fresh]
    tables = [pa.table({"id": key, "text": column}) for key, column in zip(ids, fresh, strict=True)]
    hashed = [shingle_hashes(column, NGRAM) for column in fresh]
    signatures(fresh[0][:1], NGRAM, NUM_PERM)
    jobs: dict[str, tuple[float, Callable[[], object]]] = {
        "shingles (UTF-8 to 32-bit hashes)": (size, lambda: [shingle_hashes(column, NGRAM) for column in fresh]),
        "permutations (hashes to signatures)": (size, lambda: [minhash(*one, NUM_PERM) for one in hashed]),
        "signatures (text to 112 slots)": (size, lambda: [signatures(column, NGRAM, NUM_PERM) for column in fresh]),
        "sketch (slots, exact hash, date, bytes)": (size, lambda: [sketch(one, Bands()) for one in tables]),
        "datasketch bulk, affine32, xxh32": (fewer_size, lambda: with_datasketch(fewer)),
    }
    rates: dict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        for name, (megabytes, work) in jobs.items():
            rates[name].append(megabytes / seconds(work))
    print(f"{len(texts)} documents, {size:.1f} MB; datasketch on every {share}th; MB/s of CPU time, one thread")
    for name, found in rates.items():
        print(f"  {name:42} {min(found):7.1f} to {max(found):7.1f}, median {statistics.median(found):7.1f}")
    ours, theirs = (statistics.median(rates[name]) for name in list(jobs)[2::2])
    print(f"  ratio of the medians, signatures to datasketch: {ours / theirs:.1f}")


@dataclass
class FileShard:
    """A shard of the step, without an engine."""

    index: int
    tables: Sequence[pa.Table] = ()
    files: dict[str, Path] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def documents(self) -> Iterator[pa.Table]:
        """The batches."""
        yield from self.tables

    def rows(self) -> Iterator[tuple[int, pa.Table]]:
        """Not a selection."""
        raise NotImplementedError

    def file(self, suffix: str) -> Path:
        """A file of the node."""
        return self.files[suffix]


def removed_by(dedup: Dedup, docs: pa.Table, folder: Path) -> pa.Table:
    """The removed rows of one shard of documents."""
    made: dict[str, list[FileShard]] = {"docs": [FileShard(0, [docs])]}
    for node in dedup.nodes("dedup", "docs", 0):
        inputs = {role: made[name] for role, name in node.inputs.items()}
        scratch = folder / node.name
        scratch.mkdir()
        result = _result(node.work, Task(node.name, 0, inputs, scratch))
        made[node.name] = [FileShard(0, files={output.suffix: output.path for output in result.outputs})]
    return pq.read_table(made["dedup"][0].file(".removed.parquet"))


def _result(work: object, task: Task) -> Result:
    if isinstance(work, StreamWork):
        sink = work.open(task)
        for docs in task.inputs["documents"][0].documents():
            sink.add(docs)
        return sink.close()
    assert isinstance(work, ShardWork)
    return work.run(task)


def word_shingles(text: str) -> set[tuple[str, ...]]:
    """Word 5-grams as the pairs' Jaccard values were taken: NFKC, lower case, a Han or kana character is a word."""
    words = _WORD.findall(unicodedata.normalize("NFKC", text).lower())
    return {tuple(words[k : k + NGRAM]) for k in range(len(words) - NGRAM + 1)}


def quality(name: str) -> None:
    """Print recall by Jaccard and by kind, and the true similarity of what was removed."""
    texts = {record["id"]: record["text"] for record in read(Path(f"{name}_docs.jsonl.zst"))}
    keys = {hashlib.md5(key.encode()).digest(): key for key in texts}  # a name, not a secret
    docs = pa.table(
        {
            "id": pa.array(list(keys), ID_TYPE),
            "text": pa.array(list(texts.values()), pa.large_string()),
            "source": pa.array(["x"] * len(texts)),
        }
    )
    with TemporaryDirectory() as folder:
        removed = removed_by(Dedup(), docs, Path(folder)).to_pylist()
    gone = {keys[row["id"]]: (keys[row["rep_id"]], row["kind"], row["estimate"]) for row in removed}
    representative = {key: gone[key][0] if key in gone else key for key in texts}
    print(f"{name}: {len(texts)} documents, {len(gone)} removed ({sum(g[1] == 'exact' for g in gone.values())} exact)")
    _recall(name, gone, representative)
    similar, errors = [], []
    for key, (rep, kind, estimate) in gone.items():
        if kind == "near" and (sets := (word_shingles(texts[key]), word_shingles(texts[rep]))) and all(sets):
            similar.append(len(sets[0] & sets[1]) / len(sets[0] | sets[1]))
            errors.append(abs(similar[-1] - estimate))
    shares = ", ".join(f"below {below}: {100 * np.mean(np.array(similar) < below):.1f} %" for below in (0.5, 0.65, 0.7))
    print(
        f"  true Jaccard of {len(similar)} near removals with the survivor: {shares}; least {min(similar):.3f}; "
        f"mean error of the estimate {np.mean(errors):.3f}"
    )


def _recall(name: str, gone: Mapping[str, Any], representative: Mapping[str, str]) -> None:
    truth = Path(f"{name}_truth_j30.jsonl.zst")
    pairs = Path(f"{name}_pairs.jsonl.zst")
    by_jaccard: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for pair in read(truth if truth.exists() else pairs):
        low = min(int(pair["jaccard_w5"] * 20) / 20, 0.95)
        count = by_jaccard[f"{low:.2f}"]
        count[0] += 1
        count[1] += pair["id_a"] in gone or pair["id_b"] in gone
        count[2] += representative[pair["id_a"]] == representative[pair["id_b"]]
    print("  Jaccard from: pairs / one of the two removed / both stand behind one survivor")
    for low, count in sorted(by_jaccard.items()):
        print(f"    {low}: {count[0]:4} / {count[1] / count[0]:5.3f} / {count[2] / count[0]:5.3f}")
    by_kind: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for pair in read(pairs):
        if "kind" in pair:
            count = by_kind[f"{pair['kind']} {pair['rate']}"]
            count[0] += 1
            count[1] += representative[pair["id_a"]] == representative[pair["id_b"]]
    if by_kind:
        print("  planted: " + ", ".join(f"{kind}: {hit}/{count}" for kind, (count, hit) in by_kind.items()))


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("path", type=Path, nargs="?", help="a .jsonl.zst with text, for speed")
    parser.add_argument("--share", type=int, default=10, help="datasketch gets every SHAREth document (default 10)")
    parser.add_argument(
        "--pairs", nargs="*", default=[], help="names of sets with known pairs, for recall and precision"
    )
    arguments = parser.parse_args()
    if arguments.path:
        speed(arguments.path, arguments.share)
    for name in arguments.pairs:
        quality(name)


if __name__ == "__main__":
    main()
