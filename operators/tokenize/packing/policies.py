"""How documents become rows of one length: one after the other, or so that none is cut that would fit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.kernels.best_fit import best_fit as fill_rows
from operators.tokenize.packing.draws import drawn_again
from operators.tokenize.packing.layout import Documents, Int64s, Packed, pieces_of
from pipeline.pretrain.data.order import mix

UInt64s = npt.NDArray[np.uint64]

MOST_PADDING = 0.0049
"""Share of the places of a shard that may be padding so that related documents share rows; without groups it is less."""
STEPS = 64


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

    The parts of a long document overlap by one token, as rows do in ``concat``. Those of a group are packed among themselves
    first; see ``_rows_of_related``. Source: Ding et al. 2024, arXiv:2404.10830, section 3.2. Rows, and what stands in a row,
    are in the order of the numbers drawn for their documents, so that neither hangs on size; those of a group side by side.
    """
    capacity = sequence_length + 1
    parts = np.maximum(1, -(-(documents.length - 1) // sequence_length))
    bounds = _offsets(parts)
    index = np.repeat(np.arange(len(parts)), parts)
    part = _within(parts, bounds)
    first = part * sequence_length
    length = np.minimum(documents.length[index] - first, capacity)
    order = drawn_again(documents.order[index], part)
    if documents.group is None:
        row = _rows(length, order, capacity)
        place = order
    else:
        group = documents.group[index]
        row = _rows_of_related(length, group, order, capacity)
        place = mix(group ^ _least(order, row)[row])
    by_row = np.lexsort((order, place, row))
    return _in_drawn_order(documents, (index[by_row], first[by_row], length[by_row]), row[by_row], order[by_row])


def _rows_of_related(length: Int64s, group: UInt64s, order: UInt64s, capacity: int) -> Int64s:
    """The row of each part: with others of its group as far as ``MOST_PADDING`` allows.

    Each group is packed by itself. Its rows are units that are packed across groups, all but the worst filled of them, which
    are taken apart again, so that their parts fill what others leave. How many: as few of ``STEPS`` equal shares as keep the
    padding at ``MOST_PADDING``, or, where no packing does, the rows as few as without groups; found by bisection. All of
    them taken apart are the packing without groups.
    """
    row = _rows(length, order, capacity)
    most = max(_count(row), int(length.sum() / (capacity * (1 - MOST_PADDING))))
    unit = _rows(length, order, capacity, group)
    parts = np.bincount(unit)
    size = np.bincount(unit, weights=length).astype(np.int64)
    drawn = _least(order, unit)
    worst_first = np.lexsort((drawn, size))
    worst_first = worst_first[parts[worst_first] > 1]
    low, high = 0, STEPS
    while low < high:
        middle = (low + high) // 2
        whole = np.ones(len(size), np.bool_)
        whole[worst_first[: len(worst_first) * middle // STEPS]] = False
        alone = np.flatnonzero(~whole[unit])
        sizes, orders = np.append(size[whole], length[alone]), np.append(drawn[whole], order[alone])
        found = _rows(sizes, orders, capacity)
        if _count(found) > most:
            low = middle + 1
            continue
        high = middle
        row = found[np.cumsum(whole)[unit] - 1]
        row[alone] = found[int(whole.sum()) :]
    return row


def _rows(size: Int64s, order: UInt64s, capacity: int, group: UInt64s | None = None) -> Int64s:
    """The row of each, with none of another group: largest first, those of equal size in the order of their numbers."""
    group = np.zeros(len(size), np.uint64) if group is None else group
    largest_first = np.lexsort((order, -size, group))
    found, row = np.empty(len(size), np.int64), np.empty(len(size), np.int64)
    fill_rows(size[largest_first], group[largest_first], capacity, found)
    row[largest_first] = found
    return row


def _count(row: Int64s) -> int:
    """How many rows these are."""
    return int(row.max(initial=-1)) + 1


def _least(order: UInt64s, row: Int64s) -> UInt64s:
    """The least of the numbers in each row."""
    least = np.full(_count(row), ~np.uint64(0))
    np.minimum.at(least, row, order)
    return least


def _in_drawn_order(documents: Documents, parts: tuple[Int64s, Int64s, Int64s], row: Int64s, order: UInt64s) -> Packed:
    """Rows by the least number in each; ``parts`` are sorted by row."""
    begins = np.flatnonzero(np.append(True, row[1:] != row[:-1])) if len(row) else np.empty(0, np.int64)
    count = np.diff(begins, append=len(row))
    chosen = np.argsort(_least(order, row), kind="stable")
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
