"""How documents become rows of one length: one after the other, or so that none is cut that would fit."""

from __future__ import annotations

import numpy as np

from operators.kernels.best_fit import best_fit as fill_rows
from operators.kernels.best_fit import neighbours
from operators.tokenize.packing.draws import drawn_again
from operators.tokenize.packing.layout import Documents, Int64s, Packed, pieces_of


def concat(documents: Documents, sequence_length: int) -> Packed:
    """Documents one after the other, cut into rows of ``sequence_length + 1`` tokens, the last one shorter.

    Each row begins with the last token of the one before, so that every token but the very first is predicted once.
    """
    ends = np.cumsum(documents.length)
    total = int(ends[-1]) if len(ends) else 0
    num_rows = -(-(total - 1) // sequence_length) if total > 1 else min(total, 1)
    row_start = np.arange(num_rows, dtype=np.int64) * sequence_length
    row_end = np.minimum(row_start + sequence_length + 1, total)
    first = np.searchsorted(ends, row_start, side="right")
    count = np.searchsorted(ends, row_end - 1, side="right") - first + 1
    rows = _offsets(count)
    index = np.repeat(first, count) + _within(count, rows)
    starts = ends[index] - documents.length[index]
    low = np.maximum(starts, np.repeat(row_start, count))
    high = np.minimum(ends[index], np.repeat(row_end, count))
    return Packed(pieces_of(documents, index, low - starts, high - low), rows)


def best_fit(documents: Documents, sequence_length: int) -> Packed:
    """Documents of at most ``sequence_length + 1`` tokens whole, longer ones in that many and a rest, best-fit decreasing.

    The parts of a long document overlap by one token, as rows do in ``concat``. Neighbours of one group are joined first,
    as many as fit a row. Source: Ding et al. 2024, arXiv:2404.10830, section 3.2. Rows, and what stands in a row, are in
    the order of the numbers drawn for their documents, so that neither hangs on size.
    """
    capacity = sequence_length + 1
    parts = np.maximum(1, -(-(documents.length - 1) // sequence_length))
    bounds = _offsets(parts)
    index = np.repeat(np.arange(len(parts)), parts)
    part = _within(parts, bounds)
    first = part * sequence_length
    length = np.minimum(documents.length[index] - first, capacity)
    order = drawn_again(documents.order[index], part)
    unit = _units(documents, index, length, capacity)
    begins = np.flatnonzero(np.append(True, unit[1:] != unit[:-1])) if len(unit) else np.empty(0, np.int64)
    row_of_unit = _rows(np.add.reduceat(length, begins) if len(begins) else begins, order[begins], capacity)
    row, drawn = row_of_unit[unit], order[begins][unit]
    by_row = np.lexsort((np.arange(len(unit)), unit, drawn, row))
    return _in_drawn_order(documents, (index[by_row], first[by_row], length[by_row]), row[by_row], drawn[by_row])


def _units(documents: Documents, index: Int64s, length: Int64s, capacity: int) -> Int64s:
    """The unit of each part: neighbours of a group that stand together, else each alone."""
    unit = np.arange(len(index), dtype=np.int64)
    if documents.group is not None:
        neighbours(length, documents.group[index], capacity, unit)
    return unit


def _rows(size: Int64s, order: np.ndarray, capacity: int) -> Int64s:
    """The row of each unit: largest first, those of equal size in the order of their numbers."""
    largest_first = np.lexsort((order, -size))
    found, row = np.empty(len(size), np.int64), np.empty(len(size), np.int64)
    fill_rows(np.ascontiguousarray(size[largest_first], np.int64), capacity, found)
    row[largest_first] = found
    return row


def _in_drawn_order(
    documents: Documents, parts: tuple[Int64s, Int64s, Int64s], row: Int64s, drawn: np.ndarray
) -> Packed:
    """Rows by the number of the first unit of each; ``parts`` are sorted by row."""
    begins = np.flatnonzero(np.append(True, row[1:] != row[:-1])) if len(row) else np.empty(0, np.int64)
    count = np.diff(begins, append=len(row))
    chosen = np.argsort(drawn[begins], kind="stable")
    rows = _offsets(count[chosen])
    at = np.repeat(begins[chosen], count[chosen]) + _within(count[chosen], rows)
    index, first, length = (column[at] for column in parts)
    return Packed(pieces_of(documents, index, first, length), rows)


def _offsets(count: Int64s) -> Int64s:
    """Where each of some runs begins, and the total: int64 (N + 1,)."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(count, dtype=np.int64)])


def _within(count: Int64s, offsets: Int64s) -> Int64s:
    """The number of each element within its run, from 0."""
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], count)
