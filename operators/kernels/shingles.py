"""Word n-grams of folded text as 32-bit hashes, straight from UTF-8."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.kernels.buffers import ByteArray, OffsetArray, text_buffers
from operators.kernels.compiled import kernel
from operators.kernels.fold import ALONE, CODE_BITS, LETTER, MARK, SEPARATOR, SKIP, FoldTable, fold_table

HashArray = npt.NDArray[np.uint32]
KeyArray = npt.NDArray[np.uint64]

_CODE_MASK = np.uint32((1 << CODE_BITS) - 1)
_SHIFT = np.uint32(CODE_BITS)
# Odd 64-bit constants: the golden ratio, and two multipliers of murmur's and splitmix' finishers.
_LETTER_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_WORD_STEP = np.uint64(0xBF58476D1CE4E5B9)
_S32, _S33 = np.uint64(32), np.uint64(33)


@kernel
def finish(value: np.uint64) -> np.uint64:
    """Murmur3's 64-bit finisher: every bit of the result hangs on every bit of the value."""
    value = (value ^ (value >> _S33)) * _MIX_1
    value = (value ^ (value >> _S33)) * _MIX_2
    return value ^ (value >> _S33)


@kernel
def decode(data: ByteArray, position: int, end: int) -> tuple[np.int64 | int, int]:
    """The code point of a multi-byte sequence and its length; (-1, 1) where the bytes are not one."""
    first = np.int64(data[position])
    if first < 0xC0:
        return -1, 1
    size = 2 if first < 0xE0 else (3 if first < 0xF0 else 4)
    if position + size > end:
        return -1, 1
    code = first & (0x7F >> size)
    for k in range(1, size):
        code = code << 6 | (np.int64(data[position + k]) & 0x3F)
    return (code, size) if code < 0x110000 else (-1, 1)


@kernel
def attached(data: ByteArray, start: int, end: int, fold: FoldTable, word: np.uint64) -> tuple[int, np.uint64]:
    """Mix what belongs to an open word from ``start`` on: marks, and what is skipped; returns (position, word)."""
    position = start
    while position < end and data[position] >= 0x80:
        code, size = decode(data, position, end)
        entry = fold[code] if code >= 0 else np.uint32(0)
        kind = entry >> _SHIFT
        if kind not in (SKIP, MARK):
            break
        if kind == MARK:
            word = (word ^ np.uint64(entry & _CODE_MASK)) * _LETTER_STEP
        position += size
    return position, word


@kernel
def _words(data: ByteArray, start: int, end: int, fold: FoldTable, out: KeyArray) -> np.int64:
    """Write a hash for each word of data[start:end], unfinished; returns how many.

    ASCII goes without a branch that hangs on the text: a word is written at every byte and counted where one ends,
    since a mispredicted branch at each blank costs more than the work on the word.
    """
    position = start
    words = np.uint64(0)
    word = np.uint64(0)
    inside = np.uint64(0)
    while position < end:
        byte = data[position]
        if byte < 0x80:
            entry = fold[np.uint64(byte)]
            letter = np.uint64(entry >> _SHIFT)  # an ASCII character is a LETTER, 1, or a SEPARATOR, 0
            out[words] = word
            words += inside & ~letter
            word = ((word ^ np.uint64(entry & _CODE_MASK)) * _LETTER_STEP) & (np.uint64(0) - letter)
            inside = letter
            position += 1
            continue
        code, size = decode(data, position, end)
        position += size
        entry = fold[code] if code >= 0 else np.uint32(0)
        kind = entry >> _SHIFT
        value = np.uint64(entry & _CODE_MASK)
        if kind == LETTER or (kind == MARK and inside):
            word = (word ^ value) * _LETTER_STEP
            inside = np.uint64(1)
        elif kind in (SEPARATOR, ALONE):
            out[words] = word
            words += inside
            word = np.uint64(0)
            inside = np.uint64(0)
            if kind == ALONE:
                position, out[words] = attached(data, position, end, fold, value * _LETTER_STEP)
                words += np.uint64(1)
    out[words] = word
    return np.int64(words + inside)


@kernel
def _shingles_kernel(
    data: ByteArray, offsets: OffsetArray, fold: FoldTable, ngram: int, out: HashArray, starts: OffsetArray
) -> None:
    """Fill ``out`` with the hashes of every document's n-grams, in order; document i owns starts[i]:starts[i + 1]."""
    oldest_step = np.uint64(1)
    longest = np.int64(0)
    for _ in range(ngram):
        oldest_step *= _WORD_STEP
    for doc in range(len(offsets) - 1):
        longest = max(longest, offsets[doc + 1] - offsets[doc])
    words = np.empty(longest // 2 + 2, np.uint64)
    written = np.int64(0)
    starts[0] = 0
    for doc in range(len(offsets) - 1):
        num_words = _words(data, offsets[doc], offsets[doc + 1], fold, words)
        rolled = np.uint64(0)
        for at in range(num_words):
            words[at] = finish(words[at])
        for at in range(min(ngram - 1, num_words)):
            rolled = rolled * _WORD_STEP + words[at]
        oldest = np.uint64(0)
        for at in range(ngram - 1, num_words):
            rolled = rolled * _WORD_STEP + words[at] - oldest * oldest_step
            oldest = words[at - ngram + 1]
            out[written] = np.uint32(finish(rolled) >> _S32)
            written += 1
        starts[doc + 1] = written


def shingle_hashes(column: pa.Array | pa.ChunkedArray, ngram: int) -> tuple[HashArray, OffsetArray]:
    """Hashes of all word n-grams of each of N texts.

    column: large_string (N,); null counts as empty. ngram: words per shingle, >= 1.
    Words are folded by ``operators/kernels/fold.py``: case, compatibility forms and accents removed, punctuation
    and symbols separate, each character of a script without blanks is a word with the marks that follow it.
    Returns uint32 (S,), flat and in text order with repeats, and int64 (N + 1,), where each text's begin. A text of
    fewer than ``ngram`` words has none. Time is linear in bytes and does not depend on ``ngram``.
    """
    texts = text_buffers(column)
    lengths = np.diff(texts.offsets)
    # A word is a letter and a separator, or one character of three bytes: at most every second byte ends one.
    out = np.empty(int(((lengths + 1) // 2).sum()), np.uint32)
    starts = np.zeros(len(lengths) + 1, np.int64)
    _shingles_kernel(_read_only(texts.data), _read_only(texts.offsets), fold_table(), ngram, out, starts)
    return out[: starts[-1]], starts


def _read_only(array: Any) -> Any:
    """Arrow's buffers are read-only, those of an empty column are not: one type, so that it compiles once."""
    view = array.view()
    view.setflags(write=False)
    return view


def warm() -> None:
    """Compile the kernels of this module."""
    shingle_hashes(pa.array(["one word"], pa.large_string()), 1)
