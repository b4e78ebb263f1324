"""Kernels that take lines, paragraphs or sentences out of texts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.kernels.blocks import BLOCK
from operators.kernels.buffers import ByteArray, IntArray, TextBuffers, large_strings, text_buffers
from operators.kernels.bytewise import copy_bytes
from operators.kernels.compiled import lean_kernel
from operators.kernels.segmentation import Segments
from operators.kernels.unit_hashes import Units, units_of

BoolArray = npt.NDArray[np.bool_]


@lean_kernel
def cover(bounds: IntArray, gone: BoolArray, safe: BoolArray, spans: int, removed: BoolArray) -> None:
    """Fill ``removed`` (M,): units that a span of ``spans`` units to go covers, and none that must stay.

    gone, safe: bool (M,), of the span that begins at each unit.
    """
    for text in range(bounds.shape[0] - 1):
        gone_until, safe_until = -1, -1
        for row in range(bounds[text], bounds[text + 1]):
            if gone[row]:
                gone_until = row + spans
            if safe[row]:
                safe_until = row + spans
            removed[row] = safe_until <= row < gone_until


@lean_kernel
def _line_feeds(data: ByteArray, first: int, last: int) -> int:
    number = 0
    for position in range(first, last):
        number += data[position] == 10
    return number


@lean_kernel
def _write_text(
    data: ByteArray, text: tuple[int, int], rows: tuple[int, int], units: Units, removed: BoolArray, target: ByteArray,
    at: int,
) -> int:  # fmt: skip
    """Write what is left of a text that has units from ``at`` on; returns where it ends."""
    begin, kept_end = at, -1
    gap, most = (text[0], units.start[rows[0]]), -1
    for row in range(rows[0], rows[1]):
        if row > rows[0] and kept_end >= 0:
            feeds = _line_feeds(data, units.end[row - 1], units.start[row])
            if feeds > most:
                gap, most = (units.end[row - 1], units.start[row]), feeds
        if removed[row]:
            continue
        copy_bytes(data, gap[0], gap[1], target, at)
        at += gap[1] - gap[0]
        copy_bytes(data, units.start[row], units.end[row], target, at)
        at += units.end[row] - units.start[row]
        kept_end, most = units.end[row], -1
    if kept_end < 0:
        return begin
    copy_bytes(data, units.end[rows[1] - 1], text[1], target, at)
    return at + text[1] - units.end[rows[1] - 1]


@lean_kernel
def write_texts(texts: TextBuffers, units: Units, removed: BoolArray, target: ByteArray, ends: IntArray) -> None:
    """Write what is left of each text to ``target``; ``ends``: int64 (N + 1,)."""
    at = 0
    ends[0] = 0
    for text in range(texts.offsets.shape[0] - 1):
        span = texts.offsets[text], texts.offsets[text + 1]
        rows = units.bounds[text], units.bounds[text + 1]
        if rows[0] < rows[1]:
            at = _write_text(texts.data, span, rows, units, removed, target, at)
        else:
            copy_bytes(texts.data, span[0], span[1], target, at)
            at += span[1] - span[0]
        ends[text + 1] = at


def without_units(texts: TextBuffers, units: Units, removed: BoolArray) -> pa.Array:
    """The texts without the removed units; null where they were all a text had (and where it was null).

    The blanks before a text's first unit and behind its last one stay. Of the blanks around units that go, those with the
    most line feeds stay, the first of equal ones: a line goes with its line feed, and paragraphs stay apart.
    """
    num_texts = len(texts.offsets) - 1
    target = np.empty(int(texts.offsets[-1] - texts.offsets[0]) + BLOCK, np.uint8)
    ends = np.empty(num_texts + 1, np.int64)
    write_texts(texts, units, removed, target, ends)
    emptied = (np.diff(ends) == 0) & (np.diff(units.bounds) > 0)
    return large_strings(target, ends, texts.valid & ~emptied)


def covered(units: Units, gone: BoolArray, safe: BoolArray, spans: int) -> BoolArray:
    """Which of M units go; see ``cover``."""
    removed = np.empty(len(gone), np.bool_)
    cover(units.bounds, gone, safe, spans, removed)
    return removed


def warm() -> None:
    """Compile the kernels of this module."""
    found = Segments(text_buffers(pa.array(["One.\nTwo."], pa.large_string())))
    units = units_of(found, "nonempty_lines", joined=False)
    gone = np.array([True, False])
    without_units(found.texts, units, covered(units, gone, ~gone, 1))
