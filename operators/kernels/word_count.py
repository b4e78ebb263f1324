"""Words of a text, and whether a stretch of it stands between words, for scripts with blanks and without."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.kernels.buffers import ByteArray, OffsetArray, text_buffers
from operators.kernels.compiled import kernel
from operators.kernels.unicode_table import ALONE, ALPHA, MARK, NUMERIC, unicode_flags

_NOTHING, _SPACED, _ALONE, _MARK = 0, 1, 2, 3
_WORD = ALPHA | NUMERIC
_UNDERSCORE = 95


@kernel
def _code_point(data: ByteArray, at: int) -> tuple[np.int64, int]:
    """The code point at ``at`` and its length in bytes; the text is valid UTF-8."""
    first = np.int64(data[at])
    if first < 0x80:
        return first, 1
    if first < 0xE0:
        return (first & 0x1F) << 6 | (data[at + 1] & 0x3F), 2
    if first < 0xF0:
        return (first & 0x0F) << 12 | (data[at + 1] & 0x3F) << 6 | (data[at + 2] & 0x3F), 3
    tail = (data[at + 1] & 0x3F) << 12 | (data[at + 2] & 0x3F) << 6 | (data[at + 3] & 0x3F)
    return (first & 0x07) << 18 | tail, 4


@kernel
def _class(flags: npt.NDArray[np.uint16], code: np.int64) -> int:
    entry = flags[code]
    if entry & ALONE:
        return _ALONE
    if entry & _WORD or code == _UNDERSCORE:
        return _SPACED
    return _MARK if entry & MARK else _NOTHING


@kernel
def count_words(data: ByteArray, offsets: OffsetArray, flags: npt.NDArray[np.uint16]) -> OffsetArray:
    """Words of each of N texts, int64 (N,).

    A word is a run of letters, digits, underscores and their marks; in scripts without blanks (Han, kana, Thai, Lao,
    Khmer, Myanmar) every letter is one. flags: ``unicode_flags()``.
    """
    counts = np.zeros(len(offsets) - 1, np.int64)
    for row in range(len(counts)):
        at, inside, words = offsets[row], False, 0
        while at < offsets[row + 1]:
            code, size = _code_point(data, at)
            at += size
            kind = _class(flags, code)
            if kind == _ALONE:
                words += 1
                inside = False
            elif kind == _SPACED:
                words += not inside
                inside = True
            elif kind == _NOTHING:
                inside = False
        counts[row] = words
    return counts


@kernel
def _joins(data: ByteArray, flags: npt.NDArray[np.uint16], left: int, right: int) -> bool:
    """Whether the characters that start at ``left`` and ``right``, side by side, belong to one word."""
    before = _class(flags, _code_point(data, left)[0])
    after = _class(flags, _code_point(data, right)[0])
    return before != _NOTHING and (after == _MARK or (before != _ALONE and after == _SPACED))


@kernel
def _before(data: ByteArray, at: int) -> int:
    """Start of the character that ends before ``at``."""
    at -= 1
    while data[at] & 0xC0 == 0x80:
        at -= 1
    return at


@kernel
def count_whole(
    data: ByteArray, offsets: OffsetArray, starts: OffsetArray, ends: OffsetArray, flags: npt.NDArray[np.uint16]
) -> OffsetArray:
    """How many of H hits stand in each of N texts as whole words, overlapping ones once, int64 (N,).

    starts, ends: int64 (H,), byte positions sorted by start, longest first; a hit across two texts is none. A hit is
    cut out of a word where its edge and its neighbour are both letters of a script with blanks, or a mark follows.
    """
    counts = np.zeros(len(offsets) - 1, np.int64)
    row, taken = 0, 0
    for hit in range(len(starts)):
        start, end = starts[hit], ends[hit]
        while start >= offsets[row + 1]:
            row += 1
        if start < taken or end > offsets[row + 1]:
            continue
        if start > offsets[row] and _joins(data, flags, _before(data, start), start):
            continue
        if end < offsets[row + 1] and _joins(data, flags, _before(data, end), end):
            continue
        counts[row] += 1
        taken = end
    return counts


def warm() -> None:
    """Compile for text from Arrow, which is read-only."""
    import pyarrow as pa  # only to make the read-only buffers of real use

    texts = text_buffers(pa.array(["a"], pa.large_string()))
    count_words(texts.data, texts.offsets, unicode_flags())
    count_whole(texts.data, texts.offsets, np.zeros(1, np.int64), np.ones(1, np.int64), unicode_flags())
