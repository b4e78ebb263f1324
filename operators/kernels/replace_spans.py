"""Texts with stretches of them replaced, as flat arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from operators.kernels.buffers import ByteArray, OffsetArray
from operators.kernels.compiled import kernel


@kernel
def _replace(
    data: ByteArray,
    offsets: OffsetArray,
    spans: OffsetArray,
    kinds: OffsetArray,
    marks: ByteArray,
    mark_ends: OffsetArray,
) -> tuple[ByteArray, OffsetArray]:
    size = offsets[-1] - offsets[0]
    for span in range(len(kinds)):
        size += mark_ends[kinds[span] + 1] - mark_ends[kinds[span]] - spans[span, 1] + spans[span, 0]
    out, ends = np.empty(size, np.uint8), np.zeros(len(offsets), np.int64)
    span, written = 0, 0
    for row in range(len(offsets) - 1):
        at = offsets[row]
        while span < len(kinds) and spans[span, 2] == row:
            length = spans[span, 0] - at
            out[written : written + length] = data[at : spans[span, 0]]
            written += length
            mark = marks[mark_ends[kinds[span]] : mark_ends[kinds[span] + 1]]
            out[written : written + len(mark)] = mark
            written += len(mark)
            at = spans[span, 1]
            span += 1
        length = offsets[row + 1] - at
        out[written : written + length] = data[at : offsets[row + 1]]
        written += length
        ends[row + 1] = written
    return out, ends


def replace_spans(
    data: ByteArray, offsets: OffsetArray, spans: OffsetArray, kinds: OffsetArray, marks: Sequence[bytes]
) -> tuple[ByteArray, OffsetArray]:
    """N texts with S stretches replaced: new bytes, and offsets int64 (N + 1,) that start at 0; both read-only.

    spans: int64 (S, 3), start, end and row of each, in order and without overlap. kinds: int64 (S,), which of ``marks``
    stands for each.
    """
    mark_ends = np.cumsum([0, *map(len, marks)], dtype=np.int64)
    out, ends = _replace(data, offsets, spans, kinds, np.frombuffer(b"".join(marks), np.uint8), mark_ends)
    for array in (out, ends):
        array.setflags(write=False)  # as Arrow's own, or kernels would be compiled a second time for them
    return out, ends


def warm() -> None:
    """Compile for read-only text, as Arrow's is."""
    data, offsets = np.frombuffer(b"abc", np.uint8), np.frombuffer(np.array([0, 3], np.int64).tobytes(), np.int64)
    replace_spans(data, offsets, np.array([[0, 1, 0]]), np.zeros(1, np.int64), [b"x"])
