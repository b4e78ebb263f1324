"""Rows against Python lists: nothing lost, nothing twice, no avoidable cut; the same whatever the order of documents."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
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


GROUPED = st.lists(st.tuples(st.integers(0, 4), st.integers(2, 30)), max_size=40).map(sorted)


def grouped(named: list[tuple[int, int]]) -> Documents:
    """Documents of (group, length)."""
    return made([length for _, length in named], [group for group, _ in named])


@given(named=GROUPED, sequence_length=SEQUENCE)
def test_groups_cut_only_what_is_too_long_and_need_few_rows(named: list[tuple[int, int]], sequence_length: int) -> None:
    lengths = [length for _, length in named]
    rows = pieces(best_fit(grouped(named), sequence_length), grouped(named))
    expected = [(k, *part) for k, length in enumerate(lengths) for part in slow_parts(length, sequence_length)]
    assert sorted(piece for row in rows for piece in row) == expected
    tokens = sum(size for row in rows for *_, size in row)
    padding = len(rows) * (sequence_length + 1) - tokens
    assert len(rows) <= slow_num_rows(lengths, sequence_length) or padding <= 0.004 * (tokens + padding)


@given(seed=st.integers(0, 99), num_groups=st.integers(2, 40))
@settings(max_examples=20)
def test_those_of_a_group_stand_side_by_side_in_a_row(seed: int, num_groups: int) -> None:
    chance = np.random.default_rng(seed)
    named = sorted((int(chance.integers(num_groups)), int(chance.integers(2, 30))) for _ in range(200))
    for row in pieces(best_fit(grouped(named), 90), grouped(named)):
        groups = [named[k][0] for k, *_ in row]
        assert len([k for k in range(len(groups)) if k == 0 or groups[k] != groups[k - 1]]) == len(set(groups))


@given(named=GROUPED, sequence_length=SEQUENCE, data=st.data())
def test_grouped_rows_hang_on_documents_and_not_on_their_order(
    named: list[tuple[int, int]], sequence_length: int, data: st.DataObject
) -> None:
    documents = grouped(named)
    order = np.array(data.draw(st.permutations(range(len(named)))), np.intp)
    other = Documents(*(None if column is None else column[order] for column in documents))
    assert np.array_equal(best_fit(documents, sequence_length).pieces, best_fit(other, sequence_length).pieces)


@given(lengths=st.lists(st.integers(2, 30), max_size=40), sequence_length=SEQUENCE)
def test_one_group_is_packed_in_as_many_rows_as_none(lengths: list[int], sequence_length: int) -> None:
    rows = best_fit(made(lengths, [3] * len(lengths)), sequence_length).num_rows
    assert rows == slow_num_rows(lengths, sequence_length)


def share_together(packed: Packed, group: list[int]) -> float:
    """Share of the documents in a row with another one of their group."""
    found: set[int] = set()
    for a, b in zip(packed.rows[:-1], packed.rows[1:], strict=True):
        row = set(packed.pieces["document"][a:b].tolist())
        found |= {k for k in row if any(group[k] == group[other] and k != other for other in row)}
    return len(found) / len(group)


@pytest.mark.parametrize(
    ("shape", "num_groups", "least"), [("uniform", 50, 0.8), ("lognormal", 50, 0.98), ("uniform", 1000, 0.2)]
)
def test_related_documents_share_rows_at_half_a_percent_of_padding(shape: str, num_groups: int, least: float) -> None:
    chance = np.random.default_rng(2)
    drawn = {"uniform": chance.integers(2, 3000, 5000), "lognormal": 2 + chance.lognormal(6, 1.2, 5000)}
    group = sorted(chance.integers(0, num_groups, 5000).tolist())
    packed = best_fit(made(drawn[shape].astype(int).tolist(), group), 2048)
    assert 1 - packed.tokens / (packed.num_rows * 2049) < 0.005
    assert share_together(packed, group) > least


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_without_documents(policy: Policy) -> None:
    packed = POLICIES[policy](made([]), 4)
    assert (packed.num_rows, len(packed.pieces), packed.rows.tolist()) == (0, 0, [0])


def test_padding_of_usual_lengths_is_below_half_a_percent() -> None:
    lengths = (2 + np.random.default_rng(1).lognormal(6, 1.2, 5000)).astype(int).tolist()
    packed: Packed = best_fit(made(lengths), 1024)
    assert 1 - packed.tokens / (packed.num_rows * 1025) < 0.005
