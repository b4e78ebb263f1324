"""Kernels that find words and what is told of each: length, hash, kinds of characters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.blocks import count_bits, first_bit, get, one_of, put
from operators.kernels.buffers import ByteArray, FlagArray, Int32Array, IntArray, TextBuffers
from operators.kernels.bytewise import code_point, hash_short, hash_word
from operators.kernels.compiled import lean_kernel
from operators.kernels.unicode_table import ALPHA, DECIMAL, LOWER, NUMERIC, UPPER
from operators.kernels.word_borders import find_borders


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


_SHORT = 16
_upper, _lower = one_of(range(65, 91), _SHORT, whole=True), one_of(range(97, 123), _SHORT, whole=True)
_digits, _continuations = one_of(range(48, 58), _SHORT, whole=True), one_of(range(0x80, 0xC0), _SHORT, whole=True)


@lean_kernel
def _measure_slowly(data: ByteArray, flags: FlagArray, first: int, size: int, row: int, words: Words) -> None:
    """Code points and flags of any word."""
    chars, union, position = 0, np.uint16(0), first
    while position < first + size:
        code, bytes_here = code_point(data, position)
        union |= flags[code]
        chars += 1
        position += bytes_here
    words.chars[row] = chars
    words.flags[row] = union


@lean_kernel
def _flags_at(data: ByteArray, flags: FlagArray, first: int, places: int) -> int:
    """Flags, or-ed, of the characters that begin at the places after ``first`` whose bits are set."""
    union = 0
    while places != 0:
        union |= get(flags, code_point(data, first + first_bit(places))[0])
        places &= places - 1
    return union


@lean_kernel
def measure(data: ByteArray, flags: FlagArray, begin: int, first: int, last: int, words: Words) -> None:
    """Fill the other columns of rows [first, last), whose size is still the end less ``begin``.

    Words of up to 16 ASCII letters and digits, and single ASCII characters, take no branch that could go wrong.
    """
    for row in range(first, last):
        start = get(words.start, row)
        size = get(words.size, row) + begin - start
        put(words.size, row, size)
        if size > _SHORT or start + _SHORT > data.shape[0]:
            put(words.hash, row, hash_word(data, start, start + size))
            _measure_slowly(data, flags, start, size, row, words)
            continue
        put(words.hash, row, hash_short(data, start, size))
        here = (1 << size) - 1
        upper, lower, digits = _upper(data, start) & here, _lower(data, start) & here, _digits(data, start) & here
        union = (ALPHA | UPPER if upper != 0 else 0) | (ALPHA | LOWER if lower != 0 else 0)
        union |= NUMERIC | DECIMAL if digits != 0 else 0
        single, chars = get(flags, get(data, start)), size
        union = single if size == 1 else union
        others = here & ~(upper | lower | digits | int(size == 1))
        if others != 0:
            inner = _continuations(data, start) & here
            chars -= count_bits(inner)
            union |= _flags_at(data, flags, start, others & ~inner)
        put(words.chars, row, chars)
        put(words.flags, row, union)


@lean_kernel
def find_words(texts: TextBuffers, flags: FlagArray, rule: int, first_text: int, words: Words) -> int:
    """Fill ``words`` from text ``first_text`` on; returns the first text that found no room (N when all are done).

    Rows before ``bounds[first_text]`` are left as they are, so that a caller can grow the arrays and go on. The buffer
    must hold ``blocks.BLOCK`` bytes or none.
    """
    for text in range(first_text, texts.offsets.shape[0] - 1):
        row = words.bounds[text]
        if texts.valid[text]:
            begin = texts.offsets[text]
            end = find_borders(texts.data, flags, rule, begin, texts.offsets[text + 1], row, words.start, words.size)
            if end < 0:
                return text
            measure(texts.data, flags, begin, row, end, words)
            row = end
        words.bounds[text + 1] = row
    return texts.offsets.shape[0] - 1


@lean_kernel
def count_words(
    texts: TextBuffers, flags: FlagArray, rule: int, start: IntArray, size: Int32Array, bounds: IntArray
) -> None:
    """Fill only ``bounds`` of words, int64 (N + 1,), as ``find_words`` does; start, size: of no rows."""
    bounds[0] = 0
    for text in range(texts.offsets.shape[0] - 1):
        found = 0
        if texts.valid[text]:
            begin, end = texts.offsets[text], texts.offsets[text + 1]
            found = find_borders(texts.data, flags, rule, begin, end, 0, start, size)
        bounds[text + 1] = bounds[text] + found
