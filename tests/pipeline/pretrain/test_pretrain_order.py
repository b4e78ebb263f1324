"""The order of windows: a permutation in each epoch, and nothing but a function of (seed, step)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.pretrain.data.order import batch_windows, mix, permute


def slow_mix(value: int) -> int:
    """splitmix64, one number at a time."""
    value = (value + 0x9E3779B97F4A7C15) % 2**64
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return value ^ (value >> 31)


def test_mix_is_splitmix64() -> None:
    # First outputs of the published generator for seed 0: each is mix(k * 0x9E3779B97F4A7C15).
    assert int(mix(np.array([0], np.uint64))[0]) == 0xE220A8397B1DCDAF
    assert int(mix(np.array([0x9E3779B97F4A7C15], np.uint64))[0]) == 0x6E789E6AA1B965F4


@settings(deadline=None)  # cores are shared
@given(value=st.integers(0, 2**64 - 1))
def test_mix_equals_the_obvious_python(value: int) -> None:
    assert int(mix(np.array([value], np.uint64))[0]) == slow_mix(value)


@settings(deadline=None)  # cores are shared
@given(size=st.integers(1, 3000), key=st.integers(0, 2**64 - 1))
def test_permutation_is_a_bijection(size: int, key: int) -> None:
    image = permute(np.arange(size, dtype=np.uint64), size, np.array([key], np.uint64))
    assert np.array_equal(np.sort(image), np.arange(size))


def test_permutation_moves_things_about() -> None:
    """Neighbours must not stay neighbours, and another key gives another order."""
    size = 10_000
    index = np.arange(size, dtype=np.uint64)
    one, other = (permute(index, size, np.array([key], np.uint64)).astype(np.int64) for key in (1, 2))
    assert np.abs(np.corrcoef(one, index.astype(np.int64))[0, 1]) < 0.05
    assert (np.abs(np.diff(one)) == 1).mean() < 0.01
    assert (one == other).mean() < 0.01


@settings(deadline=None, max_examples=40)
@given(num_windows=st.integers(1, 200), batch_size=st.integers(1, 20), seed=st.integers(0, 2**63))
def test_each_epoch_reads_every_window_once(num_windows: int, batch_size: int, seed: int) -> None:
    steps = -(-2 * num_windows // batch_size)
    read = np.concatenate(
        [batch_windows(step, batch_size=batch_size, num_windows=num_windows, seed=seed) for step in range(steps)]
    )
    for epoch in (0, 1):
        assert sorted(read[epoch * num_windows : (epoch + 1) * num_windows]) == list(range(num_windows))


@pytest.mark.parametrize("other", [{"seed": 6}, {"step": 1}])
def test_seed_and_step_decide(other: dict[str, int]) -> None:
    given_ = {"step": 0, "seed": 5}
    first, again, changed = (
        batch_windows(chosen["step"], batch_size=8, num_windows=1000, seed=chosen["seed"])
        for chosen in (given_, given_, {**given_, **other})
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, changed)
