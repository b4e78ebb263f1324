"""Runs the nodes of a dedup step over local files, without an engine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from operators.dedup.verb import Dedup
from pipeline.documents import ID_TYPE
from pipeline.work import Extent, Node, Result, Shard, ShardWork, StreamWork, Task


@dataclass
class LocalShard:
    """A committed shard, or documents in memory."""

    index: int
    tables: Sequence[pa.Table] = ()
    files: dict[str, Path] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    source: bool = False

    def documents(self) -> Iterator[pa.Table]:
        yield from self.tables

    def rows(self) -> Iterator[tuple[int, pa.Table]]:
        raise NotImplementedError

    def take(self, rows: Sequence[int], columns: Sequence[str]) -> pa.Table:
        whole = pa.concat_tables(self.tables)
        return whole.select([name for name in columns if name in whole.column_names]).take(list(rows))

    @property
    def read_again(self) -> bool:
        return self.source

    def file(self, suffix: str) -> Path:
        return self.files[suffix]


@dataclass
class Outcome:
    """What a run left."""

    shards: dict[str, list[LocalShard]]
    results: dict[str, list[Result]]
    step: str

    def keep(self, shard: int) -> list[bool]:
        with pa.ipc.open_file(str(self.shards[self.step][shard].file(".keep"))) as reader:
            return [bool(stays) for stays in reader.read_all()["keep"].to_pylist()]

    def removed(self) -> list[dict[str, Any]]:
        return [
            {"shard": shard.index, **row}
            for shard in self.shards[self.step]
            for row in pq.read_table(shard.file(".removed.parquet")).to_pylist()
        ]

    def sizes(self) -> dict[tuple[int, int], int]:
        return {
            (shard.index, row["row"]): row["cluster_size"]
            for shard in self.shards[self.step]
            for row in pq.read_table(shard.file(".clusters.parquet")).to_pylist()
        }

    def kept(self) -> list[tuple[bytes, str | None]]:
        """Id and text of what stays, sorted."""
        pairs = []
        for shard in self.shards["docs"]:
            docs = pa.concat_tables(shard.tables)
            keep = self.keep(shard.index)
            assert len(keep) == docs.num_rows
            rows = zip(docs["id"].to_pylist(), docs["text"].to_pylist(), keep, strict=True)
            pairs += [(key, text) for key, text, stays in rows if stays]
        return sorted(pairs, key=str)

    def hashes(self) -> dict[str, str]:
        return {
            f"{name}/{shard.index}{suffix}": hashlib.sha256(path.read_bytes()).hexdigest()
            for name, shards in self.shards.items()
            for shard in shards
            for suffix, path in shard.files.items()
        }


def documents(
    texts: Sequence[str | None],
    *,
    ids: Sequence[bytes] | None = None,
    dates: Sequence[str | None] | None = None,
    sources: Sequence[str] | None = None,
) -> pa.Table:
    """A table of documents; ids are by position unless given."""
    columns = {
        "id": pa.array(ids or [hashlib.md5(b"%d" % k).digest() for k in range(len(texts))], ID_TYPE),
        "text": pa.array(texts, pa.large_string()),
        "source": pa.array(sources or ["web"] * len(texts), pa.string()),
    }
    if dates is not None:
        columns["date"] = pa.array(dates, pa.string())
    return pa.table(columns)


def run(
    dedup: Dedup,
    shards: Sequence[Sequence[pa.Table]],
    folder: Path,
    step: str = "unique",
    epochs: Mapping[str, tuple[int, ...]] | None = None,
) -> Outcome:
    """Run every node of the step over shards, each a list of batches; epochs: which shards are whose."""
    dedup = dedup.model_copy(update={"epochs": tuple(epochs or ())})
    return Outcome(*run_nodes(dedup.nodes(step, "docs", 0), shards, folder, epochs), step)


def run_nodes(
    nodes: Sequence[Node],
    shards: Sequence[Sequence[pa.Table]],
    folder: Path,
    epochs: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[dict[str, list[LocalShard]], dict[str, list[Result]]]:
    """The shards and the results of every node, by its name; the documents are the shards of "docs"."""
    labelled = ("documents", "signatures", "runs", "ngrams")
    done: dict[str, list[LocalShard]] = {"docs": [LocalShard(k, tables) for k, tables in enumerate(shards)]}
    results: dict[str, list[Result]] = {}
    for node in nodes:
        inputs = {role: done[name] for role, name in node.inputs.items()}
        extents = {
            role: Extent(len(found), dict(epochs or {}) if role in labelled else {}) for role, found in inputs.items()
        }
        plans = node.work.tasks(extents)
        assert [plan.index for plan in plans] == list(range(len(plans)))
        done[node.name], results[node.name] = [], []
        for plan in plans:
            scratch = folder / node.name / str(plan.index)
            scratch.mkdir(parents=True)
            given: dict[str, Sequence[Shard]] = {
                role: [inputs[role][k] for k in extents[role].named(needs)] for role, needs in plan.needs.items()
            }
            result = run_work(node.work, Task(node.name, plan.index, given, scratch))
            result.ledger.check(node.name)
            files = {output.suffix: output.path for output in result.outputs if output.folder == "shards"}
            done[node.name].append(LocalShard(plan.index, files=files, facts=result.facts))
            results[node.name].append(result)
    return done, results


def run_work(work: object, task: Task) -> Result:
    """One task."""
    match work:
        case StreamWork():
            sink = work.open(task)
            for docs in task.inputs["documents"][0].documents():
                left = sink.add(docs)
                # What is internal to a step lets the documents pass as they are.
                assert left is docs or work.kind != "work"
            return sink.close()
        case ShardWork():
            return work.run(task)
        case _:
            raise TypeError(work)
