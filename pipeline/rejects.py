"""What is told of every row that leaves the stream: source, language, excerpt; and quarantined rows with their error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.documents import DROPPED_SCHEMA, EXCERPT_CHARS, QUARANTINE_SCHEMA, SCHEMA, one_chunk, with_text
from pipeline.groups import Named
from pipeline.operator import Map

LANGUAGE_COLUMNS = ("language.label", "language", "lang")
"""Columns that may hold a row's language, the first there is."""


def language_column(docs: pa.Table) -> str | None:
    """The column that holds each row's language; None where no operator or input named it."""
    schema = docs.schema
    for name in LANGUAGE_COLUMNS:
        if schema.get_field_index(name) >= 0:
            kind = schema.field(name).type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            if pa.types.is_null(kind) or _is_string(kind):
                return name
    return None


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def languages(docs: pa.Table) -> pa.Array:
    """Language of each row as a string, ``und`` where no operator or input named it."""
    name = language_column(docs)
    if name is None:
        return pa.repeat("und", docs.num_rows)
    return pc.fill_null(one_chunk(docs[name]).cast(pa.string()), "und")


def sources(docs: pa.Table) -> pa.Array:
    """Source of each row, empty where the table has none."""
    if docs.schema.get_field_index("source") < 0:
        return pa.repeat("", docs.num_rows)
    return pc.fill_null(one_chunk(docs["source"]).cast(pa.string()), "")


def by_language(docs: pa.Table) -> Named:
    """``languages``, to count by."""
    return Named.alike(docs.num_rows, "und") if language_column(docs) is None else Named.of(languages(docs))


def by_source(docs: pa.Table) -> Named:
    """``sources``, to count by."""
    return Named.alike(docs.num_rows, "") if docs.schema.get_field_index("source") < 0 else Named.of(sources(docs))


def extras(schema: pa.Schema) -> list[pa.Field]:
    """The columns beyond the fixed ones: measures, and what rode along."""
    fixed = set(SCHEMA.names) | set(DROPPED_SCHEMA.names)
    return [field for field in schema if field.name not in fixed]


def scrubbed(docs: pa.Table, scrubbers: Sequence[Map]) -> pa.Table:
    """The rows with personal data taken out of their texts, each null text left null."""
    for scrubber in scrubbers:
        text = scrubber.map(docs)["text"]
        docs = with_text(docs, text)
    return docs


def excerpts(docs: pa.Table, scrubbers: Sequence[Map], texts: pa.Array | None = None) -> pa.Array:
    """The first characters of each text, scrubbed; cut long first so that no address is cut in half.

    texts: in place of those of ``docs``; may be cut already by ``heads``, to ``head_bytes`` at least.
    """
    texts = heads(one_chunk(docs["text"]), head_bytes(scrubbers)) if texts is None else texts
    if scrubbers:
        short = with_text(docs, texts)
        texts = scrubbed(short, scrubbers)["text"].combine_chunks()
    return pc.utf8_slice_codeunits(texts, 0, EXCERPT_CHARS).cast(pa.string())


def head_bytes(scrubbers: Sequence[Map]) -> int:
    """Bytes of a text that its excerpt is made from: finding the n-th character would read all; 8 bytes hold 2 characters."""
    return (8 if scrubbers else 4) * EXCERPT_CHARS


def heads(texts: pa.Array, num_bytes: int, rows: npt.NDArray[np.int64] | None = None) -> pa.Array:
    """The whole characters in the first bytes of some texts, or of all (large_string); rows: int64, ascending."""
    chosen = np.arange(len(texts)) if rows is None else rows
    _, offsets, data = texts.buffers()
    if offsets is None or data is None or len(chosen) == 0:
        return texts.take(pa.array(chosen, pa.int64()))
    bounds = np.frombuffer(memoryview(offsets), np.int64, len(texts) + 1, texts.offset * 8)
    content = np.frombuffer(memoryview(data), np.uint8)
    begins, ends = bounds[chosen], bounds[chosen + 1]
    cuts = np.minimum(ends, begins + num_bytes)
    for _ in range(3):  # a character has up to three bytes behind its first
        inside = np.flatnonzero(cuts < ends)
        cuts[inside] -= content[cuts[inside]] & 0xC0 == 0x80
    # Heads, and what lies between two of them, in turn are an array over the same bytes; every other one is a head.
    pieces = np.empty(2 * len(chosen), np.int64)
    pieces[::2], pieces[1::2] = begins, cuts
    buffer: Any = pieces
    halves = pa.Array.from_buffers(pa.large_string(), 2 * len(chosen) - 1, [None, pa.py_buffer(buffer), data])
    found = halves.take(pa.array(np.arange(0, 2 * len(chosen), 2)))
    if texts.null_count == 0:
        return found
    return pc.if_else(texts.is_valid().take(pa.array(chosen)), found, pa.scalar(None, pa.large_string()))


def quarantine_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of quarantined rows of documents with this schema."""
    return pa.schema([pa.field(f.name, schema.field("id").type) if f.name == "id" else f for f in QUARANTINE_SCHEMA])


def quarantined_rows(
    docs: pa.Table, operator: str, errors: Sequence[str], sizes: npt.NDArray[np.int64], scrubbers: Sequence[Map]
) -> pa.Table:
    """Rows an operator raised on, with the error; the text stays only as a scrubbed excerpt."""
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        "source": sources(docs),
        "language": languages(docs),
        "operator": pa.repeat(operator, docs.num_rows).cast(pa.string()),
        "error": pa.array(errors, pa.string()),
        "bytes": pa.array(sizes, pa.int64()),
        "excerpt": excerpts(docs, scrubbers),
    }
    origin = one_chunk(docs["origin"]) if "origin" in docs.column_names else pa.nulls(docs.num_rows, pa.string())
    columns["origin"] = pc.fill_null(origin, "")
    return rejected(docs, columns, quarantine_schema(docs.schema))


def rejected(docs: pa.Table, columns: Mapping[str, pa.Array | pa.ChunkedArray], schema: pa.Schema) -> pa.Table:
    """The columns of ``schema``: those given, else those of ``docs``, else null."""
    arrays, known = [], set(docs.column_names)
    for field in schema:
        column = columns.get(field.name)
        if column is None and field.name in known:
            column = docs[field.name]
        if column is None:
            column = pa.nulls(docs.num_rows, field.type)
        arrays.append(column if column.type == field.type else column.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=schema)
