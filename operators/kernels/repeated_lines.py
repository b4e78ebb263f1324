"""Kernels for repeated lines and paragraphs, as three reference codes count them."""

from __future__ import annotations

import numpy as np

from operators.kernels.buffers import ByteArray, FloatArray, Int32Array, IntArray, TextBuffers
from operators.kernels.bytewise import count_chars, same_bytes, slot_of, table_mask
from operators.kernels.compiled import lean_kernel
from operators.kernels.spans import Spans

DATATROVE = 0
DCLM = 1
DOLMA = 2


@lean_kernel
def _first_equal(
    data: ByteArray,
    start: IntArray,
    size: IntArray,
    digest: IntArray,
    first: int,
    row: int,
    table: Int32Array,
    mask: int,
) -> int:
    """First row in [first, row] with the bytes of ``row``; ``table`` holds rows - first + 1, 0 where free."""
    slot = slot_of(digest[row], mask)
    while table[slot] != 0:
        other = first + table[slot] - 1
        if (
            digest[other] == digest[row]
            and size[other] == size[row]
            and same_bytes(data, start[other], start[row], size[row])
        ):
            return other
        slot = (slot + 1) & mask
    table[slot] = row - first + 1
    return row


@lean_kernel
def _later_copies(
    data: ByteArray,
    start: IntArray,
    size: IntArray,
    chars: IntArray,
    digest: IntArray,
    first: int,
    last: int,
    table: Int32Array,
) -> tuple[int, int]:
    """(rows equal to an earlier row, their code points), empty rows included."""
    mask = table_mask(last - first)
    table[: mask + 1] = 0
    copies, copied = 0, 0
    for row in range(first, last):
        if _first_equal(data, start, size, digest, first, row, table, mask) != row:
            copies += 1
            copied += chars[row]
    return copies, copied


@lean_kernel
def _all_copies(
    data: ByteArray,
    start: IntArray,
    size: IntArray,
    chars: IntArray,
    digest: IntArray,
    first: int,
    last: int,
    table: Int32Array,
    count: Int32Array,
    skip_blank: bool,
) -> tuple[int, int, int, int]:
    """(rows with an equal, their code points, rows, their code points); blank rows left out on request."""
    mask = table_mask(last - first)
    table[: mask + 1] = 0
    rows, total, copies, copied = 0, 0, 0, 0
    for row in range(first, last):
        if skip_blank and size[row] == 0:
            continue
        rows += 1
        total += chars[row]
        original = _first_equal(data, start, size, digest, first, row, table, mask)
        if original == row:
            count[row - first] = 1
            continue
        found = count[original - first]
        count[original - first] += 1
        new = 2 if found == 1 else 1  # the second copy makes the first one a copy too
        copies += new
        copied += new * chars[row]
    return copies, copied, rows, total


@lean_kernel
def repeated_lines(
    texts: TextBuffers,
    lines: Spans,
    paragraphs: Spans,
    flavour: int,
    table: Int32Array,
    count: Int32Array,
    out: FloatArray,
) -> None:
    r"""Fill ``out`` (4, N): paragraph fraction, paragraph chars, line fraction, line chars; NaN where undefined.

    lines: split at ``\\n``. table, count: scratch, int32.
    """
    data = texts.data
    for text in range(texts.offsets.shape[0] - 1):
        first, last = texts.offsets[text], texts.offsets[text + 1]
        if not texts.valid[text] or first == last:
            out[:, text] = np.nan
            continue
        if flavour == DATATROVE:
            chars = count_chars(data, first, last)
            bounds = paragraphs.bounds[text], paragraphs.bounds[text + 1]
            copies, copied = _later_copies(
                data, paragraphs.start, paragraphs.size, paragraphs.chars, paragraphs.hash, bounds[0], bounds[1], table
            )
            out[0, text], out[1, text] = copies / (bounds[1] - bounds[0]), copied / chars
            copies, copied, pieces = _newline_run_copies(data, lines, text, table)
            out[2, text], out[3, text] = copies / pieces, copied / chars
        elif flavour == DCLM:
            for k, spans in ((0, paragraphs), (2, lines)):
                copies, copied, rows, total = _all_copies(
                    data,
                    spans.trim_start,
                    spans.trim_size,
                    spans.trim_chars,
                    spans.trim_hash,
                    spans.bounds[text],
                    spans.bounds[text + 1],
                    table,
                    count,
                    True,
                )
                out[k, text] = copies / rows if rows != 1 else 0.0
                out[k + 1, text] = copied / total if rows != 1 else 0.0
        else:
            copies, copied, rows, _ = _all_copies(
                data,
                lines.start,
                lines.size,
                lines.chars,
                lines.hash,
                lines.bounds[text],
                lines.bounds[text + 1],
                table,
                count,
                False,
            )
            out[0, text], out[1, text] = 0.0, 0.0
            out[2, text], out[3, text] = copies / rows, copied


@lean_kernel
def _newline_run_copies(data: ByteArray, lines: Spans, text: int, table: Int32Array) -> tuple[int, int, int]:
    r"""Later copies among ``re.split("\n+", text)``: the lines that are not empty, and '' at an end that is a line break."""
    first, last = lines.bounds[text], lines.bounds[text + 1]
    mask = table_mask(last - first)
    table[: mask + 1] = 0
    copies, copied, pieces, empty = 0, 0, 0, 0
    for row in range(first, last):
        if lines.size[row] == 0:
            empty += last - first > 1 and (row == first or row == last - 1)
            continue
        pieces += 1
        if _first_equal(data, lines.start, lines.size, lines.hash, first, row, table, mask) != row:
            copies += 1
            copied += lines.chars[row]
    return copies + (empty == 2), copied, pieces + empty
