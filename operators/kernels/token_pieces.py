"""Kernels over token ids and the bytes that each id stands for: kinds counted, texts compared."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.buffers import ByteArray, IntArray, OffsetArray
from operators.kernels.compiled import lean_kernel


class Pieces(NamedTuple):
    """The bytes of V ids: those of id i are ``data[offsets[i]:offsets[i + 1]]``."""

    data: ByteArray
    offsets: OffsetArray


@lean_kernel
def count_kinds(
    ids: npt.NDArray[Any], offsets: OffsetArray, kinds: ByteArray, used: IntArray, counts: IntArray
) -> None:
    """Count the tokens of N documents by kind.

    ids: tokens back to back. offsets: int64 (N + 1,). kinds: uint8 (V,), a bit for each of K kinds. used: int64 (V,),
    how often each id occurred is added. counts: int64 (N, K), the tokens of a kind in a document are added.
    """
    for document in range(offsets.shape[0] - 1):
        for position in range(offsets[document], offsets[document + 1]):
            token = ids[position]
            used[token] += 1
            kind = kinds[token]
            if kind == 0:
                continue
            for bit in range(counts.shape[1]):
                counts[document, bit] += (kind >> bit) & 1


@lean_kernel
def _spells(ids: npt.NDArray[Any], pieces: Pieces, data: ByteArray, position: int, end: int) -> bool:
    """Whether the pieces of ids, back to back, are ``data[position:end]``."""
    for token in ids:
        first, last = pieces.offsets[token], pieces.offsets[token + 1]
        if position + last - first > end:
            return False
        for byte in range(first, last):
            if pieces.data[byte] != data[position]:
                return False
            position += 1
    return position == end


@lean_kernel
def find_lossless(
    ids: npt.NDArray[Any],
    offsets: OffsetArray,
    pieces: Pieces,
    data: ByteArray,
    text_offsets: OffsetArray,
    lossless: npt.NDArray[np.bool_],
) -> None:
    """For each of N documents, whether the bytes of its tokens are its text, byte for byte; ``lossless`` is filled."""
    for document in range(offsets.shape[0] - 1):
        own = ids[offsets[document] : offsets[document + 1]]
        lossless[document] = _spells(own, pieces, data, text_offsets[document], text_offsets[document + 1])


def warm() -> None:
    """Compile for both widths of a token."""
    data = np.frombuffer(b"a", np.uint8)
    bounds = np.array([0, 1])
    for width in (np.uint16, np.uint32):
        ids = np.zeros(1, width)
        count_kinds(ids, bounds, np.ones(1, np.uint8), np.zeros(1, np.int64), np.zeros((1, 3), np.int64))
        find_lossless(ids, bounds, Pieces(data, bounds), data, bounds, np.zeros(1, np.bool_))
