"""Numbers drawn for documents: from the seed and the id alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from pipeline.pretrain.data.order import mix

UInt64s = npt.NDArray[np.uint64]


def drawn(ids: npt.NDArray[np.uint8], seed: int, what: str) -> UInt64s:
    """A number for each document, uint64 (N,): as good as random, another for each ``seed`` and ``what``.

    ids: uint8 (N, 16).
    """
    high, low = np.ascontiguousarray(ids).view(">u8").reshape(-1, 2).T.astype(np.uint64)
    start = mix(np.array([seed & 0xFFFFFFFFFFFFFFFF], np.uint64)) ^ np.uint64(xxhash.xxh3_64_intdigest(what.encode()))
    return mix(mix(mix(start) ^ high) ^ low)


def drawn_again(numbers: UInt64s, part: npt.NDArray[Any]) -> UInt64s:
    """A number for each part of a document, from that of the document; part 0 keeps it."""
    return np.where(part == 0, numbers, mix(numbers + part.astype(np.uint64)))


def below(numbers: UInt64s, share: float) -> npt.NDArray[np.bool_]:
    """Which numbers lie in the lowest ``share`` of their range: none at 0, all at 1."""
    return (numbers >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share


def name_keys(names: Sequence[str], seed: int) -> UInt64s:
    """A number for each name, uint64 (N,)."""
    return np.array([xxhash.xxh3_64_intdigest(name.encode(), seed & 0xFFFFFFFFFFFFFFFF) for name in names], np.uint64)
