"""Folded words with the bytes they stand on, straight from UTF-8."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.kernels.buffers import ByteArray, text_buffers
from operators.kernels.compiled import kernel
from operators.kernels.fold import ALONE, CODE_BITS, LETTER, MARK, SEPARATOR, FoldTable, fold_table
from operators.kernels.shingles import KeyArray, attached, decode, finish

ByteOffsets = npt.NDArray[np.uint32]

_CODE_MASK = np.uint32((1 << CODE_BITS) - 1)
_SHIFT = np.uint32(CODE_BITS)
_LETTER_STEP = np.uint64(0x9E3779B97F4A7C15)  # as in shingles, so that both give a word one hash


class FoldedWords(NamedTuple):
    """W words of one text, in order."""

    hash: KeyArray
    """uint64 (W,), of the folded word."""
    begin: ByteOffsets
    """uint32 (W,), where its first byte lies in the text; marks that fold away at its end belong to it."""
    end: ByteOffsets
    """uint32 (W,), behind its last byte."""


@kernel
def fold_words(
    data: ByteArray, first: int, last: int, fold: FoldTable, words: KeyArray, begins: ByteOffsets, ends: ByteOffsets
) -> int:
    """Write hash, begin and end of each word of data[first:last]; returns how many there are.

    The arrays need room for every second byte and one more. The words are those of ``shingles``; ASCII goes without a
    branch that hangs on the text, for the reason given there.
    """
    position = first
    count = np.uint64(0)
    word = np.uint64(0)
    inside = np.uint64(0)
    begin = np.uint32(0)
    while position < last:
        byte = data[position]
        if byte < 0x80:
            entry = fold[np.uint64(byte)]
            letter = np.uint64(entry >> _SHIFT)
            begin = begin if inside else np.uint32(position - first)
            words[count] = word
            begins[count] = begin
            ends[count] = np.uint32(position - first)
            count += inside & ~letter
            word = ((word ^ np.uint64(entry & _CODE_MASK)) * _LETTER_STEP) & (np.uint64(0) - letter)
            inside = letter
            position += 1
            continue
        here = np.uint32(position - first)
        code, size = decode(data, position, last)
        position += size
        entry = fold[code] if code >= 0 else np.uint32(0)
        kind = entry >> _SHIFT
        value = np.uint64(entry & _CODE_MASK)
        if kind == LETTER or (kind == MARK and inside):
            begin = begin if inside else here
            word = (word ^ value) * _LETTER_STEP
            inside = np.uint64(1)
        elif kind in (SEPARATOR, ALONE):
            words[count] = word
            begins[count] = begin
            ends[count] = here
            count += inside
            word = np.uint64(0)
            inside = np.uint64(0)
            if kind == ALONE:
                position, words[count] = attached(data, position, last, fold, value * _LETTER_STEP)
                begins[count] = here
                ends[count] = np.uint32(position - first)
                count += np.uint64(1)
    words[count] = word
    begins[count] = begin
    ends[count] = np.uint32(last - first)
    count += inside
    for at in range(count):
        words[at] = finish(words[at])
    return int(count)


def folded_words(text: str) -> FoldedWords:
    """The words of one text."""
    texts = text_buffers(pa.array([text], pa.large_string()))
    room = len(texts.data) // 2 + 2
    words, begins, ends = np.empty(room, np.uint64), np.empty(room, np.uint32), np.empty(room, np.uint32)
    count = fold_words(texts.data, texts.offsets[0], texts.offsets[1], fold_table(), words, begins, ends)
    return FoldedWords(words[:count], begins[:count], ends[:count])


def warm() -> None:
    """Compile the kernels of this module."""
    folded_words("one word")
