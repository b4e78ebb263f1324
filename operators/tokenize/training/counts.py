"""How often each piece of text occurs in the sample: counted shard by shard, then summed by partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from operators.tokenize.engines import slices
from operators.tokenize.training import piece_table
from operators.tokenize.training.piece_table import PieceTable
from operators.tokenize.training.sample import Strata, buckets, cut
from operators.tokenize.training.splitting import Splitting
from operators.tokenize.training.strata import chosen, read_limits
from pipeline.documents import ID_TYPE, as_documents, text_bytes
from pipeline.rejects import languages, sources
from pipeline.work import Extent, Kind, Output, Result, ShardWork, Sink, StreamWork, Task, TaskPlan

COUNTS = ".counts.arrow"
MEASURED = ".measured.parquet"

_MEASURED = pa.schema(
    [("id", ID_TYPE), ("source", pa.string()), ("language", pa.string()), ("text", pa.large_string())]
)
"""With ids, so that whoever searches a run for a text can tell whose it is."""
_MOST_PIECES = 1 << 21  # in memory, some 120 MB; what is more lies in scratch
_MOST_BYTES = 128 << 20


class PieceCounts(StreamWork):
    """Per shard ``.counts.arrow``: the distinct pieces of its part of the sample, with counts, by partition.

    Also ``.measured.parquet``: the texts on which compression is measured, 8 MiB of all shards together.
    Memory: 2 million distinct pieces; what is more lies in scratch as sorted files, and is summed partition by partition.
    """

    kind: ClassVar[Kind] = "work"
    libraries: ClassVar = ("tokenizers",)

    splitting: Splitting
    strata: Strata
    max_chars: int
    seed: int
    partitions: int = Field(default=4, ge=1, le=1024)

    def open(self, task: Task) -> Sink:
        """A sink for one shard."""
        return _CountSink(self, task)


class _CountSink(Sink):
    """Counts the pieces of one shard."""

    def __init__(self, work: PieceCounts, task: Task) -> None:
        self._work = work
        self._scratch = task.scratch
        strata = read_limits(task.inputs["limits"])
        self._sample, self._measure = chosen(strata), chosen(strata, "measured")
        self._table = PieceTable()
        self._runs: list[Path] = []
        self._measured: list[pa.Table] = [_MEASURED.empty_table()]

    def add(self, docs: pa.Table) -> pa.Table:
        table = as_documents(docs)
        names, places = self._work.strata.names(table), buckets(table, self._work.seed)
        mask = self._sample.mask(names, places) & (text_bytes(table).to_numpy() > 0)
        if not mask.any():
            return docs
        own = cut(table.filter(pa.array(mask)), self._work.max_chars)
        few = own.filter(pa.array(self._measure.mask(names, places)[mask]))
        if few.num_rows:
            columns = [few["id"].combine_chunks(), sources(few), languages(few), few["text"].combine_chunks()]
            self._measured.append(pa.table(columns, schema=_MEASURED))
        for part in slices(pc.fill_null(own["text"].combine_chunks(), pa.scalar("", pa.large_string()))):
            texts, cuts = self._work.splitting.pieces(part)
            self._table.add(texts.data, cuts)
            if len(self._table) > _MOST_PIECES or self._table.num_bytes > _MOST_BYTES:
                self._put_aside()
        return docs

    def close(self) -> Result:
        number = self._work.partitions
        counts, measured = self._scratch / "pieces.arrow", self._scratch / "measured.parquet"
        if self._runs:
            self._put_aside()
            runs = self._runs
            parts = (piece_table.summed(piece_table.read(run, k) for run in runs) for k in range(number))
            piece_table.write(counts, parts)
        else:
            piece_table.write(counts, self._table.by_partition(number))
        pq.write_table(pa.concat_tables(self._measured).combine_chunks(), measured)
        return Result([Output(counts, COUNTS), Output(measured, MEASURED)], facts={"runs": len(self._runs)})

    def _put_aside(self) -> None:
        path = self._scratch / f"run{len(self._runs)}.arrow"
        piece_table.write(path, self._table.by_partition(self._work.partitions))
        self._runs.append(path)
        self._table = PieceTable()


class MergedCounts(ShardWork):
    """A task per partition: ``.counts.arrow``, its pieces with their counts over all shards, from ``min_count`` on.

    Memory: the distinct pieces of the partition and two million that wait, some 200 MB; more partitions, less memory.
    """

    kind: ClassVar[Kind] = "work"
    barrier: ClassVar[bool] = True

    partitions: int = Field(default=4, ge=1, le=1024)
    min_count: int = Field(default=1, ge=1)

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """A task per partition, each of which reads all shards."""
        return [TaskPlan(k, dict.fromkeys(shards)) for k in range(self.partitions)]

    def run(self, task: Task) -> Result:
        """Sum the counts of one partition."""
        whole = piece_table.summed(piece_table.read(shard.file(COUNTS), task.index) for shard in task.inputs["counts"])
        kept = whole.filter(pc.field("count") >= self.min_count)
        path = task.scratch / "pieces.arrow"
        piece_table.write(path, [kept])
        facts = {"distinct": whole.num_rows, "kept": kept.num_rows, "pieces": pc.sum(whole["count"]).as_py() or 0}
        return Result([Output(path, COUNTS)], facts=facts)
