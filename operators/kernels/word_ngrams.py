"""Kernels that number words and n-grams of words, so that equal ones have one number, and count them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.blocks import get, put
from operators.kernels.buffers import ByteArray
from operators.kernels.bytewise import load_word, same_bytes, slot_of, table_mask
from operators.kernels.compiled import lean_kernel
from operators.kernels.scratch import scratch
from operators.kernels.shared_hashes import clear
from operators.kernels.words import Words

_COUNTERS = 1 << 16
"""Of ``Grams.most``: 256 KiB, half of a second-level cache."""
_FIRST_ROOM = 512
"""Entries a table is made for at first. It grows with what is really different, so that it mostly stays in the cache."""

Int32s = npt.NDArray[np.int32]


class Grams(NamedTuple):
    """Scratch for one text of up to M words. Numbers start at 1."""

    table: Int32s
    """Open addressing over ``key``: a number in each slot, 0 where free; room for 8 M slots, so that few collide."""
    key: npt.NDArray[np.int64]
    """What has the number: the hash of a word, or the number of an (n - 1)-gram and that of the word behind it."""
    count: Int32s
    """(2, M + 1): how often it occurs, even n in row 0 and odd n in row 1, words being n = 1."""
    first: Int32s
    """Where it occurs first: of words the row less the first row, of n-grams the place."""
    word: Int32s
    """The number of the word at each place."""
    chars_before: Int32s
    """(M + 1,): code points of the words before each place."""
    place: Int32s
    """Of n-grams that may occur again: the place, ascending."""
    gram: Int32s
    """Of the same n-grams: the number."""
    most: Int32s
    """(_COUNTERS,): how often words or n-grams of a hash occur, so that none of them occurs more often."""


def room_for(longest: int) -> Grams:
    """Scratch for texts of up to ``longest`` words."""
    rows = longest + 2
    table, counts = scratch(8 * rows, np.int32, np.int32)
    key, first, word, chars_before, place, gram = scratch(rows, np.int64, *(np.int32,) * 5)
    most = scratch(_COUNTERS, np.int32)[0]
    return Grams(table, key, counts[: 2 * rows].reshape(2, rows), first, word, chars_before, place, gram, most)


@lean_kernel
def _grow(key: Any, entries: int, table: Any, mask: int) -> int:
    """Double the table; returns the new mask."""
    mask = 2 * mask + 1
    clear(table, mask + 1)
    for number in range(1, entries + 1):
        slot = slot_of(get(key, number), mask)
        while get(table, slot) != 0:
            slot = (slot + 1) & mask
        put(table, slot, number)
    return mask


@lean_kernel
def _count_up(number: int, different: int, slot: int, key: int, count: Any, grams: Grams) -> tuple[int, int]:
    """Count an entry found in a slot, 0 for a new one; returns (how many are different now, its number).

    Whether something was seen before is left to chance by nature, so no branch may hang on it: number 0, that of free
    slots, stands for the entry in hand, with its key, its place, and a count of 0.
    """
    new = int(number == 0)
    different += new
    last, first = get(count, number), get(grams.first, number)
    number += new * different
    put(grams.table, slot, number)
    put(grams.key, number, key)
    put(count, number, last + 1)
    put(grams.first, number, first)
    return different, number


@lean_kernel
def _find_word(data: ByteArray, words: Words, first: int, row: int, mask: int, grams: Grams) -> tuple[int, int]:
    """(slot, number) of a word; number 0, with its key and place, where it is new."""
    digest = get(words.hash, row)
    put(grams.key, 0, digest)
    put(grams.first, 0, row - first)
    slot = slot_of(digest, mask)
    while True:
        number = get(grams.table, slot)
        if get(grams.key, number) == digest:
            if digest >= 0:
                return slot, number
            other, size = first + get(grams.first, number), get(words.size, row)
            if get(words.size, other) == size:
                one, two = get(words.start, other), get(words.start, row)
                differ = load_word(data, one) ^ load_word(data, two)
                differ |= load_word(data, one + size - 8) ^ load_word(data, two + size - 8)
                if differ == 0 and (size <= 16 or same_bytes(data, one, two, size)):
                    return slot, number
        slot = (slot + 1) & mask


@lean_kernel
def _count_at_most(slot: int, most: Any) -> None:
    put(most, slot, get(most, slot) + 1)


@lean_kernel
def number_words(
    data: ByteArray, words: Words, first: int, last: int, drop_marks: bool, grams: Grams
) -> tuple[int, int]:
    """Number the words of one text; returns (words, different words). ``drop_marks``: leave out those without alphanumerics."""
    return number_frequent(data, words, (first, last), drop_marks, 2, grams)


@lean_kernel
def number_frequent(
    data: ByteArray, words: Words, bounds: tuple[int, int], drop_marks: bool, least: int, grams: Grams
) -> tuple[int, int]:
    """``number_words`` for which words that occur less than ``least`` times may all have number 0, if that is above 2.

    So many different words as a text of 50 MB has fill tables of which every look-up waits for memory; those that occur
    often stay in the cache, and a small table of counters tells them from most others beforehand.
    """
    first, last = bounds
    count, most = grams.count[1], grams.most
    mask = 2 * table_mask(min(last - first, _FIRST_ROOM)) + 1
    clear(grams.table, mask + 1)
    if least > 2:
        clear(most, _COUNTERS)
        for row in range(first, last):
            _count_at_most(slot_of(get(words.hash, row), _COUNTERS - 1), most)
    put(count, 0, 0)
    kept, different, chars = 0, 0, 0
    put(grams.chars_before, 0, 0)
    for row in range(first, last):
        if drop_marks and get(words.flags, row) & 12 == 0:  # ALPHA | NUMERIC
            continue
        number = 0
        if least == 2 or get(most, slot_of(get(words.hash, row), _COUNTERS - 1)) >= least:
            slot, number = _find_word(data, words, first, row, mask, grams)
            different, number = _count_up(number, different, slot, get(words.hash, row), count, grams)
        put(grams.word, kept, number)
        chars += get(words.chars, row)
        kept += 1
        put(grams.chars_before, kept, chars)
        if 4 * different > mask:
            mask = _grow(grams.key, different, grams.table, mask)
    return kept, different


@lean_kernel
def _list_pairs(num_words: int, least: int, grams: Grams) -> int:
    """List the places of two words both of which occur ``least`` times; returns how many there are."""
    count, found = grams.count[1], 0
    left = get(grams.word, 0)
    often = get(count, left) >= least
    for place in range(num_words - 1):
        put(grams.place, found, place)
        put(grams.gram, found, left)
        left = get(grams.word, place + 1)
        before = often
        often = get(count, left) >= least
        found += before & often
    return found


@lean_kernel
def _list_longer(listed: int, least: int, count: Any, grams: Grams) -> int:
    """Of the ``listed`` (n - 1)-grams, keep those that occur ``least`` times and overlap with the next, which does too."""
    found = 0
    for k in range(listed - 1):
        place, left, right = get(grams.place, k), get(grams.gram, k), get(grams.gram, k + 1)
        adjacent = get(grams.place, k + 1) == place + 1
        put(grams.place, found, place)
        put(grams.gram, found, left)
        found += (get(count, left) >= least) & (get(count, right) >= least) & adjacent
    return found


@lean_kernel
def _pair(n: int, k: int, grams: Grams) -> int:
    """Of a listed n-gram: the number of the first (n - 1)-gram in it, and that of the last word."""
    return get(grams.gram, k) << 32 | get(grams.word, get(grams.place, k) + n - 1)


@lean_kernel
def _drop_rare(n: int, listed: int, least: int, grams: Grams) -> int:
    """Of the listed n-grams drop most of those that occur less than ``least`` times, before they get numbers."""
    clear(grams.most, _COUNTERS)
    for k in range(listed):
        _count_at_most(slot_of(_pair(n, k, grams), _COUNTERS - 1), grams.most)
    found = 0
    for k in range(listed):
        slot = slot_of(_pair(n, k, grams), _COUNTERS - 1)
        put(grams.place, found, get(grams.place, k))
        put(grams.gram, found, get(grams.gram, k))
        found += get(grams.most, slot) >= least
    return found


@lean_kernel
def next_level(n: int, num_words: int, listed: int, least: int, grams: Grams) -> tuple[int, int]:
    """From the ``listed`` (n - 1)-grams (of words, for n = 2: any number) go on to n-grams.

    An n-gram occurs less than ``least`` (2 and more) times if either (n - 1)-gram in it does, and is then left out: in
    ordinary text and with 2 that leaves next to nothing to do from n = 4 on. Returns (how many are listed, how many are
    different); fills place, gram, count, first.
    """
    if n == 2:
        found = _list_pairs(num_words, least, grams)
    else:
        found = _list_longer(listed, least, grams.count[n & 1 ^ 1], grams)
    if least > 2:
        found = _drop_rare(n, found, least, grams)
    table, key, count = grams.table, grams.key, grams.count[n & 1]
    mask = 2 * table_mask(min(found, _FIRST_ROOM)) + 1
    clear(table, mask + 1)
    put(count, 0, 0)
    different = 0
    for k in range(found):
        pair = _pair(n, k, grams)
        put(key, 0, pair)
        put(grams.first, 0, get(grams.place, k))
        slot = slot_of(pair, mask)
        number = get(table, slot)
        while get(key, number) != pair:
            slot = (slot + 1) & mask
            number = get(table, slot)
        different, number = _count_up(number, different, slot, pair, count, grams)
        put(grams.gram, k, number)
        if 4 * different > mask:
            mask = _grow(key, different, table, mask)
    return found, different


@lean_kernel
def most_frequent(n: int, different: int, longest: bool, grams: Grams) -> tuple[int, int]:
    """(code points of the most frequent n-gram without blanks, its count); of equals the first, or the longest."""
    count, before = grams.count[n & 1], grams.chars_before
    best = 1
    for number in range(1, different + 1):
        best = max(best, get(count, number))
    if best == 1:
        return get(before, n), 1
    chars = -1
    for number in range(1, different + 1):
        if get(count, number) == best and (chars < 0 or longest):
            place = get(grams.first, number)
            chars = max(chars, get(before, place + n) - get(before, place))
    return chars, best


@lean_kernel
def repeated_chars(n: int, listed: int, grams: Grams) -> tuple[int, int]:
    """Code points in n-grams that occur more than once: (each counted once, counted in every n-gram it is in)."""
    count, before = grams.count[n & 1], grams.chars_before
    covered, inside, reached = 0, 0, 0
    for k in range(listed):
        if get(count, get(grams.gram, k)) > 1:
            place = get(grams.place, k)
            inside += get(before, place + n) - get(before, place)
            covered += get(before, place + n) - get(before, max(place, reached))
            reached = place + n
    return covered, inside


@lean_kernel
def all_chars(n: int, num_words: int, grams: Grams) -> int:
    """Code points of all n-grams."""
    total = 0
    for place in range(num_words - n + 1):
        total += get(grams.chars_before, place + n) - get(grams.chars_before, place)
    return total
