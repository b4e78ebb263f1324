"""Lines, paragraphs and sentences as 64-bit hashes of their words, and which of a document's are copies of another."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.kernels.buffers import ByteArray, FlagArray, Int32Array, IntArray, TextBuffers, text_buffers
from operators.kernels.bytewise import code_point, count_chars, table_mask, trim
from operators.kernels.compiled import lean_kernel
from operators.kernels.fold import ALONE, CODE_BITS, LETTER, MARK, SEPARATOR, FoldTable, fold_table
from operators.kernels.segmentation import Segments, SpanRule
from operators.kernels.shingles import KeyArray
from operators.kernels.spans import Spans
from operators.kernels.unicode_table import unicode_flags

ByteFlags = npt.NDArray[np.uint8]

SOLE, FIRST, LATER = 0, 1, 2
"""A key that its document holds once, the first of several equal ones, and one that follows it."""

_CODE_MASK = np.uint64((1 << CODE_BITS) - 1)
_CODE_BITS = np.uint64(CODE_BITS)
_STARTS = np.uint64(1 << CODE_BITS)
# The odd 64-bit golden ratio, and the multipliers of murmur3's finisher.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_S29, _S33 = np.uint64(29), np.uint64(33)
_OUTSIDE, _IN_WORD, _AFTER_ALONE = np.uint64(0), np.uint64(1), np.uint64(2)


class Units(NamedTuple):
    """M stretches of N texts; those of text i are rows ``bounds[i]:bounds[i + 1]``. Only blanks lie between them."""

    bounds: IntArray
    """int64 (N + 1,)"""
    start: IntArray
    """int64 (M,), position of the first byte in the buffer of all texts; the blanks before a line belong to it."""
    end: IntArray
    """int64 (M,), behind the last byte that is no blank."""


@lean_kernel
def find_units(spans: Spans, joined: bool, units: Units) -> None:
    """Fill ``units`` with the spans that are not blank; joined: lines without a blank one between them make one unit."""
    row = 0
    units.bounds[0] = 0
    for text in range(spans.bounds.shape[0] - 1):
        before = -2  # where the line before ended, if that is part of the unit
        for span in range(spans.bounds[text], spans.bounds[text + 1]):
            start, last = spans.start[span], spans.start[span] + spans.size[span]
            if spans.trim_size[span] == 0:
                before = -2
                continue
            if joined and start == before + 1:
                row -= 1
            else:
                units.start[row] = start
            units.end[row] = spans.trim_start[span] + spans.trim_size[span]
            row += 1
            before = last
        units.bounds[text + 1] = row


@lean_kernel
def _mix(state: np.uint64, value: np.uint64) -> np.uint64:
    """One step of the hash: a bijection of the state for each value. The shift brings high bits down again."""
    state = (state ^ value) * _STEP
    return state ^ (state >> _S29)


@lean_kernel
def _finish(state: np.uint64) -> np.uint64:
    """Murmur3's 64-bit finisher, and 1 for 0, which says that there is no key."""
    state = (state ^ (state >> _S33)) * _MIX_1
    state = (state ^ (state >> _S33)) * _MIX_2
    state = state ^ (state >> _S33)
    return state if state != np.uint64(0) else np.uint64(1)


@lean_kernel
def _hash_words(data: ByteArray, first: int, last: int, fold: FoldTable) -> tuple[np.uint64, Any]:
    """(hash of the folded words of ``data[first:last]``, how many there are).

    ASCII goes without a branch that hangs on the text. A word's first character is told from the others, so that "ab c"
    and "a bc" differ.
    """
    state, words, inside, position = np.uint64(0), np.uint64(0), _OUTSIDE, first
    while position < last:
        byte = data[position]
        if byte < 0x80:
            entry = np.uint64(fold[np.uint64(byte)])
            letter = entry >> _CODE_BITS  # an ASCII character is a LETTER, 1, or a SEPARATOR, 0
            starts = letter & np.uint64(inside != _IN_WORD)
            mixed = _mix(state, (entry & _CODE_MASK) | starts << _CODE_BITS)
            state = mixed if letter != np.uint64(0) else state
            words += starts
            inside = letter
            position += 1
            continue
        code, size = code_point(data, position)
        position += size
        entry = np.uint64(fold[code])
        kind = entry >> _CODE_BITS
        value = entry & _CODE_MASK
        if kind == LETTER and inside == _IN_WORD:
            state = _mix(state, value)
        elif kind in (LETTER, ALONE):
            state = _mix(state, value | _STARTS)
            words += np.uint64(1)
            inside = _IN_WORD if kind == LETTER else _AFTER_ALONE
        elif kind == MARK and inside != _OUTSIDE:
            state = _mix(state, value)
        elif kind == SEPARATOR:
            inside = _OUTSIDE
    return state, np.int64(words)


@lean_kernel
def _hash_bytes(data: ByteArray, first: int, last: int) -> np.uint64:
    state = _STEP  # from 0 a NUL leads to 0: NULs in front would not count
    for position in range(first, last):
        state = _mix(state, np.uint64(data[position]))
    return state


@lean_kernel
def hash_units(
    data: ByteArray, flags: FlagArray, fold: FoldTable, units: Units, exact: bool, hashes: KeyArray, sizes: Int32Array
) -> None:
    """Fill ``hashes`` (M,) and ``sizes`` (2, M): words and code points of each stripped unit.

    exact: hash the stripped bytes, not the folded words.
    """
    for row in range(units.start.shape[0]):
        first, last, _ = trim(data, flags, units.start[row], units.end[row])
        state, words = _hash_words(data, first, last, fold)
        hashes[row] = _hash_bytes(data, first, last) if exact else state
        sizes[0, row] = words
        sizes[1, row] = count_chars(data, first, last)


@lean_kernel
def span_keys(
    bounds: IntArray, hashes: KeyArray, sizes: Int32Array, scopes: KeyArray, spans: int, min_chars: int, keys: KeyArray
) -> None:
    """Fill ``keys`` (M,): of the ``spans`` units of a text from each one on; 0 where there are fewer, or too short ones.

    scopes: uint64 (N,), what the keys of a text are to be told apart by. Long enough is what has a word, and
    ``min_chars`` characters or a third as many words: an ideograph, which is a word, says more than a letter.
    """
    for text in range(bounds.shape[0] - 1):
        last = bounds[text + 1]
        for row in range(bounds[text], last):
            keys[row] = np.uint64(0)
            if row + spans > last:
                continue
            state, words, chars = scopes[text], 0, 0
            for unit in range(row, row + spans):
                state = _mix(state, hashes[unit])
                words += sizes[0, unit]
                chars += sizes[1, unit]
            if words > 0 and (chars >= min_chars or 3 * words >= min_chars):
                keys[row] = _finish(state)


@lean_kernel
def copies_within(bounds: IntArray, keys: KeyArray, table: KeyArray, rows: IntArray, copies: ByteFlags) -> None:
    """Fill ``copies`` (M,) with SOLE, FIRST or LATER, by text; SOLE where there is no key.

    table, rows: scratch, at least ``table_mask(rows of the longest text) + 1`` long.
    """
    for text in range(bounds.shape[0] - 1):
        mask = table_mask(bounds[text + 1] - bounds[text])
        table[: mask + 1] = np.uint64(0)
        for row in range(bounds[text], bounds[text + 1]):
            copies[row] = SOLE
            key = keys[row]
            if key == np.uint64(0):
                continue
            slot = np.int64(key & np.uint64(mask))  # the key is a finished hash
            while table[slot] not in (np.uint64(0), key):
                slot = (slot + 1) & mask
            if table[slot] == key:
                copies[row] = LATER
                copies[rows[slot]] = FIRST
            else:
                table[slot] = key
                rows[slot] = row


def units_of(found: Segments, rule: SpanRule, *, joined: bool) -> Units:
    """The units of N texts: spans of a rule without the blank ones, or (``joined``) runs of adjacent lines."""
    spans = found.spans(rule)
    rows = len(spans.start)
    units = Units(np.empty(len(spans.bounds), np.int64), np.empty(rows, np.int64), np.empty(rows, np.int64))
    find_units(spans, joined, units)
    used = int(units.bounds[-1])
    return Units(units.bounds, units.start[:used], units.end[:used])


def unit_keys(
    texts: TextBuffers, units: Units, fold: FoldTable | None, scopes: KeyArray, spans: int, min_chars: int
) -> KeyArray:
    """The key of the ``spans`` units from each of M units on: uint64 (M,), 0 where there is none; see ``span_keys``.

    fold: the table by which words are folded; None: the stripped bytes count as they are.
    """
    rows = len(units.start)
    hashes, sizes, keys = np.empty(rows, np.uint64), np.empty((2, rows), np.int32), np.empty(rows, np.uint64)
    table = fold_table() if fold is None else fold
    hash_units(texts.data, unicode_flags(), table, units, fold is None, hashes, sizes)
    span_keys(units.bounds, hashes, sizes, scopes, spans, min_chars, keys)
    return keys


def copies_in_text(units: Units, keys: KeyArray) -> ByteFlags:
    """uint8 (M,): SOLE, FIRST or LATER."""
    copies = np.empty(len(keys), np.uint8)
    slots = table_mask(int(np.diff(units.bounds).max(initial=0))) + 1
    copies_within(units.bounds, keys, np.empty(slots, np.uint64), np.empty(slots, np.int64), copies)
    return copies


def digits_folded(table: FoldTable) -> FoldTable:
    """The fold table with every digit of every script made 0."""
    code = table & np.uint32((1 << CODE_BITS) - 1)
    digit = (table >> np.uint32(CODE_BITS) == LETTER) & (code >= ord("0")) & (code <= ord("9"))
    folded = np.where(digit, np.uint32(LETTER << CODE_BITS | ord("0")), table).astype(np.uint32)
    folded.setflags(write=table.flags.writeable)
    return folded


def warm() -> None:
    """Compile the kernels of this module."""
    found = Segments(text_buffers(pa.array(["One line.\n\nAnd 文."], pa.large_string())))
    units = units_of(found, "nonempty_lines", joined=False)
    copies_in_text(units, unit_keys(found.texts, units, fold_table(), np.zeros(1, np.uint64), 1, 0))
