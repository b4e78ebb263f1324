"""Draws against plain counting: exact shares, every number once, and nothing but a function of the sample."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.pretrain.data.mixture import Draw, Mixture, Stage, Stratum, read_mixture, stratum_windows
from pipeline.pretrain.data.strata import Stratification

LENGTH = 4
"""Tokens of a sequence."""


def mixture(*stages: tuple[int, list[float]], spare: int = 0) -> Mixture:
    """Stages given by the sample they end at and weights of any sum; strata are a, b, c, ...

    spare: tokens past the last whole sequence.
    """
    count = len(stages[0][1])
    strata = [
        Stratum(label=chr(97 + k), documents=1, tokens=1, drawn=0, epochs=0.0, max_epochs=4.0) for k in range(count)
    ]
    return Mixture(
        rule=Stratification(),
        tokens=LENGTH * stages[-1][0] + spare,
        held_out_fraction=0.0,
        strata=tuple(strata),
        stages=tuple(
            Stage(end=LENGTH * end + (spare if end == stages[-1][0] else 0), weights=tuple(w / sum(ws) for w in ws))
            for end, ws in stages
        ),
    )


def draw(*stages: tuple[int, list[float]], seed: int = 0) -> Draw:
    return Draw(mixture(*stages), sequence_length=LENGTH, seed=seed)


PLANS = st.integers(1, 5).flatmap(
    lambda strata: st.lists(
        st.tuples(
            st.integers(1, 6000),
            st.lists(st.integers(0, 60), min_size=strata, max_size=strata).filter(any).map(lambda w: [*map(float, w)]),
        ),
        min_size=1,
        max_size=3,
    )
)
"""Lengths of stages in samples, and their weights."""


def ending(lengths: list[tuple[int, list[float]]]) -> list[tuple[int, list[float]]]:
    ends = np.cumsum([length for length, _ in lengths]).tolist()
    return [(end, weights) for end, (_, weights) in zip(ends, lengths, strict=True)]


@settings(deadline=None, max_examples=40)
@given(lengths=PLANS, seed=st.integers(0, 2**63))
def test_each_stage_is_within_a_sample_of_its_weights_at_every_block(
    lengths: list[tuple[int, list[float]]], seed: int
) -> None:
    found = draw(*ending(lengths), seed=seed)
    strata, _ = found.samples(0, found.num_samples)
    first = 0
    for length, weights in lengths:
        of_stage = strata[first : first + length]
        marks = [*range(found.block, length - found.block + 1, found.block), length]
        for mark in marks:
            counts = np.bincount(of_stage[:mark], minlength=len(weights))
            for weight, count in zip(weights, counts.tolist(), strict=True):
                assert abs(count - Fraction(weight) / Fraction(sum(weights)) * mark) <= 1 + Fraction(1, 10**6)
                assert weight or not count
        first += length


@settings(deadline=None, max_examples=40)
@given(lengths=PLANS, seed=st.integers(0, 2**63))
def test_each_stratum_numbers_its_samples_without_gap(lengths: list[tuple[int, list[float]]], seed: int) -> None:
    found = draw(*ending(lengths), seed=seed)
    strata, numbers = found.samples(0, found.num_samples)
    for stratum in range(len(lengths[0][1])):
        mine = numbers[strata == stratum]
        assert np.array_equal(mine, np.arange(len(mine)))


@settings(deadline=None, max_examples=40)
@given(lengths=PLANS, data=st.data())
def test_any_sample_is_found_without_those_before(lengths: list[tuple[int, list[float]]], data: st.DataObject) -> None:
    found = draw(*ending(lengths), seed=5)
    whole = found.samples(0, found.num_samples)
    first = data.draw(st.integers(0, found.num_samples - 1))
    count = data.draw(st.integers(1, found.num_samples - first))
    part = draw(*ending(lengths), seed=5).samples(first, count)
    for some, every in zip(part, whole, strict=True):
        assert np.array_equal(some, every[first : first + count])
    counted = np.bincount(whole[0][: first + count], minlength=len(lengths[0][1]))
    assert np.array_equal(found.drawn(first + count), counted)


@pytest.mark.parametrize("rare", [2.0**-17, 1e-5, 1 / 2048, 1 / 4097])
def test_a_rare_stratum_is_drawn_as_often_as_its_weight_says(rare: float) -> None:
    """Where other weights round up and down beside it, plain differences of floors would fall below 0."""
    weights = [0.3, rare, 0.7 - rare]
    length = int(2.5 / rare) + 7
    found = draw((length, weights))
    # Counted block by block: the whole of 2**-17 would be 330,000 samples at once.
    assert np.abs(found.drawn(length) - np.array(weights) * length).max() < 1
    strata, numbers = found.samples(0, min(length, 3 * found.block))
    mine = numbers[strata == 1]
    assert np.array_equal(mine, np.arange(len(mine)))
    assert len(mine) >= 2


def test_a_plan_of_trillions_needs_no_history() -> None:
    found = draw((3 * 10**12, [1.0, 2.0]), (4 * 10**12, [1.0, 0.0]))
    assert found.drawn(3 * 10**12).tolist() == [10**12, 2 * 10**12]
    strata, numbers = found.samples(3 * 10**12 - 3000, 3005)
    assert set(strata[3000:].tolist()) == {0}
    mine = numbers[strata == 0]
    assert np.array_equal(mine, np.arange(mine[0], mine[0] + len(mine)))
    assert mine[-5:].tolist() == [10**12 + k for k in range(5)]


def test_order_inside_a_block_is_mixed_and_hangs_on_the_seed() -> None:
    one, other = (draw((20_000, [1.0, 1.0]), seed=seed).samples(0, 20_000)[0] for seed in (1, 2))
    assert (one == other).mean() == pytest.approx(0.5, abs=0.02)
    # Runs of equal labels, were they drawn by a fair coin, are 2 long on average.
    assert len(one) / (1 + np.count_nonzero(np.diff(one))) == pytest.approx(2, abs=0.1)
    assert (one[:2048] == one[2048:4096]).mean() == pytest.approx(0.5, abs=0.06)


def test_stages_change_the_weights_where_they_end() -> None:
    found = draw((100, [1.0, 0.0, 0.0]), (300, [0.0, 1.0, 1.0]), (310, [0.0, 0.0, 1.0]))
    strata, numbers = found.samples(0, 310)
    assert set(strata[:100].tolist()) == {0}
    assert np.bincount(strata[100:300], minlength=3).tolist() == [0, 100, 100]
    assert strata[300:].tolist() == [2] * 10
    assert numbers[300:].tolist() == list(range(100, 110))  # goes on where the stage before ended


def test_tokens_short_of_a_sequence_are_not_drawn() -> None:
    found = Draw(mixture((50, [1.0, 1.0]), spare=3), sequence_length=LENGTH, seed=0)
    assert found.num_samples == 50
    assert found.drawn(50).tolist() == [25, 25]


@settings(deadline=None, max_examples=40)
@given(num_windows=st.integers(1, 200), epochs=st.integers(1, 4), seed=st.integers(0, 2**63))
def test_each_epoch_of_a_stratum_reads_every_window_once(num_windows: int, epochs: int, seed: int) -> None:
    numbers = np.arange(num_windows * epochs)
    read = stratum_windows("wiki", numbers, num_windows=num_windows, seed=seed)
    for epoch in range(epochs):
        assert sorted(read[epoch * num_windows : (epoch + 1) * num_windows]) == list(range(num_windows))


def test_epochs_strata_and_seeds_have_orders_of_their_own() -> None:
    numbers = np.arange(2000)
    base = stratum_windows("wiki", numbers, num_windows=1000, seed=1)
    others = [
        base[1000:],
        stratum_windows("web", numbers[:1000], num_windows=1000, seed=1),
        stratum_windows("wiki", numbers[:1000], num_windows=1000, seed=2),
    ]
    for other in others:
        assert (other == base[:1000]).mean() < 0.02


def test_a_plan_is_read_as_it_was_written() -> None:
    plan = mixture((10, [0.1, 0.7]), (30, [1.0, 3.0]))
    assert read_mixture(plan.model_dump_json(indent=2)) == plan
    assert plan.digest != mixture((10, [0.1, 0.7]), (30, [1.0, 4.0])).digest


def test_two_threads_may_ask_one_draw() -> None:
    """The loader's thread asks for samples and the training's for counts; each step of the one may fall amid the other's."""
    plan = (20_000, [5.0, 2.0, 3.0])
    alone, shared = draw(plan), draw(plan)
    expected = [(block.first, block.end) for block in alone._blocks(0, 20_000)]
    found = []
    for block in shared._blocks(0, 20_000):
        found.append((block.first, block.end))
        assert np.array_equal(shared.drawn(19_999), alone.drawn(19_999))
    assert found == expected
    assert len(found) > 5
