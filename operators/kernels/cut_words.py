"""Which bytes to take out so that exactly some words go and the others stay what they are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from operators.kernels.buffers import ByteArray, FlagArray, OffsetArray, text_buffers
from operators.kernels.bytewise import code_point
from operators.kernels.compiled import kernel, lean_kernel
from operators.kernels.fold import ALONE, CODE_BITS, FoldTable, fold_table
from operators.kernels.folded_words import fold_words
from operators.kernels.unicode_table import SPACE, unicode_flags

NOTHING, BLANK = 0, 1
"""What stands for the bytes taken out: ``replace_spans`` takes ``MARKS``."""
MARKS = (b"", b" ")

_NEWLINE = 10


class Gap(NamedTuple):
    """The white space between two words that keeps them apart if one of them goes."""

    begin: int
    """-1 where there is none."""
    end: int
    lines: int
    """Line feeds in it."""


@lean_kernel
def _space_at(data: ByteArray, flags: FlagArray, position: int, last: int) -> Gap:
    """The run of white space from a position on; its end is its beginning where there is none."""
    end, lines = position, 0
    while end < last:
        code, size = code_point(data, end)
        if not flags[code] & SPACE:
            break
        lines += code == _NEWLINE
        end += size
    return Gap(position, end, lines)


@lean_kernel
def _gap(data: ByteArray, flags: FlagArray, first: int, last: int, behind: bool) -> Gap:
    """The run of white space in data[first:last] that parts what belongs to the words on either side of it.

    behind: look behind the words that go, where the first run parts them from the next word; otherwise before them,
    where the last run does. A run with a line feed goes before one without: what stands between it and the words that
    go, a list's dash, goes with them.
    """
    best = Gap(-1, -1, 0)
    position = first
    while position < last:
        run = _space_at(data, flags, position, last)
        if run.end == position:
            _, size = code_point(data, position)
            position += size
            continue
        first_line = run.lines > 0 and best.lines == 0
        if best.begin < 0 or first_line or (not behind and (run.lines > 0 or best.lines == 0)):
            best = run
        position = run.end
    return best


@lean_kernel
def _inner(data: ByteArray, flags: FlagArray, before: tuple[int, int], after: tuple[int, int]) -> tuple[int, int]:
    """The bytes to take out between a word that ends at before[0] and one that begins at after[1].

    before: the gap up to the first word that goes; after: the gap behind the last. Of the white space on both sides the
    one with more line feeds stays. Punctuation stays with the word it touches; where no white space is, what stands
    before the cut stays, and what stands behind it if that is all there is.
    """
    left = _gap(data, flags, before[0], before[1], False)
    right = _gap(data, flags, after[0], after[1], True)
    if left.begin >= 0 and right.begin >= 0:
        return (left.begin, right.begin) if right.lines > left.lines else (left.end, right.end)
    if left.begin >= 0:
        return left.end, after[1]
    if right.begin >= 0:
        return before[1], right.begin
    return before[1], (after[1] if before[0] < before[1] else after[0])


@lean_kernel
def _outer(data: ByteArray, flags: FlagArray, gap: tuple[int, int], behind: bool) -> int:
    """Where the cut ends that begins with the text (behind), or begins that ends with it."""
    space = _gap(data, flags, gap[0], gap[1], behind)
    if space.begin < 0:
        return gap[1]
    return space.end if behind else space.begin


@lean_kernel
def _would_join(data: ByteArray, fold: FoldTable, left: int, right: int) -> bool:
    """Whether the words that begin at these bytes become one when nothing is between them."""
    alone = np.uint32(ALONE)
    shift = np.uint32(CODE_BITS)
    return fold[code_point(data, left)[0]] >> shift != alone and fold[code_point(data, right)[0]] >> shift != alone


@kernel
def _cut_kernel(
    data: ByteArray,
    offsets: OffsetArray,
    tables: tuple[FoldTable, FlagArray],
    cuts: OffsetArray,
    spans: OffsetArray,
    kinds: OffsetArray,
) -> None:
    fold, flags = tables
    longest = np.int64(0)
    for cut in range(len(cuts)):
        longest = max(longest, offsets[cuts[cut, 2] + 1] - offsets[cuts[cut, 2]])
    words = np.empty(longest // 2 + 2, np.uint64)
    begins, ends = np.empty(longest // 2 + 2, np.uint32), np.empty(longest // 2 + 2, np.uint32)
    count, here = 0, -1
    for cut in range(len(cuts)):
        first, end, row = cuts[cut]
        base, last = offsets[row], offsets[row + 1]
        if row != here:
            here = row
            count = fold_words(data, base, last, fold, words, begins, ends)
        before = (base + (ends[first - 1] if first > 0 else 0), base + begins[first])
        after = (base + ends[end - 1], base + begins[end] if end < count else last)
        start, stop = base, last
        if first > 0 and end < count:
            start, stop = _inner(data, flags, before, after)
        elif first > 0:
            start = _outer(data, flags, before, False)
        elif end < count:
            stop = _outer(data, flags, after, True)
        spans[cut, 0], spans[cut, 1], spans[cut, 2] = start, stop, row
        bare = first > 0 and end < count and before[0] == before[1] and after[0] == after[1]
        kinds[cut] = (
            BLANK if bare and _would_join(data, fold, base + begins[first - 1], base + begins[end]) else NOTHING
        )


def cut_bytes(column: pa.Array | pa.ChunkedArray, cuts: OffsetArray) -> tuple[OffsetArray, OffsetArray]:
    """The bytes that C cuts of words take out: spans int64 (C, 3) and kinds int64 (C,), for ``replace_spans``.

    column: large_string. cuts: int64 (C, 3), first word, end word and row of each; in order, and with a word between
    two of a row. The words that are not cut stay what they are: their folded words, in order, are those of the text
    left, also where a script has no blanks.
    """
    texts = text_buffers(column)
    spans, kinds = np.empty((len(cuts), 3), np.int64), np.empty(len(cuts), np.int64)
    _cut_kernel(texts.data, texts.offsets, (fold_table(), unicode_flags()), cuts, spans, kinds)
    return spans, kinds


def warm() -> None:
    """Compile the kernels of this module."""
    cut_bytes(pa.array(["one two three"], pa.large_string()), np.array([[1, 2, 0]]))
