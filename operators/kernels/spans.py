"""Kernels that find lines, paragraphs and sentences."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.blocks import BLOCK, bits_below, bits_from, first_bit, get, last_bit, one_of, put
from operators.kernels.buffers import ByteArray, FlagArray, TextBuffers
from operators.kernels.bytewise import (
    code_point,
    code_point_before,
    count_chars,
    hash_bytes,
    is_abbreviation,
    is_closer,
    is_final_dot,
    next_byte,
    next_solid,
    trim,
)
from operators.kernels.compiled import lean_kernel
from operators.kernels.unicode_table import LINE_BREAK, LOWER, SENTENCE_END, SPACE

LINES = 0
SPLITLINES = 1
PARAGRAPHS = 2
SENTENCES = 3
NONEMPTY_LINES = 4

_line_feeds = one_of(b"\n")
_breaks = one_of(b"\n\v\f\r\x1c\x1d\x1e\xc2\xe2")
"""First bytes of all line breaks."""
_ends = one_of((*b".!?", 0xD8, 0xDB, 0xDC, 0xDF, *range(0xE0, 0xE4), 0xEA, 0xEF))
"""First bytes of all end marks."""
_NEAR = 16
_blanks_near = one_of((code for code in range(128) if chr(code).isspace()), _NEAR, whole=True)
_dots_and_high = one_of((46, *range(128, 256)), _NEAR, whole=True)

_HIGH = -0x7F7F7F7F7F7F7F80


class Spans(NamedTuple):
    """M stretches of N texts; those of text i are rows ``bounds[i]:bounds[i + 1]``."""

    bounds: npt.NDArray[np.int64]
    """int64 (N + 1,)"""
    start: npt.NDArray[np.int64]
    """int64 (M,), position of the first byte in the buffer of all texts."""
    size: npt.NDArray[np.int32]
    """int32 (M,), bytes."""
    chars: npt.NDArray[np.int32]
    """int32 (M,), code points."""
    hash: npt.NDArray[np.int64]
    """int64 (M,), of the bytes."""
    trim_start: npt.NDArray[np.int64]
    """The same four of the stretch as ``str.strip()`` leaves it."""
    trim_size: npt.NDArray[np.int32]
    trim_chars: npt.NDArray[np.int32]
    trim_hash: npt.NDArray[np.int64]


@lean_kernel
def _emit(data: ByteArray, flags: FlagArray, first: int, last: int, row: int, spans: Spans) -> int:
    """Write the stretch ``data[first:last]`` to a row; returns the next row, or -1 when there is no room."""
    if row >= spans.start.shape[0]:
        return -1
    trim_first, trim_last, taken = trim(data, flags, first, last)
    chars = count_chars(data, first, last)
    whole = hash_bytes(data, first, last)
    same = trim_first == first and trim_last == last
    put(spans.start, row, first)
    put(spans.size, row, last - first)
    put(spans.chars, row, chars)
    put(spans.hash, row, whole)
    put(spans.trim_start, row, trim_first)
    put(spans.trim_size, row, trim_last - trim_first)
    put(spans.trim_chars, row, chars - taken)
    put(spans.trim_hash, row, whole if same else hash_bytes(data, trim_first, trim_last))
    return row + 1


@lean_kernel
def _line_spans(data: ByteArray, flags: FlagArray, first: int, last: int, empty: bool, row: int, spans: Spans) -> int:
    """Split at each line feed; with or without the empty lines."""
    block = first
    while block < last:
        breaks = _line_feeds(data, block) & bits_below(last - block)
        while breaks != 0:
            stop = block + first_bit(breaks)
            if empty or stop > first:
                row = _emit(data, flags, first, stop, row, spans)
                if row < 0:
                    return row
            first = stop + 1
            breaks &= breaks - 1
        block += BLOCK
    return _emit(data, flags, first, last, row, spans) if empty or last > first else row


@lean_kernel
def next_break(data: ByteArray, flags: FlagArray, position: int, last: int) -> tuple[int, int]:
    """(position of the first line break of any kind from ``position`` on, or ``last``; its bytes)."""
    while position < last:
        breaks = _breaks(data, position) & bits_below(last - position)
        while breaks != 0:
            stop = position + first_bit(breaks)
            code, size = code_point(data, stop)
            if flags[code] & LINE_BREAK:
                return stop, size + (code == 13 and stop + 1 < last and data[stop + 1] == 10)
            breaks &= breaks - 1
        position += BLOCK
    return last, 0


@lean_kernel
def _splitlines_spans(data: ByteArray, flags: FlagArray, first: int, last: int, row: int, spans: Spans) -> int:
    """``text.splitlines()``."""
    while first < last:
        stop, size = next_break(data, flags, first, last)
        row = _emit(data, flags, first, stop, row, spans)
        if row < 0:
            return row
        first = stop + size
    return row


@lean_kernel
def _paragraph_spans(data: ByteArray, flags: FlagArray, first: int, last: int, row: int, spans: Spans) -> int:
    """The stripped text, split at runs of two line feeds and more."""
    first, last, _ = trim(data, flags, first, last)
    position = next_byte(data, first, last, 10)
    while position < last:
        if data[position + 1] == 10:  # the stripped text does not end in a line feed
            row = _emit(data, flags, first, position, row, spans)
            if row < 0:
                return row
            while data[position] == 10:
                position += 1
            first = position
        position = next_byte(data, position + 1, last, 10)
    return _emit(data, flags, first, last, row, spans)


@lean_kernel
def sentence_stop(data: ByteArray, flags: FlagArray, first: int, position: int, last: int) -> tuple[int, int]:
    """(end of the sentence whose end marks start at ``position``, or 0 if none ends there; end of the run of marks).

    first: where the sentence began. Closing quotes belong to the sentence. Marks of a script with blanks need white
    space or the end behind them; a dot must not end an abbreviation, several dots not stand before a lower-case word;
    。！？ and their like need nothing.
    """
    marks, wide, dots_only = position, False, True
    while marks < last:
        code, size = code_point(data, marks)
        if not flags[code] & SENTENCE_END:
            break
        wide |= 0x3000 <= code <= 0xFFFF
        dots_only &= code == 46
        marks += size
    stop = marks
    size = is_closer(data, stop, last)
    while size > 0:
        stop += size
        size = is_closer(data, stop, last)
    if wide or stop >= last:
        return stop, marks
    if not flags[code_point(data, stop)[0]] & SPACE:
        return 0, marks
    if dots_only and marks - position > 1:
        following = next_solid(data, flags, stop, last)
        return (0 if following < last and flags[code_point(data, following)[0]] & LOWER else stop), marks
    if dots_only:
        word = position
        while word > first:
            code, size = code_point_before(data, word)
            if flags[code] & SPACE:
                break
            word -= size
        if not is_final_dot(data, flags, word, marks - 1, last):
            return 0, marks
    return stop, marks


@lean_kernel
def _plain_end(data: ByteArray, begin: int, position: int, last: int) -> int:
    """Whether the sentence from ``begin`` on ends at a mark where the bytes next to it tell (1 or 0), else -1.

    They do for an ASCII mark at the very end or before a letter or digit, and before a blank, of a dot behind an ASCII word.
    """
    byte, following = get(data, position), get(data, position + 1) if position + 1 < last else -1
    if byte >= 128 or position < _NEAR:
        return -1
    if following < 0:
        return 1
    if 48 <= following <= 57 or 97 <= (following | 32) <= 122:
        return 0
    if following != 32 and following != 10:
        return -1
    if byte != 46:
        return 1
    blank = last_bit(_blanks_near(data, position - _NEAR))
    size = _NEAR - 1 - blank
    inner = _dots_and_high(data, position - _NEAR) >> (blank + 1)
    if blank < 0 or size == 0 or inner != 0 or position - size < begin:
        return -1
    return 1 if size > 4 or not is_abbreviation(data, position - size, position) else -1


@lean_kernel
def count_sentences(data: ByteArray, flags: FlagArray, first: int, last: int) -> int:
    """Sentences of ``data[first:last]``, an unfinished last one included."""
    sentences, begin, reach, block = 0, first, first, first
    while block < last:
        marks = _ends(data, block) & bits_below(last - block) & bits_from(max(reach - block, 0))
        while marks != 0:
            position = block + first_bit(marks)
            marks &= marks - 1
            plain = _plain_end(data, begin, position, last)
            if plain >= 0:
                sentences += plain
                begin = position + 1 if plain else begin
            elif get(data, position) < 128 or flags[code_point(data, position)[0]] & SENTENCE_END:
                stop, reach = sentence_stop(data, flags, begin, position, last)
                reach = max(stop, reach)
                sentences += stop > 0
                begin = reach if stop > 0 else begin
                marks &= bits_from(reach - block)
        block += BLOCK
    return sentences + (next_solid(data, flags, begin, last) < last)


@lean_kernel
def _sentence_spans(data: ByteArray, flags: FlagArray, first: int, last: int, row: int, spans: Spans) -> int:
    """The sentences that ``count_sentences`` counts; white space between two belongs to neither."""
    begin, position = -1, first
    while position < last:
        code, size = code_point(data, position)
        if begin < 0 and not flags[code] & SPACE:
            begin = position
        if flags[code] & SENTENCE_END:
            stop, marks = sentence_stop(data, flags, begin, position, last)
            if stop > 0:
                row = _emit(data, flags, begin, stop, row, spans)
                if row < 0:
                    return row
                begin = -1
            position = max(stop, marks)
        else:
            position += size
    return _emit(data, flags, begin, last, row, spans) if begin >= 0 else row


@lean_kernel
def find_spans(texts: TextBuffers, flags: FlagArray, what: int, first_text: int, spans: Spans) -> int:
    """Fill ``spans`` from text ``first_text`` on; returns the first text that found no room (N when all are done)."""
    data, offsets = texts.data, texts.offsets
    for text in range(first_text, offsets.shape[0] - 1):
        row = spans.bounds[text]
        first, last = offsets[text], offsets[text + 1]
        if texts.valid[text]:
            if what in (LINES, NONEMPTY_LINES):
                row = _line_spans(data, flags, first, last, what == LINES, row, spans)
            elif what == SPLITLINES:
                row = _splitlines_spans(data, flags, first, last, row, spans)
            elif what == PARAGRAPHS:
                row = _paragraph_spans(data, flags, first, last, row, spans)
            else:
                row = _sentence_spans(data, flags, first, last, row, spans)
        if row < 0:
            return text
        spans.bounds[text + 1] = row
    return offsets.shape[0] - 1
