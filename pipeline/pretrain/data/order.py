"""Which window is read when: a pure function of (seed, step), so that a resume needs no history."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UInt64s = NDArray[np.uint64]
_ROUNDS = 6
"""Feistel rounds. Four suffice for a pseudo-random permutation (Luby and Rackoff 1988); two more cost nothing."""


def mix(value: UInt64s) -> UInt64s:
    """splitmix64's finaliser, element by element: a bijection of 64 bits whose outputs look random."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def permute(index: UInt64s, size: int, key: UInt64s) -> UInt64s:
    """Where a keyed permutation of range(size) sends each index.

    index: uint64 (N,), each below size. key: uint64 (N,) or (1,), the permutation each index goes through.
    A Feistel network over the smallest even number of bits that holds size; values beyond it are sent on until they
    fall inside, fewer than four times on average.
    """
    half = max(1, -(-int(size - 1).bit_length() // 2))
    shift, mask = np.uint64(half), np.uint64((1 << half) - 1)
    key = np.broadcast_to(key, index.shape)
    result = index.copy()
    outside = np.arange(len(index))
    while len(outside):
        value, keys = result[outside], key[outside]
        left, right = value >> shift, value & mask
        for turn in range(_ROUNDS):
            left, right = right, left ^ (mix(right ^ mix(keys + np.uint64(turn))) & mask)
        result[outside] = (left << shift) | right
        outside = outside[result[outside] >= np.uint64(size)]
    return result


def batch_windows(step: int, *, batch_size: int, num_windows: int, seed: int) -> NDArray[np.int64]:
    """The windows of one global batch, int64 (batch_size,): each epoch takes every window once, in an order of its own.

    step counts from 0. A batch may end one epoch and begin the next.
    """
    sample = np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.uint64)
    epoch, index = np.divmod(sample, np.uint64(num_windows))
    key = mix(mix(np.array([seed], np.uint64)) + epoch)
    return permute(index, num_windows, key).astype(np.int64)
