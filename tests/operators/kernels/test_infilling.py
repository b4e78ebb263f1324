"""Tokens to text, cuts at characters, and the two orders, against slices of Python strings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.kernels.infilling import arrange, spell, spelled_sizes

WORDS = ("", "a", "bc", "\u00e9", "\u4e2d\u6587", "\U0001f600", " x\n")
LETTERS = np.frombuffer("".join(WORDS).encode(), np.uint8).copy()
BOUNDS = np.cumsum([0, *(len(word.encode()) for word in WORDS)])
PREFIX, SUFFIX, MIDDLE, END = 90, 91, 92, 99


def spelled(documents: list[list[int]], draws: list[tuple[int, int]], dtype: type = np.uint16) -> list[tuple[str, ...]]:
    """Prefix, middle and suffix of each."""
    tokens = np.array([token for document in documents for token in [*document, 0]], dtype)
    lengths = np.array([len(document) for document in documents], np.int64)
    starts = np.cumsum(lengths + 1) - lengths - 1
    sizes = np.empty(len(documents), np.int64)
    spelled_sizes(tokens, starts, lengths, BOUNDS, sizes)
    text, bounds = np.zeros(sizes.sum(), np.uint8), np.zeros(3 * len(documents) + 1, np.int64)
    spell(tokens, starts, lengths, BOUNDS, LETTERS, np.array(draws, np.uint64).reshape(-1, 2), text, bounds)
    assert bounds[-1] == len(text)
    parts = [bytes(text[a:b]).decode() for a, b in itertools.pairwise(bounds)]
    return list(zip(parts[::3], parts[1::3], parts[2::3], strict=True))


HALF, LAST = 1 << 63, (1 << 64) - 1


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_cuts_by_hand(dtype: type) -> None:
    documents = [[1, 2], [4, 4], [3, 5], [], [1, 2]]
    draws = [(0, 0), (0, LAST), (HALF, LAST), (HALF, 7), (LAST, HALF)]
    assert spelled(documents, draws, dtype) == [
        ("", "", "abc"), ("", "\u4e2d\u6587\u4e2d\u6587", ""), ("\u00e9", "\U0001f600", ""), ("", "", ""), ("ab", "c", ""),
    ]  # fmt: skip


DRAW = st.integers(0, LAST)


@given(documents=st.lists(st.tuples(st.lists(st.integers(0, 6), max_size=8), DRAW, DRAW), max_size=5))
def test_equals_slices_of_strings(documents: list[tuple[list[int], int, int]]) -> None:
    expected = []
    for tokens, *draws in documents:
        text = "".join(WORDS[token] for token in tokens)
        low, high = sorted(draw * (len(text) + 1) >> 64 for draw in draws)
        expected.append((text[:low], text[low:high], text[high:]))
    assert spelled([one[0] for one in documents], [(one[1], one[2]) for one in documents]) == expected


PARTS = st.lists(st.integers(1, 80), max_size=5)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
@given(documents=st.lists(st.tuples(PARTS, PARTS, PARTS, st.booleans()), max_size=5))
def test_both_orders(dtype: type, documents: list[tuple[list[int], list[int], list[int], bool]]) -> None:
    parts = [part for *three, _ in documents for part in three]
    ids = np.array([token for part in parts for token in part], dtype)
    bounds = np.cumsum([0, *(len(part) for part in parts)])
    out = np.zeros(len(ids) + 4 * len(documents), dtype)
    arrange(
        ids, bounds, np.array([one[3] for one in documents], np.bool_), np.array([PREFIX, SUFFIX, MIDDLE, END]), out
    )
    expected: list[int] = []
    for prefix, middle, suffix, suffix_first in documents:
        if suffix_first:
            expected += [PREFIX, SUFFIX, *suffix, MIDDLE, *prefix, *middle, END]
        else:
            expected += [PREFIX, *prefix, SUFFIX, *suffix, MIDDLE, *middle, END]
    assert out.tolist() == expected
