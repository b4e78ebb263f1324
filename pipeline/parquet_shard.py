"""Parquet written in row groups of an exact size, so that batch boundaries cannot show in the bytes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import RunFailedError

ROW_GROUP_ROWS = 4096


class ParquetShard:
    """A Parquet file of one shard: takes tables of any length, writes groups of ``ROW_GROUP_ROWS`` rows.

    Ended by ``close``, or by ``abandon`` where the pass failed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_rows = 0
        self._writer: pq.ParquetWriter | None = None
        self._schema = pa.schema([])
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0

    def add(self, table: pa.Table) -> None:
        """Append rows.

        Raises:
            RunFailedError: the columns differ from those of the rows before.
        """
        table = table.replace_schema_metadata(None)
        if self._writer is None:
            self._schema = table.schema
            self._writer = pq.ParquetWriter(
                self.path, table.schema, compression="zstd", compression_level=3, write_page_checksum=True
            )
        elif not self._schema.equals(table.schema):
            msg = f"columns changed within {self.path.name}: {_difference(self._schema, table.schema)}"
            raise RunFailedError(msg)
        self.num_rows += table.num_rows
        self._waiting.append(table)
        self._waiting_rows += table.num_rows
        if self._waiting_rows >= ROW_GROUP_ROWS:
            self._flush(last=False)

    def close(self) -> None:
        """Write the last group and the footer."""
        if self._writer is not None:
            self._flush(last=True)
            self._writer.close()
            self._writer = None

    def abandon(self) -> None:
        """Close the handle of a file that will not be used; what cannot be written any more is lost with it."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()
            self._writer = None
        self.path.unlink(missing_ok=True)

    def _flush(self, *, last: bool) -> None:
        if self._writer is None:
            return
        rows = pa.concat_tables(self._waiting) if self._waiting else None
        start = 0
        while rows is not None and rows.num_rows - start >= ROW_GROUP_ROWS:
            group = rows.slice(start, ROW_GROUP_ROWS).combine_chunks()
            self._writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
            start += ROW_GROUP_ROWS
        rest = None if rows is None else rows.slice(start)
        if last and rest is not None and (rest.num_rows or not start):
            self._writer.write_table(rest.combine_chunks(), row_group_size=ROW_GROUP_ROWS)
            rest = None
        self._waiting = [] if rest is None or rest.num_rows == 0 else [rest]
        self._waiting_rows = 0 if rest is None else rest.num_rows


def _difference(old: pa.Schema, new: pa.Schema) -> str:
    gone = set(old.names) - set(new.names)
    come = set(new.names) - set(old.names)
    other = [name for name in old.names if name in new.names and old.field(name).type != new.field(name).type]
    return f"gone {sorted(gone)}, new {sorted(come)}, other type {other}"
