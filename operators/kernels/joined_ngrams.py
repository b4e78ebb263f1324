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
            put(grams.gram, row, size if shared else (size - 8) & -int(size > _FIRST_PREFIX))
            put(grams.first, found, row)
            put(grams.key, found, get(grams.key, k))
            found += shared
        left = found
        if left == 0:
            return


@lean_kernel
def _mark_short(listed: int, at: Any, grams: Grams, room: JoinScratch) -> None:
    """Set bit 0 of ``grams.gram`` of the listed places whose 5 words are below 16 bytes and may occur elsewhere."""
    left = 0
    for k in range(listed):
        place = get(grams.place, k)
        begin, end = get(at, place), get(at, place + 5)
        width = min(end - begin, 8)
        inside = bits_below(8 * width)
        head, tail = load_word(room.packed, begin) & inside, load_word(room.packed, end - width) & inside
        put(grams.first, left, k)
        put(grams.key, left, fold(head ^ secret(0), plus(tail, end - begin) ^ secret(1)))
        left += end - begin < _FIRST_PREFIX
    _mark(left, grams, room)
    for k in range(left):
        row = get(grams.first, k)
        put(grams.gram, row, get(grams.gram, row) | get(room.shared, k))


@lean_kernel
def _needed(length: int) -> int:
    """Bytes that must occur elsewhere for an n-gram of so many bytes to do so, of those looked at; 0 for short ones."""
    return min(length & ~7, _PREFIX) & -int(length >= _FIRST_PREFIX)


@lean_kernel
def _list_candidates(n: int, num_words: int, listed: int, at: Any, grams: Grams) -> tuple[int, int]:
    """List in ``grams.first`` the places whose n-gram may occur elsewhere; keep those whose (n + 1)-gram may.

    Returns how many there are of the latter and of the former. An n-gram may occur elsewhere if as much of it may as was
    looked at: for 5-grams below 16 bytes all of it, for longer n-grams below 16 bytes nothing.
    """
    kept, found, least = 0, 0, int(n == _SIZES[0])
    for k in range(listed):
        place, shared = get(grams.place, k), get(grams.gram, k)
        begin, stop = get(at, place), place + n
        length = get(at, min(stop, num_words)) - begin
        longer = get(at, min(stop + 1, num_words)) - begin
        put(grams.place, kept, place)
        put(grams.gram, kept, shared)
        put(grams.first, found, place)
        kept += int(stop < num_words) & int(shared >= _needed(longer))
        found += int(stop <= num_words) & int(shared | int(length >= _FIRST_PREFIX) >= _needed(length) | least)
    return kept, found


@lean_kernel
def _digest(packed: ByteArray, begin: int, length: int) -> int:
    """Hash of the length and of all bytes: of both ends, up to 32 bytes without a branch, and of what lies between.

    Less than all would do for ordinary words; addresses that differ in the middle alone would all be compared in full.
    """
    end, width, half = begin + length, min(length, 8), 8 * int(length >= 16)
    inside, one, other = bits_below(8 * width), secret(0), secret(1)
    head, tail = load_word(packed, begin) & inside, load_word(packed, end - width) & inside
    second, last = load_word(packed, begin + half) & inside, load_word(packed, end - width - half) & inside
    digest = fold(head ^ one, plus(tail, length) ^ other)
    for k in range(begin + 16, end - 16, 8):
        digest = fold(digest ^ one, load_word(packed, k) ^ other)
    return fold(digest ^ second, last ^ other)


@lean_kernel
def _drop_single(n: int, candidates: int, at: Any, grams: Grams, room: JoinScratch) -> int:
    """Of the places in ``grams.first`` keep those whose n-grams may occur elsewhere, with their hashes in ``grams.key``."""
    for k in range(candidates):
        place = get(grams.first, k)
        put(grams.key, k, _digest(room.packed, get(at, place), get(at, place + n) - get(at, place)))
    _mark(candidates, grams, room)
    found = 0
    for k in range(candidates):
        put(grams.first, found, get(grams.first, k))
        put(grams.key, found, get(grams.key, k))
        found += get(room.shared, k)
    return found


@lean_kernel
def _scan_copies(n: int, candidates: int, at: Any, grams: Grams, room: JoinScratch) -> int:
    """Datatrove's scan: code points of n-grams equal to one seen before, joined with nothing; each hit jumps n words.

    candidates: how many places stand in ``grams.first``, ascending.
    """
    table, packed = grams.table, room.packed
    if candidates < 2:
        return 0
    hashed = candidates > room.part_rows
    if hashed:
        candidates = _drop_single(n, candidates, at, grams, room)
    mask = table_mask(candidates)
    clear(table, mask + 1)
    copied, free_from = 0, 0
    for k in range(candidates):
        place = get(grams.first, k)
        if place < free_from:
            continue
        begin, length = get(at, place), get(at, place + n) - get(at, place)
        digest = get(grams.key, k) if hashed else _digest(packed, begin, length)
        slot = slot_of(digest, mask)
        hit = False
        while get(table, slot) != 0 and not hit:
            other = get(table, slot) - 1
            start = get(at, get(grams.first, other))
            hit = (
                get(grams.key, other) == digest
                and get(at, get(grams.first, other) + n) - start == length
                and same_bytes(packed, start, begin, length)
            )
            slot = (slot + 1) & mask
        if hit:
            copied += get(grams.chars_before, place + n) - get(grams.chars_before, place)
            free_from = place + n
        else:
            put(grams.key, k, digest)
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
    _mark_short(listed, at, grams, room)
    for n in _SIZES:
        if n > num_words or listed == 0:
            return
        listed, candidates = _list_candidates(n, num_words, listed, at, grams)
        out[n - _SIZES[0]] = _scan_copies(n, candidates, at, grams, room) / chars
