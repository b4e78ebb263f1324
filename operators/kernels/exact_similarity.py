"""Similarity of sets of n-grams by counting what they share, and the survivor rule that goes by it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.buffers import ByteArray, OffsetArray
from operators.kernels.compiled import kernel, lean_kernel
from operators.kernels.minhash import band_keys
from operators.kernels.shingles import HashArray, KeyArray
from operators.kernels.survivors import MOST_REPRESENTATIVES, Buckets, empty_buckets, enter, equal_slots, place_of

Measure = Literal["jaccard", "containment"]
FloatArray = npt.NDArray[np.float64]


class Sets(NamedTuple):
    """N sets of 32-bit hashes: set i is hashes[starts[i]:ends[i]], ascending, each hash once."""

    hashes: HashArray
    starts: OffsetArray
    ends: OffsetArray


@kernel
def _sets_kernel(hashes: HashArray, starts: OffsetArray, out: HashArray, out_starts: OffsetArray) -> None:
    written = np.int64(0)
    for doc in range(len(starts) - 1):
        first = written
        own = np.sort(hashes[starts[doc] : starts[doc + 1]])
        for k in range(len(own)):
            if written == first or own[k] != out[written - 1]:
                out[written] = own[k]
                written += 1
        out_starts[doc + 1] = written


def sets(hashes: HashArray, starts: OffsetArray) -> Sets:
    """Sorts each document's hashes and leaves out repeats.

    hashes, starts: as ``shingle_hashes`` gives them, int64 (N + 1,) starts.
    """
    out, out_starts = np.empty(len(hashes), np.uint32), np.zeros(len(starts), np.int64)
    _sets_kernel(hashes, starts, out, out_starts)
    return Sets(out[: out_starts[-1]], out_starts[:-1].copy(), out_starts[1:].copy())


@lean_kernel
def _shared(left: HashArray, right: HashArray) -> int:
    """How many hashes two ascending arrays share; without a branch that hangs on the data."""
    i, j, shared = 0, 0, 0
    while i < len(left) and j < len(right):
        a, b = left[i], right[j]
        shared += a == b
        i += a <= b
        j += b <= a
    return shared


@kernel
def _pairs_kernel(given: Sets, pairs: OffsetArray, out: OffsetArray) -> None:
    for k in range(len(pairs)):
        left, right = pairs[k, 0], pairs[k, 1]
        own = given.hashes[given.starts[left] : given.ends[left]]
        out[k] = _shared(own, given.hashes[given.starts[right] : given.ends[right]])


def similarities(given: Sets, pairs: OffsetArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Of pairs of sets, int64 (P, 2): Jaccard, the share of the left one in the right, and of the right in the left.

    float64 (P,) each. Two empty sets have none of the three, which is NaN; nor has an empty one any containment.
    """
    shared = np.empty(len(pairs), np.int64)
    _pairs_kernel(given, pairs, shared)
    size = given.ends - given.starts
    left, right = size[pairs[:, 0]], size[pairs[:, 1]]
    with np.errstate(invalid="ignore"):
        return shared / (left + right - shared), shared / left, shared / right


@kernel
def _verified_kernel(
    slot_bytes: ByteArray,
    keys: KeyArray,
    given: Sets,
    rule: tuple[float, bool],
    limits: tuple[int, int],
    buckets: Buckets,
    out: OffsetArray,
    out_similarity: FloatArray,
) -> None:
    threshold, contained = rule
    num_kept, most = limits
    num_docs, num_bands = keys.shape
    compared_with = np.full(num_docs, -1, np.int64)
    entries = 0
    for doc in range(num_docs):
        best, best_found = np.int64(-1), threshold
        own = given.hashes[given.starts[doc] : given.ends[doc]]
        for band in range(num_bands if doc >= num_kept else 0):
            entry = buckets.table[place_of(buckets.table, buckets.key, keys[doc, band])]
            while entry >= 0:
                other = np.int64(buckets.doc[entry])
                entry = buckets.following[entry]
                if compared_with[other] == doc:
                    continue
                compared_with[other] = doc
                theirs = given.hashes[given.starts[other] : given.ends[other]]
                whole = len(own) if contained else max(len(own), len(theirs))
                if min(len(own), len(theirs)) / whole < best_found:
                    continue  # even if the smaller set were all in the larger one
                shared = _shared(own, theirs)
                found = shared / (len(own) if contained else len(own) + len(theirs) - shared)
                if found > best_found or (found == best_found and (best < 0 or other < best)):
                    best, best_found = other, found
        out[doc, 0] = best
        out[doc, 1] = equal_slots(slot_bytes, doc, best) if best >= 0 else 0
        out_similarity[doc] = best_found if best >= 0 else np.nan
        if best < 0:
            for band in range(num_bands):
                entries = enter(buckets, keys[doc, band], doc, entries, most)


class Verified(NamedTuple):
    """For each of N documents: its representative's position (-1: it stays), their equal slots, and the similarity."""

    rep: OffsetArray
    equal: OffsetArray
    similarity: FloatArray


def verified_survivors(
    slot_bytes: ByteArray,
    given: Sets,
    *,
    bands: int,
    rows: int,
    rule: tuple[Measure, float],
    num_kept: int = 0,
    most: int = MOST_REPRESENTATIVES,
) -> Verified:
    """The rule of ``survivors.survivors`` by counted similarity: documents in content order, each decided by those before.

    slot_bytes: uint8 (N, P), P >= bands * rows. given: the n-grams of the same documents. rule: the measure, and from
    which value a document goes. jaccard: of its n-grams and those of the one that stays, the share that both have.
    containment: the share of the n-grams of the document that would go which the other one has too, |A & B| / |A|; a
    short text that stands whole in a long one goes, the long one does not. num_kept: as many at the beginning stay.
    A document without n-grams is neither removed nor compared with.
    Compares the same pairs as the estimate does: those that share a bucket, ``most`` of each. A pair whose sizes alone
    say no is not counted. Time per pair: linear in the n-grams of both. Memory: as the estimate, and the sets.
    """
    num_docs = len(slot_bytes)
    measure, threshold = rule
    out, similarity = np.empty((num_docs, 2), np.int64), np.empty(num_docs)
    keys = band_keys(slot_bytes, bands, rows)
    _verified_kernel(
        slot_bytes,
        keys,
        given,
        (float(threshold), measure == "containment"),
        (num_kept, most),
        empty_buckets(num_docs * bands),
        out,
        similarity,
    )
    return Verified(out[:, 0], out[:, 1], similarity)


def warm() -> None:
    """Compile the kernels of this module."""
    given = sets(np.zeros(2, np.uint32), np.array([0, 1, 2]))
    similarities(given, np.array([[0, 1]]))
    verified_survivors(np.zeros((2, 1), np.uint8), given, bands=1, rows=1, rule=("jaccard", 0.5))
