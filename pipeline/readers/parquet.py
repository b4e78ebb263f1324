"""Documents from Parquet, row group by row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.documents import ID_TYPE, SCHEMA, document_id
from pipeline.errors import UserError
from pipeline.inputs import Piece
from pipeline.readers.batch import Broken, Dropped, ReadBatch, broken_table, dropped_table
from pipeline.readers.options import Read
from pipeline.readers.schema import found_fields, open_parquet

_BATCH_ROWS = 4096
_TEXTUAL = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)


def read_parquet(options: Read, source: str, pieces: Sequence[Piece], batch_bytes: int) -> Iterator[ReadBatch]:
    """The rows of some pieces. A null or empty text is dropped; a text that is not UTF-8 or too large is quarantined.

    A row group that cannot be decoded is one quarantined row, as is a file that is no Parquet.

    Raises:
        UserError: the text, or a column that the recipe names, is not there or of a type it cannot have.
    """
    further: pa.Schema | None = None
    broken: list[Broken] = []
    for piece in pieces:
        try:
            file = open_parquet(piece.path)
        except pa.ArrowInvalid as error:
            broken.append(Broken(f"not a Parquet file: {error}", f"{piece.path}#0", 0))
            continue
        rows = _Rows(options, source, piece.path, found_fields(options, file.schema_arrow, piece.path))
        if further is None:
            further = rows.further(file.schema_arrow)
        for part in _row_groups(file, piece, rows):
            if isinstance(part, Broken):
                broken.append(part)
            else:
                yield from rows.batches(part[0], part[1], further, batch_bytes)
    if broken or not pieces or further is None:
        further = further if further is not None else _Rows(options, source, "", {}).further(pa.schema([]))
        documents = pa.schema([*SCHEMA, *further]).empty_table()
        yield ReadBatch(documents, dropped_table([], source), broken_table(broken, source))


def _row_groups(file: pq.ParquetFile, piece: Piece, rows: _Rows) -> Iterator[tuple[pa.Table, int] | Broken]:
    """(rows, number of the first in the file), in order; a row group that fails ends as one Broken."""
    counts = [file.metadata.row_group(k).num_rows for k in range(file.metadata.num_row_groups)]
    for group in range(piece.start, len(counts) if piece.end is None else piece.end):
        first = start = sum(counts[:group])
        try:
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=rows.columns, use_threads=False):
                yield pa.Table.from_batches([batch]), start
                start += batch.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            # Arrow reports damaged pages as OSError without a number; a disk or a network that fails has one, or a
            # class of its own, and is no property of the document.
            if not isinstance(error, pa.ArrowInvalid) and (type(error) is not OSError or error.errno is not None):
                raise
            lost = first + counts[group] - start
            size = file.metadata.row_group(group).total_byte_size
            message = f"row group {group} cannot be decoded, {lost} of its {counts[group]} rows are lost: {error}"
            yield Broken(message, f"{piece.path}#{start}", size)


@dataclass(frozen=True)
class _Rows:
    options: Read
    source: str
    path: str
    found: dict[str, tuple[str, ...]]

    @property
    def columns(self) -> list[str]:
        return sorted({".".join(place) for place in self.found.values()})

    def further(self, schema: pa.Schema) -> pa.Schema:
        """The columns beyond the fixed ones; those the recipe names keep their type."""
        fields, named = [], dict(self.options.columns)
        for target, _ in self.options.fields:
            if target in SCHEMA.names:
                continue
            kind = pa.string()
            if target in named and target in self.found:
                kind = _type_at(schema, self.found[target])
            fields.append(pa.field(target, kind))
        has_id = any(target == "id" for target, _ in self.options.fields)
        return pa.schema([*fields, pa.field("record_id", pa.string())] if has_id else fields)

    def batches(self, table: pa.Table, first: int, further: pa.Schema, batch_bytes: int) -> Iterator[ReadBatch]:
        """Rows as batches of about a size. first: number of the first row in its file."""
        text = self._text(table)
        sizes = pc.binary_length(text).fill_null(0).to_numpy(zero_copy_only=False)
        start = 0
        while start < len(sizes):
            room = np.searchsorted(np.cumsum(sizes[start:]), batch_bytes, side="left") + 1
            stop = min(len(sizes), start + int(room))
            part = table.slice(start, stop - start)
            yield self._batch(part, text.slice(start, stop - start), first + start, further)
            start = stop

    def _batch(self, table: pa.Table, text: pa.Array, first: int, further: pa.Schema) -> ReadBatch:
        fixed = {name: self._strings(table, name) for name in ("id", "url", "source", "date", "license")}
        lists = {name: column.to_pylist() for name, column in fixed.items() if name != "license"}
        kept, ids, dropped, broken = [], [], [], []
        for row, raw in enumerate(text.to_pylist()):
            origin = f"{self.path}#{first + row}"
            url, date, key = lists["url"][row], lists["date"][row], lists["id"][row]
            source = lists["source"][row] or self.source
            locator = key if key is not None else f"{url} {date or ''}".rstrip() if url else ""
            if not raw:
                value = "null" if raw is None else None
                dropped.append(Dropped("empty", b"", locator, origin, url, date, source, value))
            elif error := self._error(raw):
                broken.append(Broken(error, origin, len(raw), url, raw[:2000]))
            else:
                kept.append(row)
                ids.append(document_id(source, locator, raw))
        columns = {
            **fixed,
            "record_id": fixed["id"],
            "id": pa.array(lists["id"], pa.string()),
            "text": text,
            "source": fixed["source"].fill_null(self.source),
            "origin": pa.array([f"{self.path}#{first + row}" for row in range(table.num_rows)], pa.string()),
        }
        columns |= {f.name: self._further(table, f) for f in further if f.name != "record_id"}
        names = [*SCHEMA.names, *further.names]
        rows = pa.table({name: columns[name] for name in names}).take(pa.array(kept, pa.int64()))
        made = [pa.array(ids, ID_TYPE), _as_text(rows["text"]), *(rows[name] for name in names[2:])]
        documents = pa.Table.from_arrays(made, schema=pa.schema([*SCHEMA, *further])).combine_chunks()
        return ReadBatch(documents, dropped_table(dropped, self.source), broken_table(broken, self.source))

    def _error(self, raw: bytes) -> str | None:
        if len(raw) > self.options.max_document_bytes:
            return f"text of {len(raw)} bytes, over max_document_bytes = {self.options.max_document_bytes}"
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            return f"text is not UTF-8: {error}"
        return None

    def _text(self, table: pa.Table) -> pa.Array:
        column = _at(table, self.found["text"])
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string_view(column.type):
            column = column.cast(pa.large_string())
        if not any(is_type(column.type) for is_type in _TEXTUAL) and not pa.types.is_null(column.type):
            msg = f"{self.path}: column {'.'.join(self.found['text'])!r} is to be the text but holds {column.type}"
            raise UserError(msg)
        # As bytes: Parquet's strings are not checked when they are read.
        return column.cast(pa.large_binary())

    def _strings(self, table: pa.Table, target: str) -> pa.Array:
        """A fixed column as strings: numbers and times in their usual writing, bytes in hex where they are no text."""
        if target not in self.found:
            return pa.nulls(table.num_rows, pa.string())
        column = _at(table, self.found[target])
        try:
            return column.cast(pa.string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            if pa.types.is_binary(column.type) or pa.types.is_fixed_size_binary(column.type):
                return pa.array([None if v is None else v.hex() for v in column.to_pylist()], pa.string())
            place = ".".join(self.found[target])
            msg = (
                f"{self.path}: column {place!r} cannot be the {target}: it holds {column.type}; "
                f"name another field in the recipe, or none, as in columns: {{{target}: null}}"
            )
            raise UserError(msg) from error

    def _further(self, table: pa.Table, wanted: pa.Field) -> pa.Array:
        if wanted.name not in self.found:
            return pa.nulls(table.num_rows, wanted.type)
        column = _at(table, self.found[wanted.name])
        try:
            return column if column.type == wanted.type else column.cast(wanted.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            msg = f"{self.path}: column {wanted.name!r} holds {column.type}, but {wanted.type} in the file before it"
            raise UserError(msg) from error


def _as_text(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks().view(pa.large_string())


def _at(table: pa.Table, place: tuple[str, ...]) -> pa.Array:
    """The column under a path of struct members, as one array."""
    column = table[place[0]].combine_chunks()
    for step in place[1:]:
        column = pc.struct_field(column, step)
    return column


def _type_at(schema: pa.Schema, place: tuple[str, ...]) -> pa.DataType:
    kind = schema.field(place[0]).type
    for step in place[1:]:
        kind = kind.field(step).type
    return kind
