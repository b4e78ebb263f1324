"""The rule of other tools: of each connected component of the bucket graph one document stays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from operators.dedup.near.removals import Decided
from operators.dedup.near.rows import SketchRows
from operators.kernels.buffers import ByteArray
from operators.kernels.shingles import KeyArray


def decide_batch(rows: SketchRows, at: KeyArray, label: KeyArray) -> Decided:
    """All but the first in content order of each component go for that; at: sorted addresses, label: of each."""
    order = np.lexsort([*rows.keys(at)[::-1], label])
    begins = np.ones(len(order), np.bool_)
    begins[1:] = label[order][1:] != label[order][:-1]
    rep = np.empty(len(at), np.int64)
    rep[order] = order[begins][np.cumsum(begins) - 1]
    slots = rows.gather(at, ("slots",))["slots"]
    return _decided(rows, at, rep, _equal(slots, slots[rep]), np.arange(len(at)))


def decide_large(rows: SketchRows, at: KeyArray, num_rows: int) -> Iterator[tuple[KeyArray, Decided]]:
    """The same for one component, so many rows at a time; at: sorted addresses, which may be mapped from a file."""
    parts = [slice(first, first + num_rows) for first in range(0, len(at), num_rows)]
    best: tuple[int, ...] | None = None
    for part in parts:
        keys = rows.keys(np.array(at[part]))
        smallest = np.lexsort(keys[::-1])[0]
        found = tuple(int(column[smallest]) for column in keys)
        best = found if best is None else min(best, found)
    first = np.array([best[-1] if best else 0], np.uint64)
    first_slots = rows.gather(first, ("slots",))["slots"]
    for part in parts:
        own = np.array(at[part])
        equal = np.concatenate([[0], _equal(rows.gather(own, ("slots",))["slots"], first_slots)])
        both = np.concatenate([first, own])
        yield both, _decided(rows, both, np.zeros(len(both), np.int64), equal, np.where(both == first, 0, -1))


def _equal(slots: ByteArray, others: ByteArray) -> np.ndarray:
    return (slots == others).sum(axis=1)


def _decided(rows: SketchRows, at: KeyArray, rep: np.ndarray, equal: np.ndarray, own: np.ndarray) -> Decided:
    """With what stays marked: a component's first (``rep`` is it itself, by ``own``) and what was decided earlier."""
    stays = rep == own
    if rows.levels:
        stays |= rows.levels.is_earlier(at)
    return Decided(np.where(stays, -1, rep), np.where(stays, 0, equal), np.full(len(at), np.nan))
