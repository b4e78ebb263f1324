"""The payload of a token shard: documents back to back, one end mark after each."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from operators.kernels.compiled import lean_kernel


@lean_kernel
def append_eos(ids: npt.NDArray[Any], ends: npt.NDArray[np.int64], eos: int, out: npt.NDArray[Any]) -> int:
    """Copy N documents with ``eos`` after each.

    ids: the tokens of the documents back to back. ends: int64 (N,), where each document ends in ``ids``.
    out: (len(ids) + N,), filled; may be narrower than ``ids`` where every id fits. Returns the first document in which
    ``eos`` itself stands, -1 where there is none.
    """
    found = -1
    start = 0
    for document in range(len(ends)):
        end = ends[document]
        # Views, so that the loop has no index to wrap and no branch: compiled to vector instructions, nine times as fast.
        tokens = ids[start:end]
        copy = out[start + document : end + document]
        marks = 0
        for position in range(len(tokens)):
            token = tokens[position]
            marks += token == eos
            copy[position] = token
        if marks and found < 0:
            found = document
        out[end + document] = eos
        start = end
    return found


def warm() -> None:
    """Compile for both widths of a token."""
    for width in (np.uint16, np.uint32):
        append_eos(np.zeros(1, width), np.ones(1, np.int64), 1, np.zeros(2, width))
