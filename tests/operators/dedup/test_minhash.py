"""Signatures against datasketch, and what is kept of them."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.kernels import minhash as kernels
from tests.operators.dedup.twins import datasketch_signature, shingles, slot_byte

SETS = st.lists(st.lists(st.integers(0, 2**32 - 1), max_size=40), max_size=6)


def flat(sets: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    starts = np.cumsum([0, *(len(one) for one in sets)], dtype=np.int64)
    return np.array([value for one in sets for value in one], np.uint32), starts


@pytest.mark.parametrize("num_perm", [1, 7, 112, 128, 450])
def test_permutations_are_those_of_datasketch(num_perm: int) -> None:
    ours = np.array(kernels.permutations(num_perm))
    assert np.array_equal(ours, MinHash(num_perm, seed=1, scheme="affine32").permutations)


@settings(deadline=None)  # the first call may compile
@given(SETS)
def test_bit_identical_to_datasketch(sets: list[list[int]]) -> None:
    ours = kernels.minhash(*flat(sets), 112)
    assert ours.tolist() == [datasketch_signature(one, 112) for one in sets]


def test_bit_identical_to_datasketch_on_sets_of_every_size() -> None:
    draw = random.Random(3)
    sets = [[draw.getrandbits(32) for _ in range(size)] for size in [*range(40), 1000, 20_001]]
    ours = kernels.minhash(*flat(sets), 112)
    for one, signature in zip(sets, ours.tolist(), strict=True):
        assert signature == datasketch_signature(one, 112)
        single = MinHash(112, scheme="affine32", hashfunc=lambda value: value)
        for value in one[:50]:
            single.update(value)
        if len(one) <= 50:
            assert signature == single.hashvalues.tolist()


def test_from_text() -> None:
    texts = ["the quick brown fox jumps over the lazy dog", "短い文章です、五文字以上", "too short"]
    ours = kernels.signatures(pa.array(texts, pa.large_string()), 5, 112)
    assert ours.tolist() == [datasketch_signature(shingles(text, 5), 112) for text in texts]
    assert set(ours[2].tolist()) == {2**32 - 1}


@settings(deadline=None)  # the first call may compile
@given(SETS)
def test_slot_bytes(sets: list[list[int]]) -> None:
    signed = kernels.minhash(*flat(sets), 24)
    assert kernels.slots(signed).tolist() == [[slot_byte(slot) for slot in row] for row in signed.tolist()]


def test_texts_of_one_shingle_do_not_agree_by_chance() -> None:
    """Low bytes of the slots would agree in all 112 for one pair in 256."""
    draw = random.Random(5)
    sets = [[draw.getrandbits(32)] for _ in range(2000)]
    slots = kernels.slots(kernels.minhash(*flat(sets), 112))
    equal = np.array([(slots[0] == other).sum() for other in slots[1:]])
    assert equal.max() < 12
    assert 0.3 < equal.mean() < 0.6  # 112 / 256 = 0.44


def test_band_keys_tell_bands_apart() -> None:
    slots = np.zeros((2, 12), np.uint8)
    slots[1, 5] = 1
    keys = kernels.band_keys(slots, 3, 4)
    assert len(set(keys[0].tolist())) == 3
    assert (keys[0] == keys[1]).tolist() == [True, False, True]


@pytest.mark.parametrize(("equal", "expected"), [(112, 1.0), (0, -1 / 255), (56, (0.5 - 1 / 256) * 256 / 255)])
def test_estimate(equal: int, expected: float) -> None:
    assert kernels.estimate(equal, 112) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("threshold", "needed"), [(1.0, 112), (0.7, 79), (0.5, 57), (0.001, 1)])
def test_slots_needed(threshold: float, needed: int) -> None:
    """By hand: 0.7 * 255 + 1 = 179.5 of 256 are 78.5 of 112; 0.5 gives 56.2; 0.001 gives 0.55."""
    assert kernels.slots_needed(threshold, 112) == needed


def test_estimates_are_unbiased() -> None:
    """300 pairs of sets with Jaccard 0.5: the mean error stays within 4 standard errors."""
    draw = random.Random(11)
    sets = []
    for _ in range(300):
        common = [draw.getrandbits(32) for _ in range(100)]
        sets += [common + [draw.getrandbits(32) for _ in range(50)] for _ in range(2)]
    slots = kernels.slots(kernels.minhash(*flat(sets), 112))
    equal = (slots[0::2] == slots[1::2]).sum(axis=1)
    estimates = np.array([kernels.estimate(int(one), 112) for one in equal])
    assert abs(estimates.mean() - 0.5) < 4 * np.sqrt(0.25 / 112 / 300)
