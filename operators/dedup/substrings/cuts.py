"""Documents without what stands before in another, or with the measure of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from operators.dedup.columns import open_columns
from operators.dedup.order import addresses, rows_of, shards_of
from operators.dedup.sketch import Arrays
from operators.dedup.substrings.anchors import ROWS, TakeAnchors
from operators.dedup.substrings.places import REPEAT_COLUMNS, REPEATS, read_places, stretches
from operators.dedup.verdict_files import id_array
from operators.kernels.buffers import large_strings, text_buffers
from operators.kernels.cut_words import MARKS, cut_bytes
from operators.kernels.replace_spans import replace_spans
from pipeline.documents import ID_TYPE, with_text
from pipeline.operator import Bound, Filter, Map
from pipeline.parquet_shard import ParquetShard
from pipeline.work import Output, Result, Sink, Task
from pipeline.works import Apply

FOLDER = "repeats"
"""Beside ``shards`` and ``dropped``: Parquet files of ``REPEATS_SCHEMA``."""

REPEATS_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("id", ID_TYPE, nullable=False),
        pa.field("first_byte", pa.int64(), nullable=False),
        pa.field("end_byte", pa.int64(), nullable=False),
        pa.field("first_token", pa.int64(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("rep_id", ID_TYPE, nullable=False),
        pa.field("rep_shard", pa.int64(), nullable=False),
        pa.field("rep_row", pa.int64(), nullable=False),
        pa.field("rep_token", pa.int64(), nullable=False),
    ]
)
"""Every repeated stretch: the row it stands in, its bytes in the text that came in (with the white space and the
punctuation that go with it), its words, and where its beginning stands earlier in content order."""

_SPANS, _TOKENS, _DUPLICATES = "spans", "num_tokens", "duplicate_tokens"


class CutSpans(Map):
    """Takes out of a text the stretches in its column of spans; a text of nothing else becomes null (``nothing_left``)."""

    def map(self, docs: pa.Table) -> pa.Table:
        """The texts as they are left; the column of spans goes."""
        name = self.column(_SPANS)
        column: Any = docs[name].combine_chunks()
        docs = docs.drop_columns(name)
        spans = column.flatten().to_numpy().reshape(-1, 3).astype(np.int64)
        if not len(spans):
            return docs
        texts = text_buffers(docs["text"])
        rows = np.repeat(np.arange(docs.num_rows), pc.list_value_length(column).to_numpy() // 3)
        places = np.stack([*(spans[:, :2] + texts.offsets[rows, None]).T, rows], axis=1)
        data, offsets = replace_spans(texts.data, texts.offsets, places, spans[:, 2].copy(), MARKS)
        cut = np.zeros(docs.num_rows, np.bool_)
        cut[rows] = True
        valid = texts.valid & ~(cut & (np.diff(offsets) == 0))
        return with_text(docs, large_strings(data, offsets, valid))


class MostlyRepeated(Filter):
    """Drops documents of which too much stands before in others.

    Measures: ``duplicate_fraction``: repeated words over all words, in [0, 1]; 0 for a text without words.
    """

    max_duplicate_fraction: float | None = Field(default=0.5, ge=0, le=1)

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """The maximum, where it is on."""
        if self.max_duplicate_fraction is None:
            return ()
        return (Bound("duplicate_fraction", max=self.max_duplicate_fraction, reason="repeated"),)

    def measure(self, docs: pa.Table) -> Mapping[str, pa.Array]:
        """From the two columns that the step adds."""
        words, repeated = (docs[self.column(name)].combine_chunks().to_numpy() for name in (_TOKENS, _DUPLICATES))
        return {"duplicate_fraction": pa.array(repeated / np.maximum(words, 1))}


class Removal(Apply):
    """The step's last node: the account of an ``apply``, over documents that carry what repeats in them.

    Adds ``<step>.num_tokens`` and ``<step>.duplicate_tokens``, the words of the text that came in and those of them that
    lie in a repeated run. ``repeats/``: see ``REPEATS_SCHEMA``.
    """

    anchors: TakeAnchors
    step: str
    cuts: bool

    def open(self, task: Task) -> Sink:
        """A sink that writes kept and dropped rows of one shard, and its repeated stretches."""
        return _RepeatSink(self, super().open(task), task)


class _RepeatSink(Sink):
    """Gives each row its repeated stretches, and hands it to the sink of an ``apply``."""

    def __init__(self, work: Removal, sink: Sink, task: Task) -> None:
        self._work, self._sink = work, sink
        parameters = work.anchors.parameters
        found = [
            read_places(task.inputs[role], REPEATS, REPEAT_COLUMNS, task.index, parameters)
            for role in ("matches", "repeats")
        ]
        both = {name: np.concatenate([part[name] for part in found]) for name in REPEAT_COLUMNS}
        self._found = stretches(both, work.anchors.min_tokens)
        shards = task.inputs["anchors"]
        self._own = open_columns(shards[task.index].file(ROWS), "rows", parameters, verify=True)
        self._file = ParquetShard(task.scratch / "repeats.parquet")
        self._at = addresses(task.index, np.arange(len(self._own["tokens"]) + 1))
        self._num_rows = 0

    def add(self, docs: pa.Table) -> pa.Table:
        rows = slice(self._num_rows, self._num_rows + docs.num_rows)
        first, end = np.searchsorted(self._found["at"], self._at[[rows.start, rows.stop]])
        found = {name: column[first:end] for name, column in self._found.items()}
        row = rows_of(found["at"]) - rows.start
        words = found["end"] - found["start"]
        spans, kinds = cut_bytes(docs["text"], np.stack([found["start"], found["end"], row], axis=1))
        spans[:, :2] -= text_buffers(docs["text"]).offsets[row, None]
        self._file.add(self._table(docs, found, spans))
        repeated = np.bincount(row, weights=words, minlength=docs.num_rows).astype(np.int64)
        measures: dict[str, Any] = {
            _TOKENS: pa.array(self._own["tokens"][rows].astype(np.int64)),
            _DUPLICATES: pa.array(repeated),
        }
        if self._work.cuts:
            measures[_SPANS] = _lists(np.stack([spans[:, 0], spans[:, 1], kinds], axis=1), row, docs.num_rows)
        for name, values in measures.items():
            docs = _with(docs, f"{self._work.step}.{name}", values)
        self._num_rows = rows.stop
        return self._sink.add(docs)

    def _table(self, docs: pa.Table, found: Arrays, spans: npt.NDArray[np.int64]) -> pa.Table:
        row = spans[:, 2]
        columns = {
            "row": row + self._num_rows,
            "id": docs["id"].combine_chunks().take(pa.array(row)),
            "first_byte": spans[:, 0],
            "end_byte": spans[:, 1],
            "first_token": found["start"],
            "tokens": found["end"] - found["start"],
            "rep_id": id_array(np.stack([found["rep_high"], found["rep_low"]], axis=1)),
            "rep_shard": shards_of(found["rep"]),
            "rep_row": rows_of(found["rep"]),
            "rep_token": found["rep_start"],
        }
        return pa.table([pa.array(columns[field.name], field.type) for field in REPEATS_SCHEMA], schema=REPEATS_SCHEMA)

    def close(self) -> Result:
        if not self._file.num_rows:
            self._file.add(REPEATS_SCHEMA.empty_table())
        self._file.close()
        result = self._sink.close()
        result.outputs.append(Output(self._file.path, ".parquet", FOLDER))
        result.facts["repeats"] = self._file.num_rows
        return result

    def abandon(self) -> None:
        self._file.abandon()
        self._sink.abandon()


def _lists(spans: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], num_rows: int) -> pa.Array:
    """Start, end and kind of each span of each row, one after another."""
    bounds = 3 * np.searchsorted(rows, np.arange(num_rows + 1))
    return pa.LargeListArray.from_arrays(pa.array(bounds, pa.int64()), pa.array(spans.reshape(-1)))


def _with(docs: pa.Table, name: str, values: pa.Array) -> pa.Table:
    if name in docs.column_names:
        return docs.set_column(docs.column_names.index(name), name, values)
    return docs.append_column(name, values)
