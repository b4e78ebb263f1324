"""English words as spaCy's blank tokenizer for English finds them, which datatrove has used since 0.4.

A stretch without blanks is looked up whole, then loses prefixes and suffixes one by one; what is left stays whole if the
tables or the pattern of addresses know it, and is cut at infixes otherwise. At last, words of the tables that were cut with
their neighbours (":)" in "hello:)") are put together again.

Source: the algorithm of spaCy 3.8 (spacy.io/usage/linguistic-features#how-tokenizer-works), Honnibal et al.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pyarrow as pa

from operators.kernels.buffers import ByteArray, FlagArray, TextBuffers, text_buffers
from operators.kernels.bytewise import code_point
from operators.kernels.compiled import lean_kernel
from operators.kernels.spacy_addresses import is_address
from operators.kernels.spacy_affixes import infix_size, prefix_size, suffix_size
from operators.kernels.spacy_rules import LONGEST, Rules, look, no_entries, row_of, spacy_tables
from operators.kernels.unicode_table import SPACE, unicode_flags
from operators.kernels.words import Words, measure


@lean_kernel
def _put(first: int, last: int, row: int, words: Words) -> int:
    """Write where a word begins in its text and, for the time being as its size, where it ends; returns the next row."""
    words.start[row], words.size[row] = first, last
    return row + 1


@lean_kernel
def _put_pieces(first: int, last: int, cuts: int, row: int, words: Words) -> int:
    """Write the pieces of a word of the tables."""
    begin = first
    for position in range(first + 1, last + 1):
        if position == last or cuts >> (position - first) & 1:
            row = _put(begin, position, row, words)
            begin = position
    return row


@lean_kernel
def _is_plain(data: ByteArray, first: int, last: int) -> bool:
    """Whether all are ASCII letters, as in most words: nothing is cut off those."""
    while first < last and 97 <= data[first] | 32 <= 122:
        first += 1
    return first == last


@lean_kernel
def _put_core(data: ByteArray, flags: FlagArray, rules: Rules, first: int, last: int, row: int, words: Words) -> int:
    """Write what is left between prefixes and suffixes."""
    special = row_of(rules.specials, data, first, last)
    if special >= 0:
        return _put_pieces(first, last, rules.specials.cuts[special], row, words)
    if _is_plain(data, first, last) or is_address(data, flags, rules.classes, first, last):
        return _put(first, last, row, words)
    begin = position = first
    while position < last:
        cut = infix_size(data, rules, first, position, last)
        if cut == 0:
            position += code_point(data, position)[1]
            continue
        if position > first:
            if position > begin:
                row = _put(begin, position, row, words)
            row = _put(position, position + cut, row, words)
            begin = position + cut
        position += cut
    return _put(begin, last, row, words) if begin < last else row


@lean_kernel
def _put_stretch(data: ByteArray, flags: FlagArray, rules: Rules, first: int, last: int, row: int, words: Words) -> int:
    """Words of a stretch without blanks; the caller has seen that there is room for one a byte.

    Suffixes wait at the end of ``words``, outermost last, until what stands before them is written.
    """
    room = words.start.shape[0]
    waiting = room
    while first < last and not _is_plain(data, first, last) and row_of(rules.specials, data, first, last) < 0:
        before = prefix_size(data, rules, first, last)
        if before and row_of(rules.specials, data, first + before, last) >= 0:
            row = _put(first, first + before, row, words)
            first += before
            break
        after = suffix_size(data, rules, first + before, last)
        known = after and row_of(rules.specials, data, first, last - after) >= 0
        if before and not known:
            row = _put(first, first + before, row, words)
            first += before
        if after:
            waiting -= 1
            words.start[waiting], words.size[waiting] = last - after, last
            last -= after
        if known or before + after == 0:
            break
    if first < last:
        row = _put_core(data, flags, rules, first, last, row, words)
    while waiting < room:
        row = _put(words.start[waiting], words.size[waiting], row, words)
        waiting += 1
    return row


@lean_kernel
def _pattern(words: Words, row: int, end: int) -> int:
    """Where rows from ``row`` to ``end`` begin, counted from the first: bit k for byte k."""
    bits = 0
    for k in range(row, end):
        bits |= 1 << (words.start[k] - words.start[row])
    return bits


@lean_kernel
def _join(data: ByteArray, rules: Rules, row: int, end: int, words: Words) -> int:
    """Put words of the tables together again that were cut like any other stretch; returns the new end.

    rows ``row`` to ``end`` are those of one stretch. The longest go first, of equally long ones the leftmost.
    """
    specials, found = rules.specials, False
    for k in range(row, end):
        words.chars[k] = 0
    for count in range(min(rules.most_cut, end - row), 1, -1):
        for k in range(row, end - count + 1):
            first, last = words.start[k], words.size[k + count - 1]
            if last - first > LONGEST or words.chars[k] or words.chars[k + count - 1]:
                continue
            special = row_of(specials, data, first, last)
            if special >= 0 and rules.cut_as[special] == _pattern(words, k, k + count):
                words.chars[k : k + count] = -1
                words.chars[k] = special + 1
                found = True
    if not found:
        return end
    to = row
    for k in range(row, end):
        first, last, mark = words.start[k], words.size[k], words.chars[k]
        if mark == 0:
            to = _put(first, last, to, words)
        elif mark > 0:
            size = specials.start[mark] - specials.start[mark - 1]
            to = _put_pieces(first, first + size, specials.cuts[mark - 1], to, words)
    return to


@lean_kernel
def _plain_end(data: ByteArray, maybe: ByteArray, first: int, last: int) -> int:
    """Where the ASCII letters end that the stretch is, but for one mark at its end; -1 where it is anything else.

    Such a stretch, if the tables cannot know it with or without the mark, is one word, or one and the mark: nine in ten are.
    """
    stop = first
    while stop < last and 97 <= data[stop] | 32 <= 122:
        stop += 1
    if stop == first or last - stop > 1 or maybe[look(data, first, stop)]:
        return -1
    if stop < last:
        mark = data[stop]
        cut = mark in (33, 41, 44, 58, 59, 63) or (mark == 46 and data[stop - 1] >= 97)  # ! ) , : ; ? and . after a-z
        if not cut or maybe[look(data, first, last)]:
            return -1
    return stop


@lean_kernel
def _words_of(data: ByteArray, flags: FlagArray, rules: Rules, position: int, end: int, row: int, words: Words) -> int:
    """Words of one text; returns the next row, or -1 when there is no room."""
    room, maybe = words.start.shape[0], rules.specials.maybe
    while position < end:
        code, size = code_point(data, position)
        if flags[code] & SPACE:
            position += size
            continue
        first = position
        while position < end:
            code, size = code_point(data, position)
            if flags[code] & SPACE:
                break
            position += size
        if room - row < position - first:
            return -1
        plain = _plain_end(data, maybe, first, position)
        if plain > 0:
            row = _put(first, plain, row, words)
            row = _put(plain, position, row, words) if plain < position else row
            continue
        stop = _put_stretch(data, flags, rules, first, position, row, words)
        row = _join(data, rules, row, stop, words) if stop - row > 1 else stop
    return row


@lean_kernel
def find_spacy_words(texts: TextBuffers, flags: FlagArray, rules: Rules, first_text: int, words: Words) -> int:
    """Fill ``words`` from text ``first_text`` on, as ``words.find_words`` does; returns the first text without room."""
    for text in range(first_text, texts.offsets.shape[0] - 1):
        row = words.bounds[text]
        if texts.valid[text]:
            begin = texts.offsets[text]
            data = texts.data[begin:]
            end = _words_of(data, flags, rules, 0, texts.offsets[text + 1] - begin, row, words)
            if end < 0:
                return text
            measure(data, flags, 0, row, end, words)
            for k in range(row, end):
                words.start[k] += begin
            row = end
        words.bounds[text + 1] = row
    return texts.offsets.shape[0] - 1


@cache
def spacy_rules() -> Rules:
    """The tables, with how each special would be cut; made once per process."""
    rules = spacy_tables()
    specials = rules.specials
    count = len(specials.cuts)
    text = pa.array([one.decode() for one in _listed(specials.data, specials.start)], pa.large_string())
    most = int(specials.start[-1])
    words = Words(
        np.zeros(count + 1, np.int64), np.zeros(most, np.int64), np.zeros(most, np.int32), np.zeros(most, np.int32),
        np.zeros(most, np.int64), np.zeros(most, np.uint16),
    )  # fmt: skip
    find_spacy_words(text_buffers(text), unicode_flags(), rules._replace(specials=no_entries()), 0, words)
    cut_as, most_cut = np.zeros(count, np.int64), 1
    for row in range(count):
        begins = words.start[words.bounds[row] : words.bounds[row + 1]] - specials.start[row]
        # A special of more pieces than it would be cut into has no room to be put in their place; there is none.
        if len(begins) > 1 and len(begins) >= int(specials.cuts[row]).bit_count():
            cut_as[row] = sum(1 << int(begin) for begin in begins)
            most_cut = max(most_cut, len(begins))
    return rules._replace(cut_as=cut_as, most_cut=most_cut)


def _listed(data: np.ndarray, start: np.ndarray) -> list[bytes]:
    return [data[first:last].tobytes() for first, last in pairwise(start)]
