"""Documents: the table every operator maps, and the identity of a row."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import xxhash

ID_TYPE = pa.binary(16)

SCHEMA = pa.schema(
    [
        pa.field("id", ID_TYPE, nullable=False),
        pa.field("text", pa.large_string()),
        pa.field("url", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("date", pa.string()),
        pa.field("license", pa.string()),
        pa.field("origin", pa.string()),
    ]
)
"""The fixed columns. Further columns ride along; operators add theirs as ``<operator>.<measure>``."""

DROPPED_SCHEMA = pa.schema(
    [
        *(SCHEMA.field(name) for name in ("id", "url", "source", "date", "origin")),
        pa.field("language", pa.string()),
        pa.field("operator", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("value", pa.string()),
        pa.field("threshold", pa.string()),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("excerpt", pa.string()),
        pa.field("text", pa.large_string()),
    ]
)
"""The fixed columns of dropped rows; the measures of the operators follow them."""

QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field("id", ID_TYPE),
        pa.field("url", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("language", pa.string()),
        pa.field("operator", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("excerpt", pa.string()),
    ]
)
"""Rows that could not be treated, with the error."""

EXCERPT_CHARS = 300


def document_id(source: str, locator: str, raw: bytes) -> bytes:
    """128-bit content-keyed identity of a document.

    source: the name of the source. locator: the record's own key (its id field, else URL and date, else the WARC
    record id). raw: the raw text as UTF-8. Fields are length-prefixed, so that no two splits of the same bytes
    meet. File names, offsets and worker counts never enter.
    """
    digest = xxhash.xxh3_128()
    for field in (source.encode(), locator.encode(), raw):
        digest.update(len(field).to_bytes(8, "little"))
        digest.update(field)
    return digest.digest()


_ADD = {
    "id": "add one: table.append_column('id', pa.array([str(row) for row in range(table.num_rows)], pa.string()))",
    "text": "name it so: table.rename_columns({'content': 'text'})",
}
_TABLE_FROM = {
    "DataFrame": "pa.Table.from_pandas(documents)",
    "RecordBatch": "pa.Table.from_batches([documents])",
    "dict": "pa.table(documents)",
}


def as_documents(table: pa.Table) -> pa.Table:
    """A table in the form operators take: one chunk, ``text`` as large_string.

    Strings in other layouts, views and dictionaries, are taken too; any string or binary ``id`` is kept as it is, without
    its layout.

    Raises:
        TypeError: not a table.
        ValueError: ``id`` or ``text`` is missing or of another type, or two columns have one name.
    """
    if not isinstance(table, pa.Table):
        made = _TABLE_FROM.get(type(table).__name__, "pa.Table.from_pylist([{'id': ..., 'text': ...}, ...])")
        msg = f"documents are a pyarrow.Table, got {type(table).__name__}; make one with {made}"
        raise TypeError(msg)
    names = table.column_names
    for name, remedy in _ADD.items():
        if name not in names:
            msg = f"documents need a column {name!r}, got {names}; {remedy}"
            raise ValueError(msg)
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        msg = f"{names.count(name)} columns are named {name!r}; rename or drop all but one"
        raise ValueError(msg)
    ids, text = (_plain(table.schema.field(name).type) for name in ("id", "text"))
    if pa.types.is_primitive(ids) or pa.types.is_nested(ids) or pa.types.is_dictionary(ids):
        remedy = "cast it: table.set_column(table.column_names.index('id'), 'id', table['id'].cast(pa.string()))"
        msg = f"column 'id' must hold strings or bytes, got {ids}; {remedy}"
        raise ValueError(msg)
    if not (pa.types.is_large_string(text) or pa.types.is_string(text) or pa.types.is_null(text)):
        msg = f"column 'text' must hold strings, got {text}; cast it before"
        raise ValueError(msg)
    for position, field in enumerate(table.schema):
        # Arrow has no take for views; a dictionary is spelt out only where kernels and hashes read it.
        kind = {"id": ids, "text": pa.large_string()}.get(field.name)
        kind = kind or (field.type if pa.types.is_dictionary(field.type) else _plain(field.type))
        if field.type != kind:
            table = table.set_column(position, field.with_type(kind), table.column(position).cast(kind))
    return table.combine_chunks()


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the same strings or bytes in the common layout."""
    if pa.types.is_dictionary(kind):  # one of views cannot be cast
        return kind if _plain(kind.value_type) != kind.value_type else kind.value_type
    if pa.types.is_string_view(kind):
        return pa.string()
    return pa.binary() if pa.types.is_binary_view(kind) else kind


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array; copied only where it has several chunks, while ``combine_chunks`` copies a single one too."""
    array: Any = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return array


def with_text(docs: pa.Table, texts: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The documents with other texts."""
    return docs.set_column(docs.schema.get_field_index("text"), "text", texts)


def text_bytes(table: pa.Table) -> pa.Array:
    """UTF-8 bytes of each text, int64, 0 where the text is null."""
    import pyarrow.compute as pc  # keeps this module free to import in readers' child processes

    sizes = pc.binary_length(one_chunk(table["text"]))
    if sizes.type != pa.int64():
        sizes = sizes.cast(pa.int64())
    return pc.fill_null(sizes, 0) if sizes.null_count else sizes
