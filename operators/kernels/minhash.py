"""MinHash signatures, bit for bit those of datasketch's scheme ``affine32``, and what deduplication keeps of them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa

from operators.kernels.buffers import ByteArray, OffsetArray
from operators.kernels.compiled import kernel
from operators.kernels.shingles import HashArray, KeyArray, shingle_hashes

SEED = 1
"""Of the permutations, as in ``datasketch.MinHash``."""

_BLOCK = 8  # shingles a pass over the permutations takes: one load and store of a slot for 8 multiply-add-min
_EMPTY = np.uint32(0xFFFFFFFF)
_MIX_1, _MIX_2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)
_S13, _S16, _S24 = np.uint32(13), np.uint32(16), np.uint32(24)
_KEY_STEP, _BAND_STEP = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_KEY_MIX_1, _KEY_MIX_2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_S33 = np.uint64(33)


@cache
def permutations(num_perm: int) -> tuple[HashArray, HashArray]:
    """Odd multipliers and offsets of ``datasketch.MinHash(num_perm, seed=1, scheme="affine32")``: uint32 (P,) each."""
    # RandomState's stream is frozen by numpy's policy (NEP 19); datasketch draws from it in this order.
    draw = np.random.RandomState(SEED)
    multipliers = draw.randint(0, 1 << 31, num_perm, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    offsets = draw.randint(0, 1 << 32, num_perm, dtype=np.uint32)
    return multipliers, offsets


@kernel
def _finish32(value: np.uint32) -> np.uint32:
    """Murmur3's 32-bit finisher, a bijection; datasketch applies it to every hash before the permutations."""
    value = np.uint32((value ^ (value >> _S16)) * _MIX_1)
    value = np.uint32((value ^ (value >> _S13)) * _MIX_2)
    return np.uint32(value ^ (value >> _S16))


@kernel
def _minhash_kernel(
    hashes: HashArray, starts: OffsetArray, multipliers: HashArray, offsets: HashArray, out: HashArray
) -> None:
    """Slot k of a document is the smallest multipliers[k] * hash + offsets[k] mod 2**32 over its hashes."""
    num_perm = len(multipliers)
    for doc in range(len(starts) - 1):
        row = out[doc]
        for k in range(num_perm):
            row[k] = _EMPTY
        last = starts[doc + 1] - 1
        for at in range(starts[doc], last + 1, _BLOCK):
            # Beyond the end the last shingle is taken again, which changes no minimum.
            h0, h1 = _finish32(hashes[at]), _finish32(hashes[min(at + 1, last)])
            h2, h3 = _finish32(hashes[min(at + 2, last)]), _finish32(hashes[min(at + 3, last)])
            h4, h5 = _finish32(hashes[min(at + 4, last)]), _finish32(hashes[min(at + 5, last)])
            h6, h7 = _finish32(hashes[min(at + 6, last)]), _finish32(hashes[min(at + 7, last)])
            for k in range(num_perm):
                a, b = multipliers[k], offsets[k]
                m0 = min(np.uint32(a * h0 + b), np.uint32(a * h1 + b))
                m1 = min(np.uint32(a * h2 + b), np.uint32(a * h3 + b))
                m2 = min(np.uint32(a * h4 + b), np.uint32(a * h5 + b))
                m3 = min(np.uint32(a * h6 + b), np.uint32(a * h7 + b))
                row[k] = min(row[k], min(min(m0, m1), min(m2, m3)))  # noqa: PLW3301  # the flat form takes longer to compile


def minhash(hashes: HashArray, starts: OffsetArray, num_perm: int) -> HashArray:
    """Signatures of N sets of 32-bit hashes, as ``datasketch.MinHash(num_perm, scheme="affine32")`` gives them.

    hashes: uint32 (S,), repeats allowed. starts: int64 (N + 1,), set i is hashes[starts[i]:starts[i + 1]].
    Returns uint32 (N, num_perm); an empty set has 0xFFFFFFFF everywhere.
    """
    out = np.empty((len(starts) - 1, num_perm), np.uint32)
    _minhash_kernel(hashes, starts, *permutations(num_perm), out)
    return out


def signatures(column: pa.Array | pa.ChunkedArray, ngram: int, num_perm: int) -> HashArray:
    """Signatures of N texts over their word n-grams: uint32 (N, num_perm)."""
    hashes, starts = shingle_hashes(column, ngram)
    return minhash(hashes, starts, num_perm)


@kernel
def _slots_kernel(signed: HashArray, out: ByteArray) -> None:
    for doc in range(signed.shape[0]):
        for k in range(signed.shape[1]):
            out[doc, k] = _finish32(signed[doc, k]) >> _S24


def slots(signed: HashArray) -> ByteArray:
    """One byte of each slot of signatures uint32 (N, P): uint8 (N, P).

    The top byte after another mixing: the low byte of ``a * h + b`` hangs on the low byte of ``h`` alone, so two
    one-shingle texts would agree in all slots with probability 1/256. Mixed, unequal slots agree in 1 of 256 each.
    """
    out = np.empty(signed.shape, np.uint8)
    _slots_kernel(signed, out)
    return out


@kernel
def _band_keys_kernel(slot_bytes: ByteArray, rows: int, out: KeyArray) -> None:
    for doc in range(out.shape[0]):
        for band in range(out.shape[1]):
            key = np.uint64(band + 1) * _BAND_STEP
            for row in range(rows):
                key = (key ^ np.uint64(slot_bytes[doc, band * rows + row])) * _KEY_STEP
            key = (key ^ (key >> _S33)) * _KEY_MIX_1
            key = (key ^ (key >> _S33)) * _KEY_MIX_2
            out[doc, band] = key ^ (key >> _S33)


def band_keys(slot_bytes: ByteArray, bands: int, rows: int) -> KeyArray:
    """The key of each band: uint64 (N, bands), a hash of the band's number and its ``rows`` slot bytes.

    slot_bytes: uint8 (N, P), P >= bands * rows.

    Made from the bytes and not from the 32-bit slots, so that whoever holds a sketch knows its buckets: 112 bytes a
    document tell both who is a candidate and how similar it is. Eight rows are 64 bits, as good as a 64-bit hash.
    """
    out = np.empty((len(slot_bytes), bands), np.uint64)
    _band_keys_kernel(slot_bytes, rows, out)
    return out


def estimate(equal_slots: float, num_perm: int) -> float:
    """Jaccard similarity from the number of equal slot bytes: unequal slots agree by chance in 1 of 256."""
    share = equal_slots / num_perm
    return (share - 1 / 256) / (1 - 1 / 256)


def slots_needed(threshold: float, num_perm: int) -> int:
    """The smallest number of equal slot bytes whose estimate reaches the threshold; threshold in (0, 1]."""
    return next(equal for equal in range(num_perm + 1) if estimate(equal, num_perm) >= threshold)


def warm() -> None:
    """Compile the kernels of this module."""
    signed = minhash(np.zeros(1, np.uint32), np.array([0, 1]), 2)
    band_keys(slots(signed), 1, 2)
