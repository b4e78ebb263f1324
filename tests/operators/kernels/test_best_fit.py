"""Best-fit decreasing against a list of rooms searched from end to end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.kernels.best_fit import best_fit


def packed(sizes: list[int], capacity: int, group: list[int] | None = None) -> tuple[int, list[int]]:
    row = np.full(len(sizes), -1, np.int64)
    groups = np.array([7] * len(sizes) if group is None else group, np.uint64)
    return best_fit(np.array(sizes, np.int64), groups, capacity, row), row.tolist()


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
    rows = best_fit(sizes, np.zeros(len(sizes), np.uint64), capacity, row)
    filled = np.bincount(row, weights=sizes, minlength=rows)
    assert len(filled) == rows
    assert 0 < filled.min() <= filled.max() <= capacity


@pytest.mark.parametrize(
    ("sizes", "group", "expected"),
    [
        ([4, 1, 1], [1, 1, 2], (2, [0, 0, 1])),
        ([3, 2, 2], [1, 2, 1], (3, [0, 1, 2])),
        ([3, 2, 2, 1], [1, 1, 2, 2], (2, [0, 0, 1, 1])),
        ([2, 3, 2], [1, 2, 2], (2, [0, 1, 1])),
    ],
    ids=str,
)
def test_groups_by_hand(sizes: list[int], group: list[int], expected: tuple[int, list[int]]) -> None:
    assert packed(sizes, 5, group) == expected


@given(data=st.data(), capacity=st.integers(1, 70))
def test_groups_are_packed_one_by_one(data: st.DataObject, capacity: int) -> None:
    groups = data.draw(st.lists(st.lists(st.integers(1, capacity), max_size=20), max_size=8))
    sizes, names, expected, rows = [], [], [], 0
    for number, group in enumerate(groups):
        own = sorted(group, reverse=True)
        count, found = slow_best_fit(own, capacity)
        expected += [rows + row for row in found]
        sizes, names, rows = sizes + own, names + [number] * len(own), rows + count
    assert packed(sizes, capacity, names) == (rows, expected)
