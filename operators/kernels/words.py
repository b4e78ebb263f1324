"""Kernels that find words: as ``str.split()`` does, or letters, single ideographs and punctuation marks apart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.bytewise import code_point, is_final_dot
from operators.kernels.compiled import kernel
from operators.kernels.unicode_table import ALONE, MARK, PUNCTUATION, SPACE

SPLIT = 0
UNICODE = 1

HASH_BASE = 0x5851F42D4C957F2D
"""Odd 64-bit multiplier of the polynomial word hash, so that hashes of joined words follow from those of the words."""

_GLUE, _APART, _DIGIT_GLUE, _DOT, _DASH, _QUOTE = 0, 1, 2, 3, 4, 5


def _ascii_classes() -> npt.NDArray[np.uint8]:
    classes = np.zeros(128, np.uint8)
    for marks, kind in ((b";?!()[]{}<>@#$%&\"`", _APART), (b",:", _DIGIT_GLUE), (b".", _DOT), (b"-", _DASH), (b"'", _QUOTE)):
        classes[list(marks)] = kind
    return classes


ASCII_CLASSES = _ascii_classes()


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
    """int64 (M,), polynomial over the bytes: sum of (byte + 1) * HASH_BASE ** (bytes behind it), modulo 2 ** 64."""
    flags: npt.NDArray[np.uint16]
    """uint16 (M,), the Unicode flags of all its code points, or-ed."""


@kernel
def _put(words, row, first, size, chars, word_hash, union):  # noqa: ANN001, ANN202, PLR0913
    words.start[row] = first
    words.size[row] = size
    words.chars[row] = chars
    words.hash[row] = word_hash
    words.flags[row] = union
    return row + 1


@kernel
def _emit(data, flags, first, last, row, words):  # noqa: ANN001, ANN202, PLR0913
    """Write the word ``data[first:last]`` to a row; returns the next row."""
    word_hash, chars, union = np.int64(0), 0, np.uint16(0)
    position = first
    while position < last:
        byte = data[position]
        if byte < 128:
            union |= flags[byte]
            word_hash = word_hash * HASH_BASE + byte + 1
            position += 1
        else:
            code, size = code_point(data, position)
            union |= flags[code]
            for _ in range(size):
                word_hash = word_hash * HASH_BASE + data[position] + 1
                position += 1
        chars += 1
    return _put(words, row, first, last - first, chars, word_hash, union)


@kernel
def _clitic(data, quote, end):  # noqa: ANN001, ANN202
    """Bytes of the English clitic that starts with the apostrophe at ``quote`` ('s 'm 'd 'll 're 've), 0 if there is none."""
    size = 0
    while quote + 1 + size < end and size < 3:
        byte = data[quote + 1 + size] | 32
        if not (97 <= byte <= 122):
            break
        size += 1
    following = data[quote + 1 + size] if quote + 1 + size < end else np.uint8(0)
    if following >= 128 or 48 <= following <= 57 or following == 45 or following == 39:
        return 0
    one = data[quote + 1] | 32 if size > 0 else 0
    two = data[quote + 2] | 32 if size > 1 else 0
    if size == 1 and one in (115, 109, 100, 116):  # s m d, and t for n't
        return 2
    if size == 2 and ((one == 108 and two == 108) or ((one == 114 or one == 118) and two == 101)):
        return 3
    return 0


@kernel
def _apart_until(data, flags, classes, pending, position, last, end):  # noqa: ANN001, ANN202, C901, PLR0911, PLR0913
    """End of the word of its own that starts at ``position``, or ``position`` where the character joins its neighbours.

    pending: first byte of what came before in the same word; last: end of the stretch; end: end of the text.
    """
    byte = data[position]
    if byte >= 128:
        return _wide_apart_until(data, flags, position, last)
    kind = classes[byte]
    following = data[position + 1] if position + 1 < last else np.uint8(32)
    if kind == _APART:
        return position + 1
    if kind == _DIGIT_GLUE:
        return position if 48 <= following <= 57 else position + 1
    if kind == _DASH:
        return position + 2 if following == 45 else position
    if kind == _QUOTE:
        inside = position > pending and (48 <= following <= 57 or 97 <= (following | 32) <= 122)
        return position if inside else position + 1
    if kind == _DOT:
        run = position + 1
        while run < last and data[run] == 46:
            run += 1
        if run - position > 1 or is_final_dot(data, flags, pending, position, last, end):
            return run
    return position


@kernel
def _wide_apart_until(data, flags, position, last):  # noqa: ANN001, ANN202
    """The same beyond ASCII: letters of scripts without blanks take their marks along; · ‐ ‑ … ‧ join."""
    code, size = code_point(data, position)
    if flags[code] & ALONE:
        stop = position + size
        while stop < last and data[stop] >= 128:
            mark, mark_size = code_point(data, stop)
            if not flags[mark] & MARK:
                break
            stop += mark_size
        return stop
    if flags[code] & PUNCTUATION and code not in (0xB7, 0x2010, 0x2011, 0x2026, 0x2027):
        return position + size
    return position


@kernel
def _split_chunk(data, flags, classes, first, last, end, row, words):  # noqa: ANN001, ANN202, PLR0913
    """Words of a stretch without white space that is more than letters and digits; ``end`` is the end of the text."""
    pending, position = first, first
    while position < last:
        if data[position] == 39 and position > pending:
            size = _clitic(data, position, last)
            is_not = size == 2 and (data[position + 1] | 32) == 116
            if is_not and (position - pending < 2 or (data[position - 1] | 32) != 110):
                size = 0
            if size > 0:
                border = position - 1 if is_not else position
                row = _emit(data, flags, pending, border, row, words)
                row = _emit(data, flags, border, position + size, row, words)
                position += size
                pending = position
                continue
        stop = _apart_until(data, flags, classes, pending, position, last, end)
        if stop > position:
            if position > pending:
                row = _emit(data, flags, pending, position, row, words)
            row = _emit(data, flags, position, stop, row, words)
            position, pending = stop, stop
        else:
            position += code_point(data, position)[1]
    return _emit(data, flags, pending, last, row, words) if last > pending else row


@kernel
def find_words(texts, flags, classes, flavour, first_text, words):  # noqa: ANN001, ANN201, C901, PLR0912, PLR0913
    """Fill ``words`` from text ``first_text`` on; returns the first text that found no room (N when all are done).

    Rows before ``bounds[first_text]`` are left as they are, so that a caller can grow the arrays and go on.
    """
    data, offsets = texts.data, texts.offsets
    room = words.start.shape[0]
    row = words.bounds[first_text]
    for text in range(first_text, offsets.shape[0] - 1):
        position, end = offsets[text], offsets[text + 1]
        if not texts.valid[text]:
            end = position
        while position < end:
            first, chars, word_hash, union = position, 0, np.int64(0), np.uint16(0)
            special = False
            blank = 0
            while position < end:
                byte = data[position]
                if byte < 128:
                    flag = flags[byte]
                    if flag & SPACE:
                        blank = 1
                        break
                    special |= classes[byte] != _GLUE
                    word_hash = word_hash * HASH_BASE + byte + 1
                    position += 1
                else:
                    code, size = code_point(data, position)
                    flag = flags[code]
                    if flag & SPACE:
                        blank = size
                        break
                    special |= (flag & (ALONE | PUNCTUATION)) != 0
                    for _ in range(size):
                        word_hash = word_hash * HASH_BASE + data[position] + 1
                        position += 1
                union |= flag
                chars += 1
            size = position - first
            if size > 0:
                whole = flavour == SPLIT or not special
                if row + (1 if whole else size) > room:
                    return text
                if whole:
                    row = _put(words, row, first, size, chars, word_hash, union)
                else:
                    row = _split_chunk(data, flags, classes, first, position, end, row, words)
            position += blank
        words.bounds[text + 1] = row
    return offsets.shape[0] - 1
