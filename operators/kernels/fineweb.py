"""Kernel for FineWeb's own rules: how the lines of a text end, how long they are, how many repeat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.kernels.buffers import ByteArray, FloatArray, Int32Array, OffsetArray, TextBuffers, text_buffers
from operators.kernels.bytewise import code_point_before, same_bytes, slot_of, table_mask
from operators.kernels.compiled import lean_kernel
from operators.kernels.punctuation import TERMINAL_PUNCTUATION, membership
from operators.kernels.segmentation import Segments, WordRule
from operators.kernels.spans import Spans

MEASURES = 4
"""Rows of the result: share of lines that end in an end mark, share of short lines, code points of later copies of lines
per code point that is no line feed, line feeds per word."""


@lean_kernel
def _is_copy(data: ByteArray, lines: Spans, first: int, row: int, table: Int32Array, mask: int) -> bool:
    """Whether a line equals an earlier one of [first, row); ``table`` holds rows - first + 1, 0 where free."""
    slot = slot_of(lines.hash[row], mask)
    while table[slot] != 0:
        other = first + table[slot] - 1
        if (
            lines.hash[other] == lines.hash[row]
            and lines.size[other] == lines.size[row]
            and same_bytes(data, lines.start[other], lines.start[row], lines.size[row])
        ):
            return True
        slot = (slot + 1) & mask
    table[slot] = row - first + 1
    return False


@lean_kernel
def line_measures(
    texts: TextBuffers,
    lines: Spans,
    word_bounds: OffsetArray,
    end_marks: ByteArray,
    short_chars: int,
    table: Int32Array,
    out: FloatArray,
) -> None:
    """Fill ``out`` (4, N); NaN where a text has no line that is more than white space.

    lines: those that are not empty. end_marks: 1 at each code point that is one. table: scratch, int32.
    """
    data = texts.data
    for text in range(texts.offsets.shape[0] - 1):
        first, last = lines.bounds[text], lines.bounds[text + 1]
        mask = table_mask(last - first)
        table[: mask + 1] = 0
        solid, marked, short, chars, copied = 0, 0, 0, 0, 0
        line_feeds = texts.offsets[text + 1] - texts.offsets[text]
        for row in range(first, last):
            line_feeds -= lines.size[row]
            chars += lines.chars[row]
            if lines.trim_size[row] == 0:
                continue
            solid += 1
            short += lines.chars[row] <= short_chars
            code = code_point_before(data, lines.start[row] + lines.size[row])[0]
            marked += code < end_marks.shape[0] and end_marks[code] != 0
            if _is_copy(data, lines, first, row, table, mask):
                copied += lines.chars[row]
        if solid == 0:
            out[:, text] = np.nan
            continue
        out[0, text] = marked / solid
        out[1, text] = short / solid
        out[2, text] = copied / chars
        out[3, text] = line_feeds / (word_bounds[text + 1] - word_bounds[text])


def fineweb(
    found: Segments, *, rule: WordRule, short_chars: int, end_marks: frozenset[int] = TERMINAL_PUNCTUATION
) -> npt.NDArray[np.float64]:
    """The measures of N texts, float64 (4, N); see ``MEASURES``."""
    bounds, lines = found.word_bounds(rule), found.spans("nonempty_lines")
    most = int(np.diff(lines.bounds).max(initial=0))
    table = np.empty(4 * most + 4, np.int32)
    out = np.empty((MEASURES, bounds.size - 1))
    line_measures(found.texts, lines, bounds, membership(end_marks), short_chars, table, out)
    return out


def warm() -> None:
    """Compile the kernels of this module."""
    found = Segments(text_buffers(pa.array(["One line.\nTwo", None], pa.large_string())))
    fineweb(found, rule="split", short_chars=30)
