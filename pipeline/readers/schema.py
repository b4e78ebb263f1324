"""What a Parquet file holds, asked of its footer: columns, and row groups to cut it at."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UserError
from pipeline.readers.options import Read
from pipeline.stores import is_uri, local, open_input


def open_parquet(path: str) -> pq.ParquetFile:
    """A Parquet file, local or remote.

    Raises:
        pyarrow.ArrowInvalid: it is none, or its footer is damaged.
    """
    # A buffered read of what is needed: a memory map would turn a vanished file into a killed process.
    return pq.ParquetFile(open_input(path) if is_uri(path) else str(local(path)), memory_map=False, pre_buffer=False)


def field_path(schema: pa.Schema, name: str) -> tuple[str, ...] | None:
    """Where a dotted field lies: a column of that very name, or members of structs; None where it is not there."""
    if name in schema.names:
        return (name,)
    first, *rest = name.split(".")
    if first not in schema.names:
        return None
    kind = schema.field(first).type
    for step in rest:
        if not pa.types.is_struct(kind) or kind.get_field_index(step) < 0:
            return None
        kind = kind.field(step).type
    return (first, *rest)


def found_fields(options: Read, schema: pa.Schema, path: str) -> dict[str, tuple[str, ...]]:
    """Target column -> where it lies in a file of this schema.

    Raises:
        UserError: the text, or a column that the recipe names, is not there.
    """
    found, named = {}, dict(options.columns)
    for target, names in options.fields:
        places = [place for place in (field_path(schema, name) for name in names) if place is not None]
        if places:
            found[target] = places[0]
        elif target == "text" or target in named:
            msg = (
                f"{path} has no column {names[0]!r} (asked for as {target!r}); it has: {', '.join(schema.names)}. "
                f"Name the right one in the recipe, as in columns: {{{target}: name}}"
            )
            raise UserError(msg)
    return found


def check_schema(options: Read, path: str) -> None:
    """Refuse a source whose Parquet lacks the columns asked for; a damaged file is the reader's to report.

    Raises:
        UserError: the text, or a column that the recipe names, is not there.
    """
    try:
        schema = open_parquet(path).schema_arrow
    except pa.ArrowInvalid:
        return
    found_fields(options, schema, path)


def row_group_pieces(path: str, target_bytes: int) -> list[tuple[int, int]]:
    """Ranges of row groups of about a stored size; empty where the file cannot be opened as Parquet."""
    try:
        footer = open_parquet(path).metadata
    except pa.ArrowInvalid:
        return []
    ranges, start, size = [], 0, 0
    for index in range(footer.num_row_groups):
        group = footer.row_group(index)
        size += sum(group.column(k).total_compressed_size for k in range(group.num_columns))
        if size >= target_bytes or index == footer.num_row_groups - 1:
            ranges.append((start, index + 1))
            start, size = index + 1, 0
    return ranges
