"""Best-fit decreasing against a list of rooms searched from end to end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.kernels.best_fit import best_fit, neighbours


def packed(sizes: list[int], capacity: int) -> tuple[int, list[int]]:
    row = np.full(len(sizes), -1, np.int64)
    return best_fit(np.array(sizes, np.int64), capacity, row), row.tolist()


def slow_best_fit(sizes: list[int], capacity: int) -> tuple[int, list[int]]:
    rooms: list[tuple[int, int]] = []  # room, when last filled
    rows = []
    for time, size in enumerate(sizes):
        fitting = [(room, -filled, row) for row, (room, filled) in enumerate(rooms) if room >= size]
        if fitting:
            room, _, row = min(fitting)
        else:
            room, row = capacity, len(rooms)
            rooms.append((0, 0))
        rooms[row] = (room - size, time)
        rows.append(row)
    return len(rooms), rows


@pytest.mark.parametrize(
    ("sizes", "capacity", "expected"),
    [
        ([], 5, (0, [])),
        ([5], 5, (1, [0])),
        ([5, 5], 5, (2, [0, 1])),
        ([4, 3, 2, 1], 5, (2, [0, 1, 1, 0])),
        ([7, 6, 3, 2], 10, (2, [0, 1, 0, 1])),  # 3 fits both, and leaves less beside 7
        ([6, 6, 4], 10, (2, [0, 1, 1])),  # of equal rooms the one filled last
        ([1, 1, 1], 1, (3, [0, 1, 2])),
        ([9, 8, 2, 1, 1], 10, (3, [0, 1, 1, 0, 2])),
    ],
    ids=str,
)
def test_by_hand(sizes: list[int], capacity: int, expected: tuple[int, list[int]]) -> None:
    assert packed(sizes, capacity) == expected


@given(data=st.data(), capacity=st.integers(1, 70))
def test_equals_the_obvious_search(data: st.DataObject, capacity: int) -> None:
    sizes = sorted(data.draw(st.lists(st.integers(1, capacity), max_size=60)), reverse=True)
    assert packed(sizes, capacity) == slow_best_fit(sizes, capacity)


@pytest.mark.parametrize("capacity", [2, 255, 256, 257, 1 << 20])
def test_no_row_overflows_and_none_is_empty(capacity: int) -> None:
    sizes = -np.sort(-(1 + np.random.default_rng(capacity).integers(0, capacity, 3000)))
    row = np.empty(len(sizes), np.int64)
    rows = best_fit(sizes, capacity, row)
    filled = np.bincount(row, weights=sizes, minlength=rows)
    assert len(filled) == rows
    assert 0 < filled.min() <= filled.max() <= capacity


@pytest.mark.parametrize(
    ("sizes", "group", "expected"),
    [
        ([], [], []),
        ([3, 3, 3], [1, 1, 1], [0, 0, 0]),
        ([3, 3, 4], [1, 1, 1], [0, 0, 1]),
        ([3, 3, 3], [1, 2, 2], [0, 1, 1]),
        ([20, 1, 1], [1, 1, 1], [0, 1, 1]),
        ([1, 20, 1], [1, 1, 1], [0, 1, 2]),
    ],
    ids=str,
)
def test_neighbours_by_hand(sizes: list[int], group: list[int], expected: list[int]) -> None:
    unit = np.full(len(sizes), -1, np.int64)
    units = neighbours(np.array(sizes, np.int64), np.array(group, np.uint64), 9, unit)
    assert (unit.tolist(), units) == (expected, len(set(expected)))
