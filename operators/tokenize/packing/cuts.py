"""Where sorted files are to be cut so that equal shares of all their records come out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

UInt64s = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]
Side = Literal["left", "right"]

_SIDES: tuple[Side, Side] = ("left", "right")
_SORTED_AT_ONCE = 1 << 22  # 32 MB


def cut_at(files: Sequence[tuple[UInt64s, UInt64s]], ranks: Int64s) -> Int64s:
    """How many records of each file are among the first ``rank`` of all, for each rank: int64 (ranks, files).

    files: key and order of each record of a file, sorted by both; so are all records together, and between equal ones the
    earlier file comes first. Time: 64 searches a file for all ranks, and a sort of those of a key that a rank lies amid,
    or 64 searches more where these are over four million. Memory: 8 bytes for each of these.
    """
    lengths = np.array([len(key) for key, _ in files], np.int64)
    found = np.tile(lengths, (len(ranks), 1))
    inside = np.flatnonzero(ranks < lengths.sum())
    value = _value_of_rank([key for key, _ in files], ranks[inside])
    for one in np.unique(value):
        mine, key = inside[value == one], np.full(1, one)
        first, end = (np.concatenate([_places(keys, key, side) for keys, _ in files]) for side in _SIDES)
        rest = ranks[mine] - first.sum()
        tied = [order[a:b] for (_, order), a, b in zip(files, first.tolist(), end.tolist(), strict=True)]
        found[mine] = first + (_among_equal(tied, rest) if rest.any() else 0)
    return found


def _among_equal(columns: Sequence[UInt64s], ranks: Int64s) -> Int64s:
    """The same for one sorted column a file: int64 (ranks, files)."""
    if sum(map(len, columns)) <= _SORTED_AT_ONCE:
        value = np.sort(np.concatenate(columns))[ranks]
    else:
        value = _value_of_rank(columns, ranks)
    low, high = (np.stack([_places(column, value, side) for column in columns], axis=1) for side in _SIDES)
    before = np.cumsum(high - low, axis=1) - (high - low)
    return low + np.clip((ranks - low.sum(axis=1))[:, None] - before, 0, high - low)


def _value_of_rank(columns: Sequence[UInt64s], ranks: Int64s) -> UInt64s:
    """The value that has each rank, from 0, among the values of some sorted columns."""
    least, most = np.zeros(len(ranks), np.uint64), np.full(len(ranks), ~np.uint64(0))
    while (least < most).any():
        middle = least + (most - least >> np.uint64(1))
        enough = sum((_places(column, middle, "right") for column in columns), np.zeros(len(ranks), np.int64)) > ranks
        done = least == most
        least, most = np.where(enough | done, least, middle + np.uint64(1)), np.where(enough & ~done, middle, most)
    return least


def _places(column: UInt64s, values: UInt64s, side: Side) -> Int64s:
    return np.searchsorted(column, values, side=side).astype(np.int64)
