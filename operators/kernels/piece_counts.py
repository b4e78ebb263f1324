"""How often each distinct piece of text occurs: a table of byte strings with a count each."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.buffers import ByteArray, IntArray
from operators.kernels.bytewise import copy_bytes, hash_word, same_bytes
from operators.kernels.compiled import kernel, lean_kernel

SLACK = 16
"""Bytes of room behind the last piece."""


class Counted(NamedTuple):
    """Distinct pieces: piece k is ``data[bounds[k]:bounds[k + 1]]``."""

    data: ByteArray
    bounds: IntArray
    count: IntArray
    table: npt.NDArray[np.int32]
    """Open addressing, a power of two at least twice the number of pieces; -1 is free."""


@lean_kernel
def _place(counted: Counted, begin: int, size: int) -> Any:
    """Where the table holds the piece that stands at ``data[begin:begin + size]``, or would."""
    mask = np.uint64(counted.table.shape[0] - 1)
    mixed = np.uint64(hash_word(counted.data, begin, begin + size)) * np.uint64(0x9E3779B97F4A7C15)
    place = (mixed >> np.uint64(32)) & mask
    while counted.table[place] >= 0:
        other = np.int64(counted.table[place])
        if counted.bounds[other + 1] - counted.bounds[other] == size:
            if same_bytes(counted.data, counted.bounds[other], begin, size):
                break
        place = (place + np.uint64(1)) & mask
    return np.int64(place)


@lean_kernel
def count_pieces(data: ByteArray, cuts: IntArray, num_pieces: int, counted: Counted, used: int) -> int:
    """Count the pieces between cuts, empty ones left out; returns how many distinct ones there are now.

    counted: ``used`` pieces, with room for ``num_pieces`` more and their bytes.
    """
    end = counted.bounds[used]
    for piece in range(num_pieces):
        first, size = cuts[piece], cuts[piece + 1] - cuts[piece]
        if size == 0:
            continue
        copy_bytes(data, first, first + size, counted.data, end)
        place = _place(counted, end, size)
        number = np.int64(counted.table[place])
        if number < 0:
            number = used
            counted.table[place] = number
            counted.count[number] = 0
            used += 1
            end += size
            counted.bounds[used] = end
        counted.count[number] += 1
    return used


@lean_kernel
def enter_again(counted: Counted, used: int) -> None:
    """Fill an empty table with the pieces there are."""
    for number in range(used):
        begin = counted.bounds[number]
        counted.table[_place(counted, begin, counted.bounds[number + 1] - begin)] = number


@kernel
def partitions(data: ByteArray, bounds: IntArray, number: int) -> npt.NDArray[np.int64]:
    """int64 (N,): the partition of each piece, by a hash of its bytes that is the same everywhere (FNV-1a, mixed)."""
    out = np.empty(bounds.shape[0] - 1, np.int64)
    for piece in range(bounds.shape[0] - 1):
        mixed = np.uint64(0xCBF29CE484222325)
        for position in range(bounds[piece], bounds[piece + 1]):
            mixed = (mixed ^ np.uint64(data[position])) * np.uint64(0x100000001B3)
        mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
        out[piece] = np.int64((mixed >> np.uint64(32)) % np.uint64(number))
    return out


def warm() -> None:
    """Compile for the types used in earnest."""
    data = np.zeros(SLACK, np.uint8)
    data.setflags(write=False)
    empty = Counted(
        np.zeros(2 * SLACK, np.uint8), np.zeros(3, np.int64), np.zeros(2, np.int64), np.full(4, -1, np.int32)
    )
    used = count_pieces(data, np.array([0, 1]), 1, empty, 0)
    enter_again(empty._replace(table=np.full(4, -1, np.int32)), used)
    partitions(empty.data[:1], empty.bounds[:2], 4)
