"""Kernels for Gopher's quality rules as the paper, DCLM and Dolma count them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.kernels.buffers import ByteArray, FloatArray, Int32Array, TextBuffers, text_buffers
from operators.kernels.bytewise import has_byte, load_word
from operators.kernels.compiled import lean_kernel
from operators.kernels.segmentation import Segments, WordRule
from operators.kernels.spans import Spans
from operators.kernels.unicode_table import ALPHA, PUNCTUATION
from operators.kernels.words import Words

PAPER = 0
DCLM = 1
DOLMA = 2

_HASHES, _DOTS, _E2 = 0x2323232323232323, 0x2E2E2E2E2E2E2E2E, -0x1D1D1D1D1D1D1D1E
"""Eight times "#", "." and the first byte of "…"."""

MEASURES = 7
"""Rows of the result: words; code points per word (mean, Dolma: median); symbols per word (paper: "#" alone); ellipses
per word (paper only); share of lines that start with a bullet, that end in an ellipsis; share of words with a letter."""


@lean_kernel
def _is_ellipsis(data: ByteArray, position: int) -> bool:
    """Whether the three bytes from a position on are "…"."""
    return data[position] == 0xE2 and data[position + 1] == 0x80 and data[position + 2] == 0xA6


@lean_kernel
def _count_symbols(data: ByteArray, first: int, last: int) -> tuple[int, int, int]:
    """(number signs; "..." and "…"; ". . ."), each as ``str.count`` does, without overlap."""
    hashes, ellipses, spaced, position = 0, 0, 0, first
    dots, steps = 0, 0  # of "..." and of ". . ." so far
    while position < last:
        stop = min(position + 8, last)
        if position + 8 <= last:
            word = load_word(data, position)
            if not (has_byte(word, _DOTS) or has_byte(word, _HASHES) or has_byte(word, _E2)):
                dots, steps = 0, 0
                position = stop
                continue
        while position < stop:
            byte = data[position]
            dot = byte == 46
            dots = dots + 1 if dot else 0
            if (steps % 2 == 0) == dot and (dot or byte == 32):  # dots and blanks in turn, a dot first
                steps += 1
            else:
                steps = 1 if dot else 0
            ellipses += dots == 3 or (byte == 0xE2 and _is_ellipsis(data, position))
            dots = dots % 3
            spaced += steps == 5
            steps = steps % 5
            hashes += byte == 35
            position += 1
    return hashes, ellipses, spaced


@lean_kernel
def _starts_with_bullet(data: ByteArray, start: int, size: int, flavour: int) -> bool:
    """One of * and -, for the paper and DCLM also • and ●."""
    if size == 0:
        return False
    byte = data[start]
    if byte == 42 or byte == 45:
        return True
    if flavour == DOLMA or byte != 0xE2 or size < 3:
        return False
    return (data[start + 1] == 0x80 and data[start + 2] == 0xA2) or (
        data[start + 1] == 0x97 and data[start + 2] == 0x8F
    )


@lean_kernel
def _ends_in_ellipsis(data: ByteArray, start: int, size: int, flavour: int) -> bool:
    """Whether a line ends in "…", for the paper and DCLM also in "...", for DCLM also in ". . ."."""
    end = start + size
    if size < 3:
        return False
    if _is_ellipsis(data, end - 3):
        return True
    if flavour == DOLMA or data[end - 1] != 46:
        return False
    if data[end - 2] == 46 and data[end - 3] == 46:
        return True
    if flavour == PAPER or size < 5:
        return False
    return data[end - 2] == 32 and data[end - 3] == 46 and data[end - 4] == 32 and data[end - 5] == 46


@lean_kernel
def _count_lines(data: ByteArray, lines: Spans, text: int, flavour: int) -> tuple[int, int, int]:
    """(lines, those that start with a bullet, those that end in an ellipsis); Dolma: blank ones too, and none trimmed."""
    counted, bullets, ellipses = 0, 0, 0
    for row in range(lines.bounds[text], lines.bounds[text + 1]):
        start, size = lines.trim_start[row], lines.trim_size[row]
        if flavour == DOLMA:
            start, size = lines.start[row], lines.size[row]
        elif size == 0:
            continue
        counted += 1
        bullets += _starts_with_bullet(data, start, size, flavour)
        ellipses += _ends_in_ellipsis(data, start, size, flavour)
    return counted, bullets, ellipses


@lean_kernel
def _has_symbol(data: ByteArray, start: int, size: int) -> bool:
    """Whether a word holds "#" or "…"."""
    for position in range(start, start + size):  # kernels have no generators
        if data[position] == 35 or (data[position] == 0xE2 and _is_ellipsis(data, position)):
            return True
    return False


@lean_kernel
def _count_words(data: ByteArray, words: Words, first: int, last: int) -> tuple[int, int, int]:
    """(code points of the words, words with a letter, words with "#" or "…")."""
    chars, alphabetic, with_symbol = 0, 0, 0
    for row in range(first, last):
        chars += words.chars[row]
        alphabetic += (words.flags[row] & ALPHA) != 0
        if words.flags[row] & PUNCTUATION:
            with_symbol += _has_symbol(data, words.start[row], words.size[row])
    return chars, alphabetic, with_symbol


@lean_kernel
def _smallest(values: Int32Array, first: int, last: int, place: int) -> int:
    """The value at a place (from 0 on) of ``values[first:last]`` in ascending order; each pass halves what it may be."""
    low, high = 0, 0
    for row in range(first, last):
        high = max(high, values[row])
    while low < high:
        middle = (low + high) // 2
        below = 0
        for row in range(first, last):
            below += values[row] <= middle
        if below > place:
            high = middle
        else:
            low = middle + 1
    return low


@lean_kernel
def _median(values: Int32Array, first: int, last: int) -> float:
    """Median of ``values[first:last]``, NaN of none."""
    if first == last:
        return np.nan
    half, odd = (last - first) // 2, (last - first) % 2
    upper = _smallest(values, first, last, half)
    return float(upper) if odd else (_smallest(values, first, last, half - 1) + upper) / 2


@lean_kernel
def count_quality(texts: TextBuffers, words: Words, lines: Spans, flavour: int, out: FloatArray) -> None:
    """Fill rows 1 to 6 of ``out`` (7, N), see ``MEASURES``; NaN where a text is null or a quotient has nothing below."""
    data = texts.data
    for text in range(texts.offsets.shape[0] - 1):
        if not texts.valid[text]:
            out[:, text] = np.nan
            continue
        first, last = words.bounds[text], words.bounds[text + 1]
        chars, alphabetic, with_symbol = _count_words(data, words, first, last)
        num_lines, bullets, ends = _count_lines(data, lines, text, flavour)
        num_words = last - first
        out[1, text] = chars / num_words
        out[3, text] = np.nan
        if flavour == DOLMA:
            out[1, text] = _median(words.chars, first, last)
            out[2, text] = with_symbol / num_words
        else:
            hashes, ellipses, spaced = _count_symbols(data, texts.offsets[text], texts.offsets[text + 1])
            out[2, text] = (hashes + (ellipses + spaced if flavour == DCLM else 0)) / num_words
            out[3, text] = ellipses / num_words
        out[4, text] = bullets / num_lines
        out[5, text] = ends / num_lines
        out[6, text] = alphabetic / num_words


def quality_counts(
    found: Segments, flavour: int, length_words: WordRule, other_words: WordRule
) -> npt.NDArray[np.float64]:
    """The measures of N texts, float64 (7, N); ``length_words`` are those that row 0 counts."""
    words: Words = found.words(other_words)
    lines: Spans = found.spans("lines")
    out = np.empty((MEASURES, words.bounds.size - 1))
    count_quality(found.texts, words, lines, flavour, out)
    out[0] = np.where(found.texts.valid, np.diff(found.word_bounds(length_words)), np.nan)
    return out


def warm() -> None:
    """Compile the kernels of this module."""
    texts: TextBuffers = text_buffers(pa.array(["- the #1 of …", None], pa.large_string()))
    quality_counts(Segments(texts), DCLM, "fasttext", "split")
