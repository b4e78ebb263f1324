"""Kernel that says which of many hashes may occur more than once, by tables that stay in the processor's cache."""

from __future__ import annotations

from typing import Any

from operators.kernels.blocks import get, put
from operators.kernels.buffers import ByteArray, IntArray
from operators.kernels.bytewise import table_mask
from operators.kernels.compiled import lean_kernel

PART_ROWS = 1 << 15
"""Hashes that one table is made for: its 128 KiB, and what is read beside it, fit into 512 KiB of second-level cache."""
_MOST_PARTS = 256
"""Beyond 8 million hashes the parts grow instead: more of them would be more streams than a processor follows."""
PART_BOUNDS = _MOST_PARTS + 2
"""Length of ``bounds``."""
_SLOT_MASK = 0xFFFFFFFF
_PART_SHIFT = 40


@lean_kernel
def clear(table: Any, slots: int) -> None:
    """Free the first slots of a table."""
    for slot in range(slots):
        put(table, slot, 0)


@lean_kernel
def _note(table: ByteArray, slot: int) -> None:
    put(table, slot, 1 + (get(table, slot) > 0))


@lean_kernel
def _mark_at_once(keys: Any, rows: int, table: ByteArray, shared: ByteArray) -> None:
    mask = 2 * table_mask(rows) + 1
    clear(table, mask + 1)
    for row in range(rows):
        _note(table, get(keys, row) & mask)
    for row in range(rows):
        put(shared, row, get(table, get(keys, row) & mask) >> 1)


@lean_kernel
def _part_sizes(keys: Any, rows: int, parts: int, bounds: IntArray) -> None:
    """Fill ``bounds``: where each part begins, one place further on, so that ``_divide`` can move them up to their ends."""
    clear(bounds, parts + 2)
    for row in range(rows):
        part = get(keys, row) >> _PART_SHIFT & (parts - 1)
        put(bounds, part + 2, get(bounds, part + 2) + 1)
    for part in range(2, parts + 2):
        put(bounds, part, get(bounds, part) + get(bounds, part - 1))


@lean_kernel
def _divide(keys: Any, rows: int, parts: int, bounds: IntArray, entries: IntArray) -> None:
    """Fill ``entries`` with the rows, part by part and ascending in each, below 32 bits of the hash."""
    for row in range(rows):
        key = get(keys, row)
        part = key >> _PART_SHIFT & (parts - 1)
        at = get(bounds, part + 1)
        put(entries, at, key << 32 | row)
        put(bounds, part + 1, at + 1)


@lean_kernel
def mark_shared(
    keys: Any, rows: int, part_rows: int, bounds: IntArray, entries: IntArray, table: ByteArray, shared: ByteArray
) -> None:
    """Fill ``shared`` (rows,): 1 where a hash may occur in another row too, 0 where it does not.

    keys: int64 (rows,), hashes that hang on a secret in all bits, as ``fold`` makes them, for their lowest bits are the
    slots; rows < 2**31. Many hashes are first divided by some of their bits into parts of about ``part_rows``, so that
    time stays proportional: with one table for ten million, every look-up waits for memory.
    bounds (PART_BOUNDS,), entries (rows,), table (8 rows + 8,): scratch.
    """
    parts = 1
    while parts * part_rows < rows and parts < _MOST_PARTS:
        parts *= 2
    if parts == 1:
        _mark_at_once(keys, rows, table, shared)
        return
    _part_sizes(keys, rows, parts, bounds)
    _divide(keys, rows, parts, bounds, entries)
    for part in range(parts):
        first, last = get(bounds, part), get(bounds, part + 1)
        mask = 2 * table_mask(last - first) + 1
        clear(table, mask + 1)
        for at in range(first, last):
            _note(table, get(entries, at) >> 32 & mask)
        for at in range(first, last):
            entry = get(entries, at)
            put(shared, entry & _SLOT_MASK, get(table, entry >> 32 & mask) >> 1)
