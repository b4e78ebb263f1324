"""Rows against Python lists: nothing lost, nothing twice, no avoidable cut; the same whatever the order of documents."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packing_fakes import made, pieces

from operators.tokenize.packing.layout import Documents, Packed
from operators.tokenize.packing.pack import POLICIES, Policy
from operators.tokenize.packing.policies import best_fit, concat

LENGTHS = st.lists(st.integers(2, 30), max_size=20)
SEQUENCE = st.integers(1, 12)


def slow_concat(lengths: list[int], sequence_length: int) -> list[list[tuple[int, int, int]]]:
    """(document, first token, tokens) of each row."""
    stream = [(document, token) for document, length in enumerate(lengths) for token in range(length)]
    rows = []
    for start in range(0, max(1, len(stream) - 1), sequence_length):
        row: list[tuple[int, int, int]] = []
        for document, token in stream[start : start + sequence_length + 1]:
            if row and row[-1][0] == document:
                row[-1] = (document, row[-1][1], row[-1][2] + 1)
            else:
                row.append((document, token, 1))
        rows.append(row)
    return rows if stream else []


@given(lengths=LENGTHS, sequence_length=SEQUENCE)
def test_concat_equals_slices_of_one_list(lengths: list[int], sequence_length: int) -> None:
    packed = concat(made(lengths), sequence_length)
    assert pieces(packed, made(lengths)) == slow_concat(lengths, sequence_length)


def test_concat_by_hand() -> None:
    assert pieces(concat(made([3, 4, 2]), 4), made([3, 4, 2])) == [
        [(0, 0, 3), (1, 0, 2)],
        [(1, 1, 3), (2, 0, 2)],  # begins with the last token of the row before
    ]
    assert pieces(concat(made([6]), 4), made([6])) == [[(0, 0, 5)], [(0, 4, 2)]]


def slow_parts(length: int, sequence_length: int) -> list[tuple[int, int]]:
    """First token and tokens of each part of a document."""
    if length <= sequence_length + 1:
        return [(0, length)]
    return [(0, sequence_length + 1), *((first + sequence_length, size) for first, size in
            slow_parts(length - sequence_length, sequence_length))]  # fmt: skip


@given(lengths=LENGTHS, sequence_length=SEQUENCE)
def test_best_fit_cuts_only_what_is_too_long(lengths: list[int], sequence_length: int) -> None:
    found = [piece for row in pieces(best_fit(made(lengths), sequence_length), made(lengths)) for piece in row]
    expected = [(k, *part) for k, length in enumerate(lengths) for part in slow_parts(length, sequence_length)]
    assert sorted(found) == expected


def slow_num_rows(lengths: list[int], sequence_length: int) -> int:
    """Best-fit decreasing over a list of rooms."""
    rooms: list[int] = []
    for size in sorted((size for length in lengths for _, size in slow_parts(length, sequence_length)), reverse=True):
        room = min((room for room in rooms if room >= size), default=None)
        if room is None:
            rooms.append(sequence_length + 1 - size)
        else:
            rooms[rooms.index(room)] -= size
    return len(rooms)


@given(lengths=LENGTHS, sequence_length=SEQUENCE)
def test_best_fit_fills_as_many_rows_as_the_obvious_search(lengths: list[int], sequence_length: int) -> None:
    assert best_fit(made(lengths), sequence_length).num_rows == slow_num_rows(lengths, sequence_length)


@pytest.mark.parametrize("policy", sorted(POLICIES))
@given(
    lengths=LENGTHS, sequence_length=SEQUENCE, groups=st.none() | st.lists(st.integers(0, 3), min_size=20, max_size=20)
)
def test_every_token_is_predicted_once(
    policy: Policy, lengths: list[int], sequence_length: int, groups: list[int] | None
) -> None:
    documents = made(lengths, None if groups is None else sorted(groups[: len(lengths)]))
    packed = POLICIES[policy](documents, sequence_length)
    rows = pieces(packed, documents)
    assert all(0 < sum(size for *_, size in row) <= sequence_length + 1 for row in rows)
    # All but the first of a piece are predicted from a token of their own document, and those once.
    predicted = Counter(
        (k, token) for row in rows for k, first, size in row for token in range(first + 1, first + size)
    )
    assert predicted == Counter((k, token) for k, length in enumerate(lengths) for token in range(1, length))
    assert {k for row in rows for k, first, _ in row if first == 0} == set(range(len(lengths)))


@given(lengths=LENGTHS, sequence_length=SEQUENCE, data=st.data())
def test_best_fit_hangs_on_documents_and_not_on_their_order(
    lengths: list[int], sequence_length: int, data: st.DataObject
) -> None:
    documents = made(lengths)
    order = np.array(data.draw(st.permutations(range(len(lengths)))), np.intp)
    other = Documents(*(None if column is None else column[order] for column in documents))
    assert np.array_equal(best_fit(documents, sequence_length).pieces, best_fit(other, sequence_length).pieces)


@given(lengths=st.lists(st.integers(2, 9), max_size=20), groups=st.lists(st.integers(0, 4), min_size=20, max_size=20))
def test_related_documents_share_a_row_as_far_as_they_fit(lengths: list[int], groups: list[int]) -> None:
    group = sorted(groups[: len(lengths)])
    rows = pieces(best_fit(made(lengths, group), 8), made(lengths))
    row_of = {k: number for number, row in enumerate(rows) for k, *_ in row}
    filled = 0
    for k, length in enumerate(lengths):
        if k and group[k] == group[k - 1] and filled + length <= 9:
            assert row_of[k] == row_of[k - 1]
            places = [k for k, *_ in rows[row_of[k]]]
            assert places.index(k) == places.index(k - 1) + 1
        else:
            filled = 0
        filled += length


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_without_documents(policy: Policy) -> None:
    packed = POLICIES[policy](made([]), 4)
    assert (packed.num_rows, len(packed.pieces), packed.rows.tolist()) == (0, 0, [0])


def test_padding_of_usual_lengths_is_below_half_a_percent() -> None:
    lengths = (2 + np.random.default_rng(1).lognormal(6, 1.2, 5000)).astype(int).tolist()
    packed: Packed = best_fit(made(lengths), 1024)
    assert 1 - packed.tokens / (packed.num_rows * 1025) < 0.005
