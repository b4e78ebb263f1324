"""Dropped rows: why each left, what was measured of it, and how much of its text stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from pipeline.documents import DROPPED_SCHEMA, one_chunk, with_text
from pipeline.operator import Map
from pipeline.rejects import excerpts, extras, head_bytes, heads, languages, rejected, scrubbed, sources

KeepText = Literal["sample", "all", "none"]

_SAMPLE_ONE_IN = 10


@dataclass(frozen=True)
class Verdicts:
    """Why each of N rows was dropped: operator, reason, and the measured value beside the threshold, as text or None."""

    operator: npt.NDArray[np.object_]
    reason: npt.NDArray[np.object_]
    value: npt.NDArray[np.object_]
    threshold: npt.NDArray[np.object_]

    @classmethod
    def alike(
        cls, rows: int, operator: str = "", reason: str = "", value: str | None = None, threshold: str | None = None
    ) -> Verdicts:
        """The same verdict for every row."""
        return cls(*(np.full(rows, text, np.object_) for text in (operator, reason, value, threshold)))

    def take(self, rows: npt.NDArray[np.int64]) -> Verdicts:
        """Those of some rows."""
        return Verdicts(self.operator[rows], self.reason[rows], self.value[rows], self.threshold[rows])


@dataclass(frozen=True)
class Dropped:
    """Rows that were dropped together. They become a table with all others of their batch, since a table costs time."""

    docs: pa.Table
    """The rows with every measure known so far; all of ``text`` is null."""
    verdicts: Verdicts
    sizes: npt.NDArray[np.int64]
    """UTF-8 bytes of the texts."""
    excerpt: pa.Array
    text: pa.Array
    """Whole texts, null where they are not kept."""

    @classmethod
    def of(
        cls,
        docs: pa.Table,
        rows: npt.NDArray[np.int64],
        verdicts: Verdicts,
        sizes: npt.NDArray[np.int64],
        keep: KeepText,
        scrubbers: Sequence[Map],
    ) -> Dropped:
        """Some rows of ``docs``, which still holds the texts the verdicts were about.

        That column is read in place, since most of these texts are not kept. rows: int64 (R,), ascending. verdicts and
        sizes, int64 (R,), are those of these rows alone.
        """
        gone = with_text(docs, pa.nulls(docs.num_rows, pa.large_string())).take(pa.array(rows))
        first = heads(one_chunk(docs["text"]), head_bytes(scrubbers), rows)
        text = _kept_text(docs, rows, gone["id"], keep, scrubbers)
        return cls(gone, verdicts, sizes, excerpts(gone, scrubbers, first), text)


def dropped_rows(parts: Sequence[Dropped], schema: pa.Schema) -> pa.Table:
    """All rows dropped from a batch, as DROPPED_SCHEMA and every measure.

    schema: of the documents at the end; rows that were dropped before a column came to be have null there.
    """
    schema = _dropped_schema(schema)
    if not parts:
        return schema.empty_table()
    docs = pa.concat_tables([_like(part.docs, schema) for part in parts], promote_options="default")
    verdicts = [part.verdicts for part in parts]
    columns = {
        "source": pa.chunked_array([sources(part.docs) for part in parts], pa.string()),
        "language": pa.chunked_array([languages(part.docs) for part in parts], pa.string()),
        "operator": _strings([one.operator for one in verdicts]),
        "reason": _strings([one.reason for one in verdicts]),
        "value": _strings([one.value for one in verdicts]),
        "threshold": _strings([one.threshold for one in verdicts]),
        "bytes": pa.array(np.concatenate([part.sizes for part in parts]), pa.int64()),
        "excerpt": pa.chunked_array([part.excerpt for part in parts], pa.string()),
        "text": pa.chunked_array([part.text for part in parts], pa.large_string()),
    }
    return rejected(docs, columns, schema)


def _dropped_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of dropped rows of documents with this schema."""
    fixed = [pa.field(f.name, schema.field("id").type) if f.name == "id" else f for f in DROPPED_SCHEMA]
    return pa.schema([*fixed, *extras(schema)])


def _like(docs: pa.Table, schema: pa.Schema) -> pa.Table:
    """Those columns of ``schema`` that the rows have, of its types: operators may have changed either since."""
    known = set(docs.column_names)
    docs = docs.select([name for name in schema.names if name in known])
    for position, field in enumerate(docs.schema):
        kind = schema.field(field.name).type
        if field.type != kind:
            docs = docs.set_column(position, field.with_type(kind), docs.column(position).cast(kind))
    return docs


def _strings(parts: Sequence[npt.NDArray[np.object_]]) -> pa.Array:
    return pa.array(np.concatenate(parts), pa.string())


def _kept_text(
    docs: pa.Table, rows: npt.NDArray[np.int64], ids: pa.ChunkedArray, keep: KeepText, scrubbers: Sequence[Map]
) -> pa.Array:
    if keep == "none" or len(rows) == 0:
        return pa.nulls(len(rows), pa.large_string())
    chosen = np.ones(len(rows), np.bool_) if keep == "all" else _sampled(ids)
    if not scrubbers:
        return one_chunk(docs["text"]).take(pa.array(rows, mask=~chosen))
    # Scrubbers may look at other columns.
    text = scrubbed(docs.take(pa.array(rows[chosen])), scrubbers)["text"].cast(pa.large_string())
    return one_chunk(text).take(pa.array(np.cumsum(chosen) - 1, mask=~chosen))


def _sampled(ids: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """One row in ten, by its id."""
    raw: list[Any] = one_chunk(ids).cast(pa.binary()).fill_null(b"").to_pylist()
    digest = xxhash.xxh3_64_intdigest
    return np.array([digest(i) for i in raw], np.uint64) % _SAMPLE_ONE_IN == 0
