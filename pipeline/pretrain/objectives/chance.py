"""Random numbers that are a function of a row's key."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.pretrain.data.order import mix


def uniform(keys: NDArray[np.uint64], count: int, stream: int) -> NDArray[np.float64]:
    """Numbers in [0, 1), float64 (N, count), a row a key. stream: tells draws of one row for different purposes apart."""
    seeds = mix(mix(keys) ^ np.uint64(stream))
    bits = mix(seeds[:, None] ^ mix(np.arange(count, dtype=np.uint64))) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53


def parts(total: int, count: int, chances: NDArray[np.float64]) -> NDArray[np.int64]:
    """``total`` cut at random into ``count`` parts of at least 1, int64 (count,); all ways are equally likely.

    chances: float64, at least total - 1 of ``uniform``.
    """
    cuts = 1 + np.sort(np.argsort(chances[: total - 1], kind="stable")[: count - 1])
    return np.diff(np.concatenate(([0], cuts, [total])))
