"""Which documents of a batch are written in Han characters, and two parts of a batch put back in order."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.kernels.buffers import text_buffers

Flags = npt.NDArray[np.bool_]

_STRIDE = 16  # prime to 3, so that the bytes looked at are not all of one place in a character
_FIRST_LEAD, _NUM_LEADS = 0xE3, 7  # lead bytes of U+3000 to U+9FFF: Han, kana and their full stops
_MIN_SHARE = 1 / 24  # of all bytes: one byte in eight belongs to such a character, of three bytes each
_MIN_PART = 1 / 32  # of the batch's bytes; less does not pay for taking it apart


def han_rows(column: pa.Array) -> Flags:
    """True for each text of which Han characters and kana are an eighth or more, by every sixteenth byte.

    All rows are alike where one part of the batch would be less than a thirty-second of its bytes.
    """
    data, offsets, _ = text_buffers(column)
    if not len(column):
        return np.zeros(0, np.bool_)
    sample = data[offsets[0] : offsets[-1] : _STRIDE]
    leads = np.zeros(len(sample) + 1, np.int64)
    np.cumsum(sample - np.uint8(_FIRST_LEAD) < _NUM_LEADS, out=leads[1:])
    sizes = np.diff(offsets)
    found = np.diff(leads[-((offsets[0] - offsets) // _STRIDE)])
    rows = (found > 0) & (found * _STRIDE >= sizes * _MIN_SHARE)
    part, whole = int(sizes[rows].sum()), int(offsets[-1] - offsets[0])
    if part < whole * _MIN_PART:
        return np.zeros(len(column), np.bool_)
    return np.ones(len(column), np.bool_) if whole - part < whole * _MIN_PART else rows


def in_order(
    rows: Flags,
    chosen: tuple[npt.NDArray[Any], npt.NDArray[np.int64]],
    others: tuple[npt.NDArray[Any], npt.NDArray[np.int64]],
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Ids and offsets of all rows, of those of the rows that are True and of the others."""
    sizes = np.empty(len(rows), np.int64)
    sizes[rows], sizes[~rows] = np.diff(chosen[1]), np.diff(others[1])
    tokens = np.repeat(rows, sizes)
    ids = np.empty(len(tokens), chosen[0].dtype)
    ids[tokens], ids[~tokens] = chosen[0], others[0]
    return ids, np.concatenate([[0], np.cumsum(sizes)])
