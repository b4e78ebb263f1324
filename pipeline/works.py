"""The two works the engine itself brings: reading a source, and applying operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import pyarrow as pa
from pydantic import SerializeAsAny

from pipeline.apply import Chain, Outcome
from pipeline.documents import text_bytes
from pipeline.dropped import KeepText
from pipeline.isolation import Limits, run_isolated
from pipeline.ledger import Count, Flow, Ledger
from pipeline.operator import Filter, Map
from pipeline.parquet_shard import ParquetShard
from pipeline.readers.batch import ReadBatch
from pipeline.readers.read import Read
from pipeline.rejects import scrubbed, sources
from pipeline.work import Extent, Node, Output, Result, Sink, StreamWork, Task, TaskPlan


class ReadWork(StreamWork):
    """Reads a source. Its documents are never copied: a later task reads them again from the frozen input.

    scrubbers: maps of later steps that remove personal data; they run over the excerpts of what cannot be read.
    """

    kind: ClassVar = "source"
    libraries: ClassVar = ("fastwarc", "resiliparse")

    read: Read
    scrubbers: tuple[SerializeAsAny[Map], ...] = ()

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """One task a frozen shard; they stand under the role ``pieces``."""
        return [TaskPlan(k, {}) for k in range(shards["pieces"].count)]

    def open(self, task: Task) -> ReadSink:
        """A sink that accounts for what the reader delivers and what it cannot read."""
        return ReadSink(task, self.scrubbers)

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:
        """One node without inputs."""
        del source, seed
        return (Node(step, self, {}),)


class ReadSink(Sink):
    """Counts what a reader delivers; keeps the rows it dropped and quarantined."""

    def __init__(self, task: Task, scrubbers: Sequence[Map] = ()) -> None:
        self._rejects = Rejects(task)
        self._scrubbers = scrubbers
        self._ledger = Ledger()
        self._flow = Flow("read")

    def take(self, batch: ReadBatch) -> pa.Table:
        """Account for a batch; returns its documents."""
        docs, ledger = batch.documents, self._ledger
        size = int(text_bytes(docs).to_numpy().sum())
        ledger.kept.add(docs.num_rows, size)
        ledger.into.add(docs.num_rows, size)
        _count_groups(ledger, docs)
        for source, operator, reason, gone in _rows(batch.dropped, "source", "operator", "reason", "bytes"):
            ledger.dropped.setdefault(f"{operator}:{reason}", Count()).add(1, gone)
            ledger.into.add(1, gone)
            ledger.group_into.setdefault(f"{source}|und", Count()).add(1, gone)
        for source, operator, gone in _rows(batch.quarantined, "source", "operator", "bytes"):
            ledger.quarantined.setdefault(operator, Count()).add(1, gone)
            ledger.into.add(1, gone)
            ledger.group_into.setdefault(f"{source}|und", Count()).add(1, gone)
        ledger.taken_down.add(batch.suppressed, batch.suppressed_bytes)
        ledger.into.add(batch.suppressed, batch.suppressed_bytes)
        self._rejects.add(self._scrubbed(batch.dropped), self._scrubbed(batch.quarantined))
        return docs

    def _scrubbed(self, rejected: pa.Table) -> pa.Table:
        """The rows with personal data taken out of their excerpts."""
        if not rejected.num_rows or not self._scrubbers:
            return rejected
        position = rejected.column_names.index("excerpt")
        texts = pa.table(
            {"id": pa.array(range(rejected.num_rows)), "text": rejected["excerpt"].cast(pa.large_string())}
        )
        clean = scrubbed(texts.combine_chunks(), self._scrubbers)["text"].cast(pa.string())
        return rejected.set_column(position, "excerpt", clean)

    def add(self, docs: pa.Table) -> pa.Table:
        """Documents pass."""
        return docs

    def close(self) -> Result:
        """The account; a shard of its own has no files but those of rejected rows."""
        self._flow.into = {"und": Count(self._ledger.into.docs, self._ledger.into.bytes)}
        self._flow.out = {"und": Count(self._ledger.kept.docs, self._ledger.kept.bytes)}
        self._ledger.flows = [self._flow]
        return Result(self._rejects.close(), self._ledger)

    def abandon(self) -> None:
        """Close the files."""
        self._rejects.abandon()


class Apply(StreamWork):
    """Applies operators to documents, one after another.

    limits: what a batch may use before its process is ended; it then costs the document that used it up.
    scrubbers: maps of later steps that remove personal data; they run over the texts of rejected rows here.
    """

    kind: ClassVar = "documents"
    runtime: ClassVar = ("limits",)

    operators: tuple[SerializeAsAny[Map | Filter], ...]
    keep_dropped_text: KeepText = "sample"
    limits: Limits = Limits()
    scrubbers: tuple[SerializeAsAny[Map], ...] = ()

    def open(self, task: Task) -> Sink:
        """A sink that writes kept, dropped and quarantined rows of one shard."""
        chain = Chain(self.operators, self.keep_dropped_text, self.scrubbers)
        if task.isolated:
            scratch = task.scratch / "isolated"
            return ApplySink(lambda docs: run_isolated(chain, docs, scratch, self.limits), task)
        for operator in self.operators:
            operator.prepare()
        return ApplySink(chain.run, task)

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:
        """One node."""
        del seed
        return (Node(step, self, {"documents": source or ""}),)


class ApplySink(Sink):
    """Runs a chain over the batches of one shard."""

    def __init__(self, run: Callable[[pa.Table], Outcome], task: Task) -> None:
        self._run = run
        self._kept = ParquetShard(task.scratch / "kept.parquet")
        self._rejects = Rejects(task)
        self._ledger = Ledger()

    def add(self, docs: pa.Table) -> pa.Table:
        """Apply the chain; what is kept goes on."""
        outcome = self._run(docs)
        self._kept.add(outcome.kept)
        self._rejects.add(outcome.dropped, outcome.quarantined)
        self._ledger.merge(outcome.ledger)
        return outcome.kept

    def close(self) -> Result:
        """Close the files; a shard in which nothing was read has no documents file."""
        self._kept.close()
        kept = [Output(self._kept.path, ".parquet")] if self._kept.path.exists() else []
        return Result(kept + self._rejects.close(), self._ledger, {"rows": self._kept.num_rows})

    def abandon(self) -> None:
        """Close the files."""
        self._kept.abandon()
        self._rejects.abandon()


class Rejects:
    """The files of dropped and quarantined rows; none where there is nothing."""

    def __init__(self, task: Task) -> None:
        self._dropped = ParquetShard(task.scratch / "dropped.parquet")
        self._quarantined = ParquetShard(task.scratch / "quarantine.parquet")

    def add(self, dropped: pa.Table, quarantined: pa.Table) -> None:
        """Append rows."""
        if dropped.num_rows:
            self._dropped.add(dropped)
        if quarantined.num_rows:
            self._quarantined.add(quarantined)

    def close(self) -> list[Output]:
        """Close the files that there are."""
        outputs = []
        for shard, folder in ((self._dropped, "dropped"), (self._quarantined, "quarantine")):
            shard.close()
            if shard.num_rows:
                outputs.append(Output(shard.path, ".parquet", folder))
        return outputs

    def abandon(self) -> None:
        """Close the files."""
        self._dropped.abandon()
        self._quarantined.abandon()


def _rows(table: pa.Table, *names: str) -> list[tuple]:
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


def _count_groups(ledger: Ledger, docs: pa.Table) -> None:
    sizes = text_bytes(docs).to_numpy().tolist()
    for source, size in zip(sources(docs).to_pylist(), sizes, strict=True):
        for groups in (ledger.group_into, ledger.group_kept):
            groups.setdefault(f"{source}|und", Count()).add(1, size)
