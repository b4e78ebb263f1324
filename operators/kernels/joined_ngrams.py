"""Kernel for datatrove's repeated n-grams: words joined with nothing, and a scan that jumps over each copy it finds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from operators.kernels.blocks import bits_below, get, put
from operators.kernels.buffers import ByteArray, FloatArray, IntArray
from operators.kernels.bytewise import load_word, same_bytes, slot_of, store_word, table_mask
from operators.kernels.compiled import lean_kernel
from operators.kernels.scratch import scratch
from operators.kernels.secret import fold, secret
from operators.kernels.shared_hashes import PART_BOUNDS, clear, mark_shared
from operators.kernels.word_ngrams import Grams
from operators.kernels.words import Words
from operators.kernels.wrapping import plus, times

_SIZES = (5, 6, 7, 8, 9, 10)
_PREFIX = 40
"""Bytes looked at before an n-gram is hashed; 10 words have 42 in English prose."""
_FIRST_PREFIX = 16
"""Bytes looked at in the first round; 5 words have 21 in English prose, and shorter n-grams are always hashed."""
_SLACK = 48
"""Bytes that ``packed`` needs beyond those of the words."""


class JoinScratch(NamedTuple):
    """Scratch for one text of up to M words in B bytes."""

    packed: ByteArray
    """uint8 (B + _SLACK,): the words joined with nothing."""
    shared: ByteArray
    """uint8 (M,): whether what is looked at may occur elsewhere, see ``shared_hashes.mark_shared``; like the next three."""
    slots: ByteArray
    bounds: IntArray
    entries: IntArray
    part_rows: int
    """Places whose hashes get a table of their own."""


def join_room(longest: int, longest_bytes: int, grams: Grams, part_rows: int) -> JoinScratch:
    """Scratch for texts of up to ``longest`` words and ``longest_bytes`` bytes; uses that of ``grams.table`` too."""
    packed, shared, slots = (scratch(rows, np.uint8)[0] for rows in (longest_bytes + _SLACK, longest, 8 * longest + 8))
    bounds = scratch(PART_BOUNDS, np.int64)[0]
    return JoinScratch(packed, shared, slots, bounds, grams.table.view(np.int64), part_rows)


@lean_kernel
def _pack(data: ByteArray, words: Words, first: int, last: int, packed: ByteArray, at: Any) -> None:
    """Join the words with nothing; ``at``: where each begins."""
    used = 0
    for row in range(first, last):
        put(at, row - first, used)
        start, size = get(words.start, row), get(words.size, row)
        stop = used + size
        if start + 16 <= data.shape[0] and size <= 16:  # what is too much is overwritten by the next word
            store_word(packed, used, load_word(data, start))
            store_word(packed, used + 8, load_word(data, start + 8))
        else:
            while start + 8 <= data.shape[0] and used < stop:
                store_word(packed, used, load_word(data, start))
                start += 8
                used += 8
            while used < stop:
                put(packed, used, get(data, start))
                start += 1
                used += 1
        used = stop
    put(at, last - first, used)
    for k in range(_PREFIX):
        put(packed, used + k, 0)


@lean_kernel
def _mark(rows: int, grams: Grams, room: JoinScratch) -> None:
    mark_shared(grams.key, rows, room.part_rows, room.bounds, room.entries, room.slots, room.shared)


@lean_kernel
def _list_shared(num_words: int, at: Any, grams: Grams, room: JoinScratch) -> int:
    """List the places whose next 16 bytes may occur elsewhere, or whose 5 words are shorter; returns how many.

    ``grams.place``: the places; ``grams.gram``: how many bytes may occur elsewhere, 0 or 16; ``grams.key``, by place: their
    hash. Two different hashes may be taken for equal, which costs time later and nothing else.
    """
    packed, places = room.packed, num_words - 4
    for place in range(places):
        begin = get(at, place)
        digest = fold(load_word(packed, begin) ^ secret(0), load_word(packed, begin + 8) ^ secret(1))
        put(grams.key, place, digest)
    _mark(places, grams, room)
    found = 0
    for place in range(places):
        shared = get(room.shared, place)
        put(grams.place, found, place)
        put(grams.gram, found, _FIRST_PREFIX * shared)
        found += shared | (get(at, place + 5) - get(at, place) < _FIRST_PREFIX)
    return found


@lean_kernel
def _extend_shared(listed: int, at: Any, grams: Grams, room: JoinScratch) -> None:
    """Raise ``grams.gram`` of the listed places to 24, 32 and _PREFIX bytes, where so many may occur elsewhere.

    The first round looks at the same 16 bytes again, with other slots: three in four places had but shared a slot.
    """
    left = 0
    for k in range(listed):
        put(grams.first, left, k)
        put(grams.key, left, get(grams.key, get(grams.place, k)))
        left += get(grams.gram, k) > 0
    for size in range(_FIRST_PREFIX, _PREFIX + 1, 8):
        for k in range(left):
            digest = times(get(grams.key, k), -7046029254386353131)
            digest ^= digest >> 32
            if size > _FIRST_PREFIX:
                begin = get(at, get(grams.place, get(grams.first, k)))
                digest = fold(digest ^ secret(0), load_word(room.packed, begin + size - 8) ^ secret(1))
            put(grams.key, k, digest)
        _mark(left, grams, room)
        found = 0
        for k in range(left):
            row, shared = get(grams.first, k), get(room.shared, k)
            put(grams.gram, row, size if shared else max(size - 8, 8))
            put(grams.first, found, row)
            put(grams.key, found, get(grams.key, k))
            found += shared
        left = found


@lean_kernel
def _list_candidates(n: int, num_words: int, listed: int, at: Any, grams: Grams) -> int:
    """Of the listed places keep those of n-grams as much of which may occur elsewhere as was looked at."""
    found = 0
    for k in range(listed):
        place, shared = get(grams.place, k), get(grams.gram, k)
        length = get(at, min(place + n, num_words)) - get(at, place)
        put(grams.place, found, place)
        put(grams.gram, found, shared)
        found += (place + n <= num_words) & ((length < _FIRST_PREFIX) | (shared >= min(length & ~7, _PREFIX)))
    return found


@lean_kernel
def _digest(packed: ByteArray, begin: int, length: int) -> int:
    """Hash of the length and of all bytes; shorter stretches than 16 as if zeros followed.

    Less than all would do for ordinary words; addresses that differ in the middle alone would all be compared in full.
    """
    first = load_word(packed, begin) & bits_below(8 * length)
    second = load_word(packed, begin + 8) & bits_below(max(8 * length - 64, 0))
    end = max(begin + length - 16, 0)
    one, other = secret(0), secret(1)
    for k in range(begin + 16, begin + length - 16, 8):
        first = fold(first ^ one, load_word(packed, k) ^ other)
    digest = fold(first ^ one, plus(second, length) ^ other)
    tail = fold(load_word(packed, end) ^ other, load_word(packed, end + 8) ^ one)
    return fold(digest ^ one, tail & -int(length >= 16) ^ other)


@lean_kernel
def _scan_copies(n: int, listed: int, at: Any, grams: Grams, room: JoinScratch) -> int:
    """Datatrove's scan: code points of n-grams equal to one seen before, joined with nothing; each hit jumps n words."""
    table, packed = grams.table, room.packed
    for k in range(listed):
        place = get(grams.place, k)
        put(grams.key, k, _digest(packed, get(at, place), get(at, place + n) - get(at, place)))
    _mark(listed, grams, room)
    found = 0
    for k in range(listed):
        put(grams.first, found, k)
        found += get(room.shared, k)
    mask = table_mask(found)
    clear(table, mask + 1)
    copied, free_from = 0, 0
    for candidate in range(found):
        k = get(grams.first, candidate)
        place, digest = get(grams.place, k), get(grams.key, k)
        if place < free_from:
            continue
        begin, length, slot = get(at, place), get(at, place + n) - get(at, place), slot_of(digest, mask)
        hit = False
        while get(table, slot) != 0 and not hit:
            other = get(table, slot) - 1
            start = get(at, get(grams.place, other))
            hit = (
                get(grams.key, other) == digest
                and get(at, get(grams.place, other) + n) - start == length
                and same_bytes(packed, start, begin, length)
            )
            slot = (slot + 1) & mask
        if hit:
            copied += get(grams.chars_before, place + n) - get(grams.chars_before, place)
            free_from = place + n
        else:
            put(table, slot, k + 1)
    return copied


@lean_kernel
def joined_copies(
    data: ByteArray, words: Words, bounds: tuple[int, int], grams: Grams, room: JoinScratch, chars: int, out: FloatArray
) -> None:
    """``duplicate_5_gram`` to ``duplicate_10_gram`` of datatrove for one text, of ``chars`` code points: fills ``out`` (6,).

    grams: whose ``chars_before`` is filled; everything else in it is scratch here.
    """
    num_words = bounds[1] - bounds[0]
    at = grams.word
    out[:] = 0.0
    if num_words < _SIZES[0]:
        return
    _pack(data, words, bounds[0], bounds[1], room.packed, at)
    listed = _list_shared(num_words, at, grams, room)
    _extend_shared(listed, at, grams, room)
    for n in _SIZES:
        if n > num_words or listed == 0:
            return
        listed = _list_candidates(n, num_words, listed, at, grams)
        out[n - _SIZES[0]] = _scan_copies(n, listed, at, grams, room) / chars
