"""The tokens of byte-pair encoding: what a piece begins as, and what two tokens spell."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from operators.kernels.bpe_pairs import slot_of
from operators.kernels.buffers import ByteArray, Int32Array, IntArray
from operators.kernels.bytewise import code_point, copy_bytes, hash_word, same_bytes
from operators.kernels.compiled import kernel, lean_kernel

_CODE_POINTS = 0x110000
_SLACK = 16  # bytes read behind a token by kernels that look at words of eight


class Tokens(NamedTuple):
    """A growing list of distinct byte strings: token k is ``data[bounds[k]:bounds[k + 1]]``."""

    data: ByteArray
    bounds: IntArray
    table: Int32Array
    """Open addressing, a power of two; -1 is free."""


@kernel
def symbols_of(data: ByteArray, offsets: IntArray, first: Int32Array, rest: Int32Array, out: Int32Array) -> IntArray:
    """The initial tokens of N pieces back to back in ``out``; returns int64 (N + 1,), where those of each begin.

    first, rest: the token of the first character of a piece and of the others, -1 for none: a table of 256 entries
    takes bytes, one of 0x110000 code points. out: as long as the pieces together.
    """
    begins = np.zeros(offsets.shape[0], np.int64)
    filled = 0
    by_bytes = first.shape[0] == 256
    for piece in range(offsets.shape[0] - 1):
        position = offsets[piece]
        while position < offsets[piece + 1]:
            table = first if position == offsets[piece] else rest
            if by_bytes:
                out[filled] = table[data[position]]
                position += 1
            else:
                code, size = code_point(data, position)
                out[filled] = table[code]
                position += size
            filled += 1
        begins[piece + 1] = filled
    return begins


@kernel
def characters(data: ByteArray, offsets: IntArray, counts: IntArray) -> IntArray:
    """int64 (0x110000,): how often each code point occurs in N pieces, of which each occurs ``counts`` times."""
    out = np.zeros(_CODE_POINTS, np.int64)
    for piece in range(counts.shape[0]):
        position = offsets[piece]
        while position < offsets[piece + 1]:
            code, size = code_point(data, position)
            out[code] += counts[piece]
            position += size
    return out


@lean_kernel
def enter(tokens: Tokens, used: int, begin: int, end: int) -> Any:
    """The number of the token with these bytes; ``used``, and entered as such, where there is none."""
    mask = tokens.table.shape[0] - 1
    slot = slot_of(hash_word(tokens.data, begin, end), mask)
    while tokens.table[slot] >= 0:
        other = np.int64(tokens.table[slot])
        size = tokens.bounds[other + 1] - tokens.bounds[other]
        if size == end - begin and same_bytes(tokens.data, tokens.bounds[other], begin, size):
            return other
        slot = (slot + 1) & mask
    tokens.table[slot] = used
    tokens.bounds[used + 1] = end
    return used


@kernel
def spell(tokens: Tokens, used: int, left: int, right: int, prefix: ByteArray) -> int:
    """The number of the token that two spell, the right one without its prefix; ``used``, and entered, if it is new."""
    begin, own, size = tokens.bounds[used], tokens.bounds[right], tokens.bounds[right + 1] - tokens.bounds[right]
    skipped = prefix.shape[0] if size >= prefix.shape[0] else 0
    for k in range(skipped):
        if tokens.data[own + k] != prefix[k]:
            skipped = 0
    middle = begin + tokens.bounds[left + 1] - tokens.bounds[left]
    copy_bytes(tokens.data, tokens.bounds[left], tokens.bounds[left + 1], tokens.data, begin)
    copy_bytes(tokens.data, own + skipped, own + size, tokens.data, middle)
    return enter(tokens, used, begin, middle + size - skipped)


@kernel
def all_tokens(data: ByteArray, bounds: IntArray, most: int) -> Tokens:
    """The initial tokens, with room for ``most``."""
    own = np.empty(2 * data.shape[0] + _SLACK, np.uint8)
    own[: data.shape[0]] = data
    room = 16
    while room < 2 * most:
        room *= 2
    tokens = Tokens(own, np.zeros(most + 2, np.int64), np.full(room, -1, np.int32))
    for number in range(bounds.shape[0] - 1):
        enter(tokens, number, bounds[number], bounds[number + 1])
        tokens.bounds[number + 1] = bounds[number + 1]
    return tokens


@lean_kernel
def room_for(tokens: Tokens, left: int, right: int) -> int:
    """Bytes that two tokens need, and those that copying writes behind them."""
    size = tokens.bounds[left + 1] - tokens.bounds[left] + tokens.bounds[right + 1] - tokens.bounds[right]
    return size + _SLACK


def warm() -> None:
    """Compile for the types used in earnest."""
    data, offsets = np.frombuffer(b"abab", np.uint8), np.array([0, 4], np.int64)
    table = np.zeros(256, np.int32)
    symbols_of(data, offsets, table, table, np.empty(4, np.int32))
    characters(data, offsets, np.ones(1, np.int64))
