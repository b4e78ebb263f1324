"""What a reader yields: documents, rows it dropped, rows it could not read, in tables of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipeline.documents import DROPPED_SCHEMA, EXCERPT_CHARS, ID_TYPE, QUARANTINE_SCHEMA, SCHEMA, document_id

OPERATOR = "read"
# Rows have a cost of their own (ids, origins) that their text does not show.
_ROW_BYTES = 200


@dataclass(frozen=True)
class ReadBatch:
    """Some documents of a shard, in order.

    documents: the fixed columns first, further ones after, the same in each batch of a shard. dropped: rows of
    DROPPED_SCHEMA, quarantined: of QUARANTINE_SCHEMA, both with operator ``read``. suppressed: records of the three
    kinds that a takedown keeps out; they are counted and nothing else of them is here.
    """

    documents: pa.Table
    dropped: pa.Table
    quarantined: pa.Table
    suppressed: int = 0
    suppressed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A document. text: UTF-8; locator: the record's own key, for its id; extra: the further columns, in order."""

    text: bytes
    locator: str
    origin: str
    url: str | None = None
    date: str | None = None
    license: str | None = None
    source: str | None = None
    extra: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Dropped:
    """A record that is no document. raw: its bytes, for the id; value: what was found, threshold: what is taken."""

    reason: str
    raw: bytes
    locator: str
    origin: str
    url: str | None = None
    date: str | None = None
    source: str | None = None
    value: str | None = None
    threshold: str | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """A record, or a stretch of a file, that could not be read. size: its bytes; excerpt: its beginning."""

    error: str
    origin: str
    size: int
    url: str | None = None
    excerpt: bytes | None = None


Item = Found | Dropped | Broken


@dataclass
class _Rows:
    source: str
    further: Sequence[pa.Field]
    found: list[Found] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    size: int = 0

    def add(self, item: Item) -> None:
        match item:
            case Found():
                self.found.append(item)
                self.size += len(item.text)
            case Dropped():
                self.dropped.append(item)
            case Broken():
                self.broken.append(item)
        self.size += _ROW_BYTES

    def batch(self) -> ReadBatch:
        dropped, broken = dropped_table(self.dropped, self.source), broken_table(self.broken, self.source)
        return ReadBatch(self._documents(), dropped, broken)

    def _documents(self) -> pa.Table:
        rows = self.found
        source = self.source
        ids = [document_id(row.source or source, row.locator, row.text) for row in rows]
        columns = {
            "id": pa.array(ids, ID_TYPE),
            # The bytes are UTF-8 already: no copy through Python strings.
            "text": pa.array([row.text for row in rows], pa.large_binary()).view(pa.large_string()),
            "url": pa.array([row.url for row in rows], pa.string()),
            "source": pa.array([row.source or source for row in rows], pa.string()),
            "date": pa.array([row.date for row in rows], pa.string()),
            "license": pa.array([row.license for row in rows], pa.string()),
            "origin": pa.array([row.origin for row in rows], pa.string()),
        }
        for position, column in enumerate(self.further):
            columns[column.name] = pa.array([row.extra[position] for row in rows], column.type)
        return pa.Table.from_arrays(list(columns.values()), schema=pa.schema([*SCHEMA, *self.further]))


def batches(items: Iterable[Item], source: str, further: Sequence[pa.Field], batch_bytes: int) -> Iterator[ReadBatch]:
    """Items as tables of about ``batch_bytes``; at least one, so that an empty shard has its columns too."""
    rows = _Rows(source, further)
    yielded = False
    for item in items:
        rows.add(item)
        if rows.size >= batch_bytes:
            yield rows.batch()
            yielded = True
            rows = _Rows(source, further)
    if rows.size or not yielded:
        yield rows.batch()


def dropped_table(rows: Sequence[Dropped], source: str) -> pa.Table:
    """Rows of DROPPED_SCHEMA. Their texts are not kept: most are error pages, pictures or nothing."""
    columns: dict[str, list[Any]] = {
        "id": [document_id(row.source or source, row.locator, row.raw) for row in rows],
        "url": [row.url for row in rows],
        "source": [row.source or source for row in rows],
        "date": [row.date for row in rows],
        "origin": [row.origin for row in rows],
        "operator": [OPERATOR] * len(rows),
        "reason": [row.reason for row in rows],
        "value": [row.value for row in rows],
        "threshold": [row.threshold for row in rows],
        "bytes": [len(row.raw) for row in rows],
    }
    return _table(columns, len(rows), DROPPED_SCHEMA)


def broken_table(rows: Sequence[Broken], source: str) -> pa.Table:
    """Rows of QUARANTINE_SCHEMA, without an id: what could not be read has no content to key it by."""
    columns: dict[str, list[Any]] = {
        "url": [row.url for row in rows],
        "source": [source] * len(rows),
        "origin": [row.origin for row in rows],
        "operator": [OPERATOR] * len(rows),
        "error": [row.error for row in rows],
        "bytes": [row.size for row in rows],
        "excerpt": [_excerpt(row.excerpt) for row in rows],
    }
    return _table(columns, len(rows), QUARANTINE_SCHEMA)


def _excerpt(data: bytes | None) -> str | None:
    # A character has at most 4 bytes.
    return None if data is None else data[: 4 * EXCERPT_CHARS].decode("utf-8", "replace")[:EXCERPT_CHARS]


def _table(columns: dict[str, list[Any]], num_rows: int, schema: pa.Schema) -> pa.Table:
    arrays = [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(num_rows, f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema)
