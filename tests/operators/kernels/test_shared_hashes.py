"""Hashes that occur again: none is missed, however they are divided, and few others are taken for them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.kernels.shared_hashes import PART_BOUNDS, mark_shared

KEYS = st.lists(st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1)), max_size=80)


def marked(keys: list[int], part_rows: int) -> list[int]:
    rows = len(keys)
    shared = np.full(rows + 1, 7, np.uint8)
    bounds, entries, table = np.full(PART_BOUNDS, 9), np.full(rows, 9), np.full(8 * rows + 8, 9, np.uint8)
    mark_shared(np.array(keys, np.int64), rows, part_rows, bounds, entries, table, shared)
    assert shared[rows] == 7
    return shared[:rows].tolist()


@pytest.mark.parametrize("part_rows", [1, 4, 1000])
@given(keys=KEYS)
def test_what_occurs_again_is_marked(keys, part_rows):
    found, times = marked(keys, part_rows), Counter(keys)
    assert set(found) <= {0, 1}
    assert all(mark for key, mark in zip(keys, found, strict=True) if times[key] > 1)


@pytest.mark.parametrize("part_rows", [1, 16, 256, 1 << 15])
def test_few_that_do_not_are(part_rows):
    """Four slots a hash at least: one in four to five shares one; a table of one slot would mark them all."""
    assert sum(marked([17 * k for k in range(4000)], part_rows)) < 1600
