"""Which encoded shards go into which token shard."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.tokenize.shards.planning import owns, planned
from pipeline.work import TaskPlan

TOKENS = st.lists(st.integers(0, 40), max_size=12)


def needed(plan: TaskPlan) -> tuple[int, ...]:
    needs = plan.needs["encoded"]
    assert isinstance(needs, tuple)
    return needs


def shares(plans: list[TaskPlan]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [(needed(plan), tuple(plan.part[name] for name in ("first", "start", "end"))) for plan in plans]


def test_in_order_by_hand() -> None:
    """30 tokens into shards of 12 at most: three of 10, from encoded shards at 0, 8, 8 (empty) and 8 to 30."""
    plans = planned([8, 0, 22], tokens_per_shard=12, window_tokens=None)
    assert shares(plans) == [((0, 1, 2), (0, 0, 10)), ((2,), (8, 10, 20)), ((2,), (8, 20, 30))]
    assert [plan.index for plan in plans] == [0, 1, 2]


def test_windows_by_hand() -> None:
    """Windows of 20: 8 + 9 (a third would make 29, farther off than 17), 12 + 12 (24 is nearer than 12), 50, and 3."""
    plans = planned([8, 9, 12, 12, 50, 3], tokens_per_shard=20, window_tokens=20)
    assert shares(plans) == [
        ((0, 1), (0, 0, 17)),
        ((2, 3), (0, 0, 12)), ((2, 3), (0, 12, 24)),
        ((4,), (0, 0, 16)), ((4,), (0, 16, 33)), ((4,), (0, 33, 50)),
        ((5,), (0, 0, 3)),
    ]  # fmt: skip


@pytest.mark.parametrize("window", [None, 5])
def test_nothing_to_plan(window: int | None) -> None:
    assert planned([], tokens_per_shard=5, window_tokens=window) == []
    # Shards without a document still have an account, and so become one.
    assert shares(planned([0, 0], tokens_per_shard=5, window_tokens=window)) == [((0, 1), (0, 0, 0))]


@given(tokens=TOKENS, per_shard=st.integers(1, 50), window=st.none() | st.integers(1, 100))
def test_every_token_and_every_encoded_shard_has_one_place(
    tokens: list[int], per_shard: int, window: int | None
) -> None:
    plans = planned(tokens, tokens_per_shard=per_shard, window_tokens=window)
    starts = [sum(tokens[:k]) for k in range(len(tokens))]
    places: list[int] = []
    owners: list[int] = []
    for plan in plans:
        needs = needed(plan)
        assert list(needs) == list(range(needs[0], needs[-1] + 1))
        part = plan.part
        assert part["end"] - part["start"] <= per_shard
        base = starts[needs[0]] - part["first"]  # where the window begins
        mine = range(base + part["start"], base + part["end"])
        places.extend(mine)
        owners.extend(k for k in needs if owns(starts[k] - base, part))
        if window is None:
            assert base == 0
            seen = {k for place in mine for k in range(len(tokens)) if starts[k] <= place < starts[k] + tokens[k]}
            assert seen <= set(needs)
    assert places == list(range(sum(tokens)))
    assert sorted(owners) == list(range(len(tokens)))


@given(tokens=TOKENS, window=st.integers(1, 100))
def test_windows_are_as_near_as_they_get(tokens: list[int], window: int) -> None:
    plans = planned(tokens, tokens_per_shard=10**6, window_tokens=window)
    groups = list(dict.fromkeys(needed(plan) for plan in plans))
    assert [k for group in groups for k in group] == list(range(len(tokens)))
    for group, following in pairwise(groups):
        held, more = sum(tokens[k] for k in group), tokens[following[0]]
        assert held >= window or abs(held + more - window) > abs(held - window)
