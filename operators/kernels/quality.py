"""Kernels for Gopher's quality rules: words, symbols, bullets, letters, stop words."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.kernels.buffers import ByteArray, FloatArray, Int32Array, IntArray, TextBuffers, text_buffers
from operators.kernels.bytewise import code_point, has_byte, hash_word, load_word, slot_of
from operators.kernels.compiled import lean_kernel
from operators.kernels.punctuation import SYMBOLS, membership
from operators.kernels.segmentation import Segments, WordRule
from operators.kernels.spans import Spans
from operators.kernels.unicode_table import ALPHA
from operators.kernels.words import Words

_HASHES, _DOTS, _E2 = 0x2323232323232323, 0x2E2E2E2E2E2E2E2E, -0x1D1D1D1D1D1D1D1E
"""Eight times "#", "." and the first byte of "…"."""

MEASURES = 8
"""Rows of the result: words that are more than symbols, code points per such word, "#" per word, ellipses per word,
share of lines that start with a bullet, that end in an ellipsis, share of words with a letter, distinct stop words."""


class WordList(NamedTuple):
    """A set of words for kernels: open addressing, ``slots`` holds row + 1 and 0 where free."""

    data: npt.NDArray[np.uint8]
    start: npt.NDArray[np.int64]
    size: npt.NDArray[np.int32]
    hash: npt.NDArray[np.int64]
    slots: npt.NDArray[np.int32]


@cache
def word_list(words: tuple[str, ...]) -> WordList:
    """The distinct words of a list, without blanks around them; made once per process."""
    distinct = sorted(set(words))
    texts = text_buffers(pa.array(distinct, pa.large_string()))
    start, size = np.array(texts.offsets[:-1]), np.diff(texts.offsets).astype(np.int32)
    digest = np.zeros(len(distinct), np.int64)
    slots = np.zeros(1 << (16 * len(distinct)).bit_length(), np.int32)
    _list_words(texts.data, start, size, digest, slots)
    return WordList(np.array(texts.data), start, size, digest, slots)


@lean_kernel
def _list_words(data: ByteArray, start: IntArray, size: Int32Array, digest: IntArray, slots: Int32Array) -> None:
    for row in range(start.shape[0]):
        digest[row] = hash_word(data, start[row], start[row] + size[row])
        slot = slot_of(digest[row], slots.shape[0] - 1)
        while slots[slot] != 0:
            slot = (slot + 1) & (slots.shape[0] - 1)
        slots[slot] = row + 1


@lean_kernel
def _find_in_list(data: ByteArray, start: int, size: int, digest: int, listed: WordList) -> int:
    """Row of a word in a list, -1 where it is not in it."""
    mask = listed.slots.shape[0] - 1
    slot = slot_of(digest, mask)
    while listed.slots[slot] != 0:
        row = listed.slots[slot] - 1
        if (
            listed.hash[row] == digest
            and listed.size[row] == size
            and _equal(data, start, listed.data, listed.start[row], size)
        ):
            return row
        slot = (slot + 1) & mask
    return -1


@lean_kernel
def _equal(data: ByteArray, start: int, other: ByteArray, other_start: int, size: int) -> bool:
    for k in range(size):  # noqa: SIM110  # kernels have no generators
        if data[start + k] != other[other_start + k]:
            return False
    return True


@lean_kernel
def _only_symbols(data: ByteArray, first: int, last: int, symbols: ByteArray) -> bool:
    position = first
    while position < last:
        code, size = code_point(data, position)
        if code >= symbols.shape[0] or symbols[code] == 0:
            return False
        position += size
    return True


@lean_kernel
def _count_marks(data: ByteArray, first: int, last: int) -> tuple[int, int]:
    """(number signs, ellipses: "..." without overlap and "…")."""
    hashes, ellipses, dots, position = 0, 0, 0, first
    while position < last:
        stop = min(position + 8, last)
        if position + 8 <= last:
            word = load_word(data, position)
            if not (has_byte(word, _DOTS) or has_byte(word, _HASHES) or has_byte(word, _E2)):
                dots = 0
                position = stop
                continue
        while position < stop:
            byte = data[position]
            dots = dots + 1 if byte == 46 else 0
            if dots == 3:
                ellipses += 1
                dots = 0
            hashes += byte == 35
            ellipses += byte == 0xE2 and data[position + 1] == 0x80 and data[position + 2] == 0xA6
            position += 1
    return hashes, ellipses


@lean_kernel
def _count_lines(data: ByteArray, lines: Spans, text: int) -> tuple[int, int]:
    """(lines that start with a bullet, lines that end in an ellipsis), white space around them aside."""
    bullets, ellipses = 0, 0
    for row in range(lines.bounds[text], lines.bounds[text + 1]):
        start, size = lines.trim_start[row], lines.trim_size[row]
        if size == 0:
            continue
        end = start + size
        bullets += data[start] == 45 or (
            size > 2 and data[start] == 0xE2 and data[start + 1] == 0x80 and data[start + 2] == 0xA2
        )
        if size > 2:
            dots = data[end - 1] == 46 and data[end - 2] == 46 and data[end - 3] == 46
            ellipses += dots or (data[end - 3] == 0xE2 and data[end - 2] == 0x80 and data[end - 1] == 0xA6)
    return bullets, ellipses


@lean_kernel
def _count_words(
    data: ByteArray,
    words: Words,
    text: int,
    symbols: ByteArray,
    stop_words: WordList,
    seen: ByteArray,
) -> tuple[int, int, int, int]:
    """(words that are more than symbols, their code points, words with a letter, distinct stop words)."""
    plain, chars, alphabetic, stops = 0, 0, 0, 0
    seen[:] = 0
    for row in range(words.bounds[text], words.bounds[text + 1]):
        letters = (words.flags[row] & ALPHA) != 0  # no letter is among the symbols
        alphabetic += letters
        start, size = words.start[row], words.size[row]
        if letters or not _only_symbols(data, start, start + size, symbols):
            plain += 1
            chars += words.chars[row]
        found = _find_in_list(data, start, size, words.hash[row], stop_words)
        if found >= 0 and seen[found] == 0:
            seen[found] = 1
            stops += 1
    return plain, chars, alphabetic, stops


@lean_kernel
def quality_measures(
    texts: TextBuffers,
    words: Words,
    lines: Spans,
    symbols: ByteArray,
    stop_words: WordList,
    seen: ByteArray,
    out: FloatArray,
) -> None:
    """Fill ``out`` (8, N); NaN where a text is null or a quotient has nothing to divide by.

    seen: scratch, uint8, one for each stop word.
    """
    data = texts.data
    for text in range(texts.offsets.shape[0] - 1):
        if not texts.valid[text]:
            out[:, text] = np.nan
            continue
        plain, chars, alphabetic, stops = _count_words(data, words, text, symbols, stop_words, seen)
        hashes, ellipses = _count_marks(data, texts.offsets[text], texts.offsets[text + 1])
        bullets, ends = _count_lines(data, lines, text)
        num_words = words.bounds[text + 1] - words.bounds[text]
        num_lines = lines.bounds[text + 1] - lines.bounds[text]
        out[0, text] = plain
        out[1, text] = chars / plain
        out[2, text] = hashes / num_words
        out[3, text] = ellipses / num_words
        out[4, text] = bullets / num_lines
        out[5, text] = ends / num_lines
        out[6, text] = alphabetic / num_words
        out[7, text] = stops


def quality(found: Segments, rule: WordRule, stop_words: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """The measures of N texts, float64 (8, N); see ``MEASURES``."""
    words: Words = found.words(rule)
    lines: Spans = found.spans("splitlines")
    out = np.empty((MEASURES, words.bounds.size - 1))
    listed = word_list(stop_words)
    seen = np.empty(listed.start.size, np.uint8)
    quality_measures(found.texts, words, lines, membership(SYMBOLS), listed, seen, out)
    return out


def warm() -> None:
    """Compile the kernels of this module."""
    texts: TextBuffers = text_buffers(pa.array(["- the #1 of …", None], pa.large_string()))
    quality(Segments(texts), "split", ("the",))
