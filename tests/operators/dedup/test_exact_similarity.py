"""Counted similarity against Python sets, and the survivor rule that goes by it."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.kernels.exact_similarity import Measure, Sets, Verified, sets, similarities, verified_survivors

HASHES = st.lists(st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 9), max_size=30), min_size=1, max_size=8)


def as_sets(given_lists: Sequence[Sequence[int]]) -> Sets:
    flat = np.array([one for part in given_lists for one in part], np.uint32)
    return sets(flat, np.cumsum([0, *(len(part) for part in given_lists)]))


@given(lists=HASHES)
def test_sets_are_sorted_and_without_repeats(lists: list[list[int]]) -> None:
    found = as_sets(lists)
    shown = [found.hashes[a:b].tolist() for a, b in zip(found.starts, found.ends, strict=True)]
    assert shown == [sorted(set(part)) for part in lists]


def ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


@given(lists=HASHES)
def test_similarities_equal_those_of_python_sets(lists: list[list[int]]) -> None:
    pairs = np.array([(a, b) for a in range(len(lists)) for b in range(len(lists))])
    found = similarities(as_sets(lists), pairs)
    for k, (a, b) in enumerate(pairs.tolist()):
        left, right = set(lists[a]), set(lists[b])
        both = len(left & right)
        expected = ratio(both, len(left | right)), ratio(both, len(left)), ratio(both, len(right))
        np.testing.assert_equal([float(array[k]) for array in found], expected)


def slow(
    slots: Sequence[bytes],
    lists: Sequence[Sequence[int]],
    rule: tuple[Measure, float],
    num_kept: int,
    most: int,
    rows: int = 2,
) -> list[tuple[int, float | None]]:
    """The rule over all pairs, in order; buckets hold the first ``most`` that stay."""
    buckets: dict[tuple[int, bytes], list[int]] = {}
    decided: list[tuple[int, float | None]] = []
    for doc, own in enumerate(slots):
        keys = [(k, own[k : k + rows]) for k in range(0, len(own), rows)]
        best: tuple[float, int] | None = None
        for other in sorted({one for key in keys for one in buckets.get(key, [])}) if doc >= num_kept else ():
            a, b = set(lists[doc]), set(lists[other])
            whole = len(a) if rule[0] == "containment" else len(a | b)
            found = len(a & b) / whole if whole else 0.0
            if found >= rule[1] and (best is None or found > best[0]):
                best = found, other
        decided.append((best[1], best[0]) if best else (-1, None))
        if best is None:
            for key in keys:
                if len(buckets.setdefault(key, [])) < most:
                    buckets[key].append(doc)
    return decided


def shown(found: Verified) -> list[tuple[int, float | None]]:
    return [(int(r), None if np.isnan(s) else float(s)) for r, s in zip(found.rep, found.similarity, strict=True)]


@settings(deadline=None)
@given(
    seed=st.integers(0, 10**6),
    measure=st.sampled_from(["jaccard", "containment"]),
    threshold=st.sampled_from([0.01, 0.3, 0.5, 2 / 3, 0.8, 1.0]),
    num_kept=st.integers(0, 5),
    most=st.sampled_from([1, 2, 64]),
)
def test_the_rule_equals_the_slow_one(seed: int, measure: Measure, threshold: float, num_kept: int, most: int) -> None:
    draw = random.Random(seed)
    slots = [bytes(draw.choice(b"ab") for _ in range(8)) for _ in range(25)]
    lists = [draw.sample(range(12), draw.randrange(1, 12)) for _ in slots]
    array = np.frombuffer(b"".join(slots), np.uint8).reshape(len(slots), 8)
    found = verified_survivors(
        array, as_sets(lists), bands=4, rows=2, rule=(measure, threshold), num_kept=num_kept, most=most
    )
    assert shown(found) == slow(slots, lists, (measure, threshold), num_kept, most)
    for doc, rep in enumerate(found.rep.tolist()):
        equal = sum(a == b for a, b in zip(slots[doc], slots[rep], strict=True)) if rep >= 0 else 0
        assert found.equal[doc] == equal


SAME_BUCKET = np.zeros((3, 2), np.uint8)


@pytest.mark.parametrize(
    ("lists", "rule", "expected"),
    [
        # 1 of 2: exactly the threshold goes.
        ([[1, 2], [1]], ("jaccard", 0.5), [(-1, None), (0, 0.5)]),
        ([[1, 2, 3], [1]], ("jaccard", 0.5), [(-1, None), (-1, None)]),
        # A part goes for the whole, not the whole for a part.
        ([[1, 2, 3, 4], [1, 2]], ("containment", 1.0), [(-1, None), (0, 1.0)]),
        ([[1, 2], [1, 2, 3, 4]], ("containment", 0.6), [(-1, None), (-1, None)]),
        # The most similar one that stays, the earliest of equals.
        ([[1, 2, 3], [4, 5, 6], [4, 5, 1, 2]], ("jaccard", 0.4), [(-1, None), (-1, None), (0, 0.4)]),
        ([[1, 2, 3], [4, 5, 6], [4, 5, 6, 2]], ("jaccard", 0.2), [(-1, None), (-1, None), (1, 0.75)]),
        # 2 is like 1, but 1 went: only who stays removes.
        ([[1, 2, 3, 4], [1, 2, 3, 5], [1, 2, 5, 6]], ("jaccard", 0.6), [(-1, None), (0, 0.6), (-1, None)]),
    ],
)
def test_by_hand(lists: list[list[int]], rule: tuple[Measure, float], expected: list[tuple[int, float | None]]) -> None:
    found = verified_survivors(SAME_BUCKET[: len(lists)], as_sets(lists), bands=1, rows=2, rule=rule)
    assert [(rep, value and pytest.approx(value)) for rep, value in shown(found)] == expected
