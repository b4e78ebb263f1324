"""Runs the nodes of the step over tables in memory, and the slow twin that says what must come out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from operators.dedup.substrings.verb import DedupSubstrings
from pipeline.ledger import Ledger, total
from pipeline.work import Result
from tests.operators.dedup.runner import LocalShard, run_nodes
from tests.operators.dedup.twins import folded_words

Word = tuple[int, ...]
Rows = list[dict[str, Any]]


@dataclass
class Outcome:
    """What a run left: kept and dropped rows, repeated stretches, the account, and what each node noted."""

    kept: Rows
    dropped: Rows
    cuts: Rows
    ledger: Ledger
    facts: dict[str, dict[str, int]]
    files: dict[str, str]

    def texts(self) -> dict[bytes, str]:
        return {row["id"]: row["text"] for row in self.kept}


def _outcome(done: Mapping[str, Sequence[LocalShard]], results: Mapping[str, Sequence[Result]]) -> Outcome:
    def rows(suffix: str, folder: str = "shards") -> Rows:
        paths = [
            one.path
            for result in results["step"]
            for one in result.outputs
            if (one.suffix, one.folder) == (suffix, folder)
        ]
        return [row for path in paths for row in pq.read_table(path).to_pylist()]

    facts: dict[str, dict[str, int]] = {}
    for name, shards in done.items():
        for shard in shards:
            for fact, number in shard.facts.items():
                facts.setdefault(name, {}).setdefault(fact, 0)
                facts[name][fact] += number
    files = {
        f"{name}/{index}{one.folder}{one.suffix}": hashlib.sha256(one.path.read_bytes()).hexdigest()
        for name, made in results.items()
        for index, result in enumerate(made)
        for one in result.outputs
    }
    ledger = total(result.ledger for result in results["step"])
    return Outcome(rows(".parquet"), rows(".parquet", "dropped"), rows(".parquet", "repeats"), ledger, facts, files)


def run(verb: DedupSubstrings, shards: Sequence[Sequence[pa.Table]]) -> Outcome:
    """Run every node of the step over shards, each a list of batches."""
    with TemporaryDirectory() as folder:
        return _outcome(*run_nodes(verb.nodes("step", "docs", 0), shards, Path(folder)))


def words(text: str) -> list[Word]:
    return [tuple(word) for word in folded_words(text)]


def document_id(number: int) -> bytes:
    return hashlib.md5(b"%d" % number).digest()


def repeated(
    texts: Mapping[bytes, str], min_tokens: int, *, within: bool = True, longest: bool = True
) -> dict[bytes, list[bool]]:
    """For each word of each document whether a window that holds it stands earlier in content order."""
    order = sorted(texts, key=lambda key: (-len(texts[key].encode()) if longest else 0, key))
    seen: set[tuple[Word, ...]] = set()
    marks: dict[bytes, list[bool]] = {}
    for key in order:
        own = words(texts[key])
        marks[key] = [False] * len(own)
        new = set()
        for start in range(len(own) - min_tokens + 1):
            window = tuple(own[start : start + min_tokens])
            if window in seen or (within and window in new):
                marks[key][start : start + min_tokens] = [True] * min_tokens
            new.add(window)
        seen |= new
    return marks


def left(texts: Mapping[bytes, str], marks: Mapping[bytes, list[bool]]) -> dict[bytes, list[Word]]:
    """The words that stay; documents of nothing but repeats are gone."""
    found = {
        key: [word for word, gone in zip(words(text), marks[key], strict=True) if not gone]
        for key, text in texts.items()
    }
    return {key: stay for key, stay in found.items() if stay or not marks[key]}
