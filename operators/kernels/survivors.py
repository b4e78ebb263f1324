"""The survivor rule: a document goes only if one that stays, earlier in the order, is similar enough to it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.buffers import ByteArray
from operators.kernels.compiled import kernel
from operators.kernels.minhash import band_keys
from operators.kernels.shingles import KeyArray

IndexArray = npt.NDArray[np.integer]

MOST_REPRESENTATIVES = 64
"""Per bucket, the first that stay are compared with, no more: keeps a bucket of any size linear. On a corpus of 7,842
documents 8 and 64 gave the same removals."""


@kernel
def equal_slots(slot_bytes: ByteArray, left: int, right: np.int64) -> int:
    """How many slot bytes two documents have in common."""
    equal = 0
    for k in range(slot_bytes.shape[1]):
        equal += slot_bytes[left, k] == slot_bytes[right, k]
    return equal


class Buckets(NamedTuple):
    """An open-addressing table of buckets, each a chain of entries; -1 ends a chain and marks a free place."""

    table: IndexArray
    key: KeyArray
    doc: IndexArray
    following: IndexArray


def empty_buckets(num_entries: int) -> Buckets:
    """Buckets without entries, with room for that many."""
    index = np.int32 if num_entries < 2**30 else np.int64
    return Buckets(
        table=np.full(1 << max(4, (2 * num_entries - 1).bit_length()), -1, index),
        key=np.empty(num_entries, np.uint64),
        doc=np.empty(num_entries, index),
        following=np.empty(num_entries, index),
    )


@kernel
def place_of(table: IndexArray, entry_key: KeyArray, key: np.uint64) -> np.uint64:
    """Where a key stands in the table, or would stand; keys are hashes already."""
    mask = np.uint64(len(table) - 1)
    place = key & mask
    while table[place] >= 0 and entry_key[table[place]] != key:
        place = (place + np.uint64(1)) & mask
    return place


@kernel
def enter(buckets: Buckets, key: np.uint64, doc: int, entries: int, most: int) -> int:
    """Add a document that stays to a bucket unless that is full; returns how many entries there are."""
    place = place_of(buckets.table, buckets.key, key)
    last, members = np.int64(-1), 0
    entry = buckets.table[place]
    while entry >= 0:
        last, members = np.int64(entry), members + 1
        entry = buckets.following[entry]
    if members == most:
        return entries
    buckets.key[entries] = key
    buckets.doc[entries] = doc
    buckets.following[entries] = -1
    if last < 0:
        buckets.table[place] = entries
    else:
        buckets.following[last] = entries
    return entries + 1


@kernel
def _greedy_kernel(
    slot_bytes: ByteArray,
    keys: KeyArray,
    num_kept: int,
    needed: int,
    most: int,
    buckets: Buckets,
    out: npt.NDArray[np.int64],
) -> None:
    num_docs, num_bands = keys.shape
    compared_with = np.full(num_docs, -1, np.int64)
    entries = 0
    for doc in range(num_docs):
        best, best_equal = -1, needed - 1
        for band in range(num_bands if doc >= num_kept else 0):
            entry = buckets.table[place_of(buckets.table, buckets.key, keys[doc, band])]
            while entry >= 0:
                other = np.int64(buckets.doc[entry])
                if compared_with[other] != doc:
                    compared_with[other] = doc
                    found = equal_slots(slot_bytes, doc, other)
                    if found > best_equal or (found == best_equal and 0 <= other < best):
                        best, best_equal = other, found
                entry = buckets.following[entry]
        out[doc, 0] = best
        out[doc, 1] = best_equal if best >= 0 else 0
        if best < 0:
            for band in range(num_bands):
                entries = enter(buckets, keys[doc, band], doc, entries, most)


def survivors(
    slot_bytes: ByteArray,
    *,
    bands: int,
    rows: int,
    needed: int,
    num_kept: int = 0,
    most: int = MOST_REPRESENTATIVES,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Go through documents in content order and decide each by those before it.

    slot_bytes: uint8 (N, P), P >= bands * rows, in content order. needed: equal slots that make two documents
    duplicates. num_kept: the first so many stay whatever they are like; they were decided before.
    A document is compared with the documents that stay and share a bucket with it, the first ``most`` of each
    bucket. If one has ``needed`` equal slots, it goes, with the most similar of them (the earliest among equals) as
    its representative; else it stays. Unlike connected components this never removes a document for one that is
    unlike it, and a later document never changes the fate of an earlier one.
    Returns int64 (N,) twice: the representative's position, -1 where a document stays, and the equal slots.
    Time: linear, at most ``bands * most`` comparisons a document. Memory: about 500 bytes a document at 14 bands.
    """
    num_docs = len(slot_bytes)
    out = np.empty((num_docs, 2), np.int64)
    buckets = empty_buckets(num_docs * bands)
    _greedy_kernel(slot_bytes, band_keys(slot_bytes, bands, rows), num_kept, needed, most, buckets, out)
    return out[:, 0], out[:, 1]


def warm() -> None:
    """Compile the kernels of this module."""
    survivors(np.zeros((2, 1), np.uint8), bands=1, rows=1, needed=1)
