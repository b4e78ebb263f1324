"""The pieces of a text in which byte pairs are merged: words with the mark or blank before them, numbers, marks, blanks.

The expression of the cl100k_base encoding by hand, and what it does to a text is told of in ``find_pieces``.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.kernels.buffers import ByteArray, IntArray, TextBuffers
from operators.kernels.bytewise import code_point
from operators.kernels.compiled import lean_kernel
from operators.kernels.unicode_table import ALPHA, HAN, NUMERIC, SPACE, unicode_flags

KindArray = npt.NDArray[np.uint8]
"""What each code point is, uint8 (0x110000,)."""

_LETTER, _NUMBER, _BLANK, _HAN = 1, 2, 4, 8
_SEPARATORS = range(0x1C, 0x20)  # blanks to Python, not to regular expressions
_NOT_HAN = 0x3006  # of the script Common: counted as Han elsewhere, not by regular expressions
_HAN_MARKS = (0x16FE2, 0x16FE3, 0x16FF0, 0x16FF1)
_LF, _CR, _APOSTROPHE = 10, 13, 39


@cache
def kinds() -> KindArray:
    """Letters (general category L), numbers (N), white space, and Han."""
    flags = unicode_flags()
    letter = (flags & ALPHA) != 0
    found = letter * _LETTER + ((flags & NUMERIC != 0) & ~letter) * _NUMBER
    found += (flags & SPACE != 0) * _BLANK + (flags & HAN != 0) * _HAN
    found = found.astype(np.uint8)
    found[list(_SEPARATORS)] = 0
    found[_NOT_HAN] &= ~np.uint8(_HAN)
    found[list(_HAN_MARKS)] |= np.uint8(_HAN)
    found.setflags(write=False)
    return found


@lean_kernel
def _kind(data: ByteArray, kind: KindArray, position: int, end: int) -> tuple[Any, Any, int]:
    """(code point, what it is, bytes) at a position; a code point below 0 at the end, which is a blank to nobody."""
    if position >= end:
        return -1, 0, 0
    code, size = code_point(data, position)
    return code, np.int64(kind[code]) & 7, size


@lean_kernel
def _run(data: ByteArray, kind: KindArray, position: int, end: int, wanted: int, most: int) -> int:
    """Where a run of at most that many characters of a kind ends; kind 0: neither letters, numbers nor blanks."""
    while most > 0:
        code, found, size = _kind(data, kind, position, end)
        if code < 0 or found != wanted:
            return position
        position += size
        most -= 1
    return position


@lean_kernel
def _contraction(data: ByteArray, position: int, end: int) -> int:
    """Bytes behind an apostrophe that belong to 's, 't, 're, 've, 'm, 'll or 'd in any case; 0 for none."""
    if position >= end:
        return 0
    if position + 1 < end and data[position] == 0xC5 and data[position + 1] == 0xBF:  # U+017F is an s in another case
        return 2
    first = data[position] | 32
    if first == 115 or first == 116 or first == 109 or first == 100:
        return 1
    second = data[position + 1] | 32 if position + 1 < end else 0
    if ((first == 114 or first == 118) and second == 101) or (first == 108 and second == 108):
        return 2
    return 0


@lean_kernel
def _blanks(data: ByteArray, kind: KindArray, position: int, end: int) -> int:
    """The end of a piece that begins with a blank: that of the last line end of the run, where it has one.

    Else all blanks but the last, which belongs to what follows, if anything does.
    """
    last_line_end, last, chars, start = position, position, 0, position
    while True:
        code, found, size = _kind(data, kind, position, end)
        if code < 0 or found != _BLANK:
            break
        last = position
        position += size
        chars += 1
        if code in (_LF, _CR):  # a set would need memory
            last_line_end = position
    if last_line_end > start:
        return last_line_end
    return position if position >= end or chars == 1 else last


@lean_kernel
def _piece(data: ByteArray, kind: KindArray, position: int, end: int, digits: int) -> int:
    """Where the piece ends that begins at a position."""
    code, found, size = _kind(data, kind, position, end)
    if code == _APOSTROPHE:
        taken = _contraction(data, position + 1, end)
        if taken > 0:
            return position + 1 + taken
    if found == _LETTER:
        return _run(data, kind, position, end, _LETTER, end)
    if found == _NUMBER:
        return _run(data, kind, position, end, _NUMBER, digits)
    following, next_found, _ = _kind(data, kind, position + size, end)
    if next_found == _LETTER and code != _LF and code != _CR:
        return _run(data, kind, position + size, end, _LETTER, end)
    if found == 0 or (code == 32 and following >= 0 and next_found == 0):
        position = _run(data, kind, position + size, end, 0, end)
        while position < end and (data[position] == _LF or data[position] == _CR):
            position += 1
        return position
    return _blanks(data, kind, position, end)


@lean_kernel
def _cut(
    data: ByteArray, kind: KindArray, position: int, end: int, han: int, other: int, cuts: IntArray, found: int
) -> int:
    """Cut a piece where a run of Han has ``han`` characters, or one of others ``other``; returns the number of cuts."""
    chars, was_han = 0, False
    while position < end:
        code, size = code_point(data, position)
        is_han = kind[code] & _HAN != 0
        if chars > 0 and (is_han != was_han or chars == (han if is_han else other)):
            cuts[found] = position
            found += 1
            chars = 0
        was_han = is_han
        chars += 1
        position += size
    cuts[found] = end
    return found + 1


@lean_kernel
def find_pieces(
    texts: TextBuffers, kind: KindArray, digits: int, alone: bool, han: int, other: int, cuts: IntArray
) -> int:
    """Cut N texts into pieces; returns how many there are, piece k being ``data[cuts[k]:cuts[k + 1]]``.

    A piece is, the first that holds at a place: a contraction; letters with at most one mark or blank before them; up to
    ``digits`` numbers; marks with at most one blank before and any line ends behind; blanks up to the last line end;
    blanks but the last, where something follows. alone: each Han character is a piece, whatever stands beside it, as if
    the text ended there. han, other: pieces are cut again after so many Han characters or others. cuts: room for a cut a
    byte and one more.
    """
    data = texts.data
    cuts[0] = texts.offsets[0]
    found = 1
    for text in range(texts.offsets.shape[0] - 1):
        position, last = texts.offsets[text], texts.offsets[text + 1]
        while position < last:
            end = last
            if alone:
                end = position
                while end < last:
                    code, size = code_point(data, end)
                    if kind[code] & _HAN != 0:
                        break
                    end += size
                if end == position:
                    position += size
                    cuts[found] = position
                    found += 1
                    continue
            while position < end:
                start = position
                position = _piece(data, kind, start, end, digits)
                found = _cut(data, kind, start, position, han, other, cuts, found)
    return found - 1


def warm() -> None:
    """Compile for the types used in earnest."""
    texts = TextBuffers(np.zeros(1, np.uint8), np.zeros(2, np.int64), np.ones(1, np.bool_))
    for array in texts:
        array.setflags(write=False)
    find_pieces(texts, kinds(), 3, False, 4, 16, np.zeros(2, np.int64))
