"""Kernels that find words: as ``str.split()`` does, or letters, single ideographs and punctuation marks apart."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.buffers import ByteArray, FlagArray, TextBuffers
from operators.kernels.bytewise import code_point, hash_word, is_final_dot
from operators.kernels.compiled import lean_kernel
from operators.kernels.unicode_table import ALONE, MARK, PUNCTUATION, SPACE

SPLIT = 0
UNICODE = 1

_GLUE, _APART, _DIGIT_GLUE, _DOT, _DASH, _QUOTE, _BLANK = 0, 1, 2, 3, 4, 5, 6
_JOINERS = (0xB7, 0x2010, 0x2011, 0x2026, 0x2027)
"""Punctuation beyond ASCII that stays inside a word: · ‐ ‑ … ‧"""


def _ascii_classes() -> npt.NDArray[np.uint8]:
    classes = np.zeros((2, 128), np.uint8)
    for marks, kind in (
        (b';?!*()[]{}<>@#$%&"`', _APART),
        (b",:", _DIGIT_GLUE),
        (b".", _DOT),
        (b"-", _DASH),
        (b"'", _QUOTE),
    ):
        classes[UNICODE, list(marks)] = kind
    classes[:, [code for code in range(128) if chr(code).isspace()]] = _BLANK
    classes.setflags(write=False)
    return classes


ASCII_CLASSES = _ascii_classes()
"""What each rule does with an ASCII character, uint8 (2, 128)."""


class Words(NamedTuple):
    """M words of N texts; those of text i are rows ``bounds[i]:bounds[i + 1]``."""

    bounds: npt.NDArray[np.int64]
    """int64 (N + 1,)"""
    start: npt.NDArray[np.int64]
    """int64 (M,), position of the first byte in the buffer of all texts."""
    size: npt.NDArray[np.int32]
    """int32 (M,), bytes."""
    chars: npt.NDArray[np.int32]
    """int32 (M,), code points."""
    hash: npt.NDArray[np.int64]
    """int64 (M,), see ``bytewise.hash_word``."""
    flags: npt.NDArray[np.uint16]
    """uint16 (M,), the Unicode flags of all its code points, or-ed."""


@lean_kernel
def _put(data: ByteArray, first: int, last: int, chars: int, union: Any, row: int, words: Words) -> int:
    """Write the word ``data[first:last]`` to a row; returns the next row."""
    words.start[row] = first
    words.size[row] = last - first
    words.chars[row] = chars
    words.hash[row] = hash_word(data, first, last)
    words.flags[row] = union
    return row + 1


@lean_kernel
def _measured(data: ByteArray, flags: FlagArray, first: int, last: int) -> tuple[int, Any]:
    """(code points, their flags or-ed) of ``data[first:last]``."""
    chars, union, position = 0, np.uint16(0), first
    while position < last:
        code, size = code_point(data, position)
        union |= flags[code]
        chars += 1
        position += size
    return chars, union


@lean_kernel
def _clitic(data: ByteArray, quote: int, end: int) -> int:
    """Bytes of the English clitic that starts with the apostrophe at ``quote``: 's 'm 'd 't 'll 're 've; 0 for none."""
    size = 0
    while quote + 1 + size < end and size < 3 and 97 <= (data[quote + 1 + size] | 32) <= 122:
        size += 1
    following = data[quote + 1 + size] if quote + 1 + size < end else np.uint8(32)
    if following >= 128 or 48 <= following <= 57 or following == 45 or following == 39:
        return 0
    if size == 1:
        return 2 if (data[quote + 1] | 32) in (115, 109, 100, 116) else 0  # s m d t
    if size == 2:
        one, two = data[quote + 1] | 32, data[quote + 2] | 32
        return 3 if (one == 108 and two == 108) or (one in (114, 118) and two == 101) else 0  # ll re ve
    return 0


@lean_kernel
def _clitic_border(data: ByteArray, word: int, quote: int, end: int) -> tuple[int, int]:
    """(where the clitic with the apostrophe at ``quote`` begins, its end), (0, 0) for none; n't takes its n along."""
    size = _clitic(data, quote, end) if quote > word else 0
    if size == 0:
        return 0, 0
    if size == 2 and (data[quote + 1] | 32) == 116:
        return (quote - 1, quote + 2) if quote - word > 1 and (data[quote - 1] | 32) == 110 else (0, 0)
    return quote, quote + size


@lean_kernel
def _apart_until(data: ByteArray, flags: FlagArray, kind: int, word: int, position: int, end: int) -> int:
    """End of the word of its own that the mark at ``position`` is or starts; ``position`` where it joins its neighbours.

    word: first byte of what came before without white space.
    """
    following = data[position + 1] if position + 1 < end else np.uint8(32)
    if kind == _APART:
        return position + 1
    if kind == _DIGIT_GLUE:
        return position if 48 <= following <= 57 else position + 1
    if kind == _DASH:
        return position + 2 if following == 45 else position
    if kind == _QUOTE:
        inside = position > word and (48 <= following <= 57 or 97 <= (following | 32) <= 122)
        return position if inside else position + 1
    run = position + 1
    while run < end and data[run] == 46:
        run += 1
    if run - position > 1 or is_final_dot(data, flags, word, position, end):
        return run
    return position


@lean_kernel
def _marks_until(data: ByteArray, flags: FlagArray, position: int, end: int) -> int:
    """End of the combining marks that follow a letter that stands alone."""
    while position < end and data[position] >= 128:
        code, size = code_point(data, position)
        if not flags[code] & MARK:
            break
        position += size
    return position


@lean_kernel
def _words_of(
    data: ByteArray,
    flags: FlagArray,
    classes: ByteArray,
    rule: int,
    position: int,
    end: int,
    row: int,
    words: Words,
) -> int:
    """Words of one text; returns the next row, or -1 when there is no room."""
    room = words.start.shape[0] - 3
    word, chars, union = position, 0, np.uint16(0)
    while position < end:
        byte = data[position]
        stop, size = position, 1  # [position, stop) becomes a word of its own
        if byte < 128:
            kind, flag = classes[rule, byte], flags[byte]
            if kind == _GLUE:
                union |= flag
                chars += 1
                position += 1
                continue
            if kind == _QUOTE:
                border, clitic_end = _clitic_border(data, word, position, end)
                if border > 0 and row < room:
                    letters, letter_flags = _measured(data, flags, word, border)
                    row = _put(data, word, border, letters, letter_flags, row, words)
                    letters, letter_flags = _measured(data, flags, border, clitic_end)
                    row = _put(data, border, clitic_end, letters, letter_flags, row, words)
                    position = clitic_end
                    word, chars, union = position, 0, np.uint16(0)
                    continue
            blank = kind == _BLANK
            if not blank:
                stop = _apart_until(data, flags, kind, word, position, end)
        else:
            code, size = code_point(data, position)
            flag = flags[code]
            blank = (flag & SPACE) != 0
            if rule == UNICODE and flag & ALONE:
                stop = _marks_until(data, flags, position + size, end)
            elif rule == UNICODE and flag & PUNCTUATION and code not in _JOINERS:
                stop = position + size
        if not blank and stop == position:
            union |= flag
            chars += 1
            position += size
            continue
        if row >= room:
            return -1
        if position > word:
            row = _put(data, word, position, chars, union, row, words)
        if not blank:
            letters, letter_flags = _measured(data, flags, position, stop)
            row = _put(data, position, stop, letters, letter_flags, row, words)
        position = stop if not blank else position + size
        word, chars, union = position, 0, np.uint16(0)
    if position > word:
        if row >= room:
            return -1
        row = _put(data, word, position, chars, union, row, words)
    return row


@lean_kernel
def find_words(
    texts: TextBuffers,
    flags: FlagArray,
    classes: ByteArray,
    rule: int,
    first_text: int,
    words: Words,
) -> int:
    """Fill ``words`` from text ``first_text`` on; returns the first text that found no room (N when all are done).

    Rows before ``bounds[first_text]`` are left as they are, so that a caller can grow the arrays and go on.
    """
    for text in range(first_text, texts.offsets.shape[0] - 1):
        row = words.bounds[text]
        if texts.valid[text]:
            row = _words_of(texts.data, flags, classes, rule, texts.offsets[text], texts.offsets[text + 1], row, words)
        if row < 0:
            return text
        words.bounds[text + 1] = row
    return texts.offsets.shape[0] - 1
