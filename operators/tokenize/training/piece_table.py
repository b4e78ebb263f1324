"""Distinct pieces of text with their counts: in memory, in sorted files by partition, and summed over files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from operators.kernels.buffers import ByteArray
from operators.kernels.piece_counts import SLACK, Counted, count_pieces, enter_again, partitions
from operators.tokenize.training.splitting import Cuts

SCHEMA = pa.schema([("piece", pa.large_binary()), ("count", pa.int64())])

_FIRST_ROOM = 1 << 12


class PieceTable:
    """Counts pieces in memory; some 40 bytes and the piece itself for each distinct one."""

    def __init__(self) -> None:
        self._counted = _room(_FIRST_ROOM, _FIRST_ROOM)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    @property
    def num_bytes(self) -> int:
        """Bytes of the distinct pieces together."""
        return int(self._counted.bounds[self._used])

    def add(self, data: ByteArray, cuts: Cuts) -> None:
        """Count the pieces ``data[cuts[k]:cuts[k + 1]]``."""
        number, size = len(cuts) - 1, int(cuts[-1] - cuts[0])
        self._make_room(number, size)
        self._used = count_pieces(data, cuts, number, self._counted, self._used)

    def by_partition(self, number: int) -> Iterator[pa.Table]:
        """The pieces of each partition in turn, sorted."""
        data, bounds = self._counted.data, self._counted.bounds[: self._used + 1]
        whole = _table(data, bounds, self._counted.count[: self._used])
        own = partitions(data, bounds, number)
        order = np.argsort(own, kind="stable")
        ends = np.searchsorted(own[order], np.arange(number), side="right")
        for begin, end in zip([0, *ends], ends, strict=False):
            yield whole.take(pa.array(order[begin:end])).sort_by("piece").combine_chunks()

    def _make_room(self, pieces: int, size: int) -> None:
        """Room for that many new pieces of that many bytes together."""
        old, used = self._counted, self._used
        if used + pieces < len(old.count) and self.num_bytes + size + SLACK <= len(old.data):
            return
        # A batch has far fewer new pieces than pieces, so room is made for those there are and one batch more.
        grown = _room(2 * used + pieces, 2 * self.num_bytes + size)
        grown.data[: self.num_bytes] = old.data[: self.num_bytes]
        grown.bounds[: used + 1] = old.bounds[: used + 1]
        grown.count[:used] = old.count[:used]
        enter_again(grown, used)
        self._counted = grown


def _room(pieces: int, size: int) -> Counted:
    table = np.full(1 << (2 * pieces).bit_length(), -1, np.int32)
    bounds, count = np.zeros(pieces + 2, np.int64), np.empty(pieces + 1, np.int64)
    return Counted(np.empty(size + 2 * SLACK, np.uint8), bounds, count, table)


def _table(data: ByteArray, bounds: Cuts, count: Any) -> pa.Table:
    columns: list[Any] = [np.ascontiguousarray(bounds), data]
    buffers = [None, *(pa.py_buffer(column) for column in columns)]
    pieces = pa.Array.from_buffers(pa.large_binary(), len(count), buffers)
    return pa.table([pieces, pa.array(count)], schema=SCHEMA)


def summed(tables: Iterable[pa.Table], most_rows: int = 1 << 21) -> pa.Table:
    """Distinct pieces with the sums of their counts, sorted.

    Memory: the distinct pieces, and ``most_rows`` that wait to be summed.
    """
    parts, rows = [SCHEMA.empty_table()], 0
    for table in tables:
        parts.append(table)
        rows += table.num_rows
        if rows > most_rows:
            parts, rows = [_sums(parts)], 0
    return _sums(parts).sort_by("piece").combine_chunks()


def _sums(parts: Sequence[pa.Table]) -> pa.Table:
    sums = pa.concat_tables(parts).group_by("piece").aggregate([("count", "sum")])
    return sums.rename_columns(["piece", "count"]).cast(SCHEMA)


def write(path: Path, tables: Iterable[pa.Table]) -> None:
    """One partition a table, as the record batches of an Arrow file."""
    with pa.ipc.new_file(str(path), SCHEMA) as file:
        for table in tables:
            batches = table.combine_chunks().to_batches()
            file.write_batch(batches[0] if batches else pa.RecordBatch.from_pylist([], SCHEMA))


def read(path: Path, partition: int) -> pa.Table:
    """The pieces of one partition, mapped."""
    with pa.memory_map(str(path)) as mapped:
        return pa.Table.from_batches([pa.ipc.open_file(mapped).get_batch(partition)])
