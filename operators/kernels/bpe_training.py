"""Byte-pair encoding learnt from counted pieces of text: the most frequent pair is merged until there are tokens enough.

The order of merges is that of the trainer of the tokenizers library, to the letter. Two of its habits decide it in rare
cases and are kept: a token that two pairs spell is one token, and a pair that was merged keeps its count, so that it
comes up again, with that count added, where such a token makes it anew.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.buffers import ByteArray, Int32Array, IntArray
from operators.kernels.bytewise import code_point, copy_bytes, hash_word, same_bytes
from operators.kernels.compiled import kernel, lean_kernel

_SLACK = 16  # bytes read behind a token by kernels that look at words of eight


class Tokens(NamedTuple):
    """A growing list of distinct byte strings: token k is ``data[bounds[k]:bounds[k + 1]]``."""

    data: ByteArray
    bounds: IntArray
    table: Int32Array
    """Open addressing, a power of two; -1 is free."""


class Pairs(NamedTuple):
    """Every pair of tokens that was ever seen side by side."""

    key: IntArray
    """Left token times 2**32, plus the right one."""
    count: IntArray
    mark: IntArray
    """Round and piece in which the pair was last made, so that a piece is listed once."""
    listed: Int32Array
    """How many pieces the round lists; afterwards where the next goes."""
    table: Int32Array


class Queue(NamedTuple):
    """A heap of (count when entered, entry), and the entries: a pair and the pieces in which a round made it."""

    count: IntArray
    entry: Int32Array
    pair: Int32Array
    first: IntArray
    end: IntArray


class Round(NamedTuple):
    """What the merges of one round changed: pairs made, and in which piece."""

    pair: Int32Array
    piece: Int32Array
    news: Int32Array
    """Distinct pairs, in order of appearance."""


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
def _longer(array: Any, used: int) -> Any:
    """Twice as much room."""
    out = np.empty(2 * array.shape[0], array.dtype)
    out[:used] = array[:used]
    return out


@lean_kernel
def _slot(key: int, mask: int) -> int:
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64(mixed >> np.uint64(32)) & mask


@lean_kernel
def _find(pairs: Pairs, key: int) -> int:
    """Where the table holds a pair, or would."""
    mask = pairs.table.shape[0] - 1
    slot = _slot(key, mask)
    while pairs.table[slot] >= 0 and pairs.key[pairs.table[slot]] != key:
        slot = (slot + 1) & mask
    return slot


@kernel
def _roomier(pairs: Pairs, used: int) -> Pairs:
    grown = Pairs(
        _longer(pairs.key, used),
        _longer(pairs.count, used),
        _longer(pairs.mark, used),
        _longer(pairs.listed, used),
        np.full(2 * pairs.table.shape[0], -1, np.int32),
    )
    for number in range(used):
        grown.table[_find(grown, grown.key[number])] = number
    return grown


@lean_kernel
def _before(queue: Queue, pairs: Pairs, one: int, other: int) -> bool:
    """Whether the place ``one`` of the heap goes before another: higher count, then lower tokens."""
    if queue.count[one] != queue.count[other]:
        return queue.count[one] > queue.count[other]
    return pairs.key[queue.pair[queue.entry[one]]] < pairs.key[queue.pair[queue.entry[other]]]


@lean_kernel
def _swap(queue: Queue, one: int, other: int) -> None:
    queue.count[one], queue.count[other] = queue.count[other], queue.count[one]
    queue.entry[one], queue.entry[other] = queue.entry[other], queue.entry[one]


@lean_kernel
def _rise(queue: Queue, pairs: Pairs, place: int) -> None:
    while place > 0 and _before(queue, pairs, place, (place - 1) >> 1):
        _swap(queue, place, (place - 1) >> 1)
        place = (place - 1) >> 1


@lean_kernel
def _sink(queue: Queue, pairs: Pairs, size: int) -> None:
    place = 0
    while True:
        best, left = place, 2 * place + 1
        if left < size and _before(queue, pairs, left, best):
            best = left
        if left + 1 < size and _before(queue, pairs, left + 1, best):
            best = left + 1
        if best == place:
            return
        _swap(queue, place, best)
        place = best


@kernel
def _token(tokens: Tokens, used: int, left: int, right: int, prefix: int) -> int:
    """The number of the token that two spell, the right one without its prefix; ``used`` where it is a new one.

    It then stands behind the others, and in the table.
    """
    begin, skipped = tokens.bounds[used], 0
    size = tokens.bounds[right + 1] - tokens.bounds[right]
    # Token 0 of the table's making is the prefix itself: see ``learn``.
    if prefix > 0 and size >= prefix:
        own = tokens.bounds[right]
        skipped = prefix
        for k in range(prefix):
            if tokens.data[own + k] != tokens.data[k]:
                skipped = 0
    end = begin + tokens.bounds[left + 1] - tokens.bounds[left]
    copy_bytes(tokens.data, tokens.bounds[left], tokens.bounds[left + 1], tokens.data, begin)
    copy_bytes(tokens.data, tokens.bounds[right] + skipped, tokens.bounds[right + 1], tokens.data, end)
    end += size - skipped
    found = _enter(tokens, used, begin, end)
    if found == used:
        tokens.bounds[used + 1] = end
    return found


@lean_kernel
def _enter(tokens: Tokens, used: int, begin: int, end: int) -> int:
    """The number of the token with these bytes; ``used``, and entered as such, where there is none."""
    mask = tokens.table.shape[0] - 1
    slot = _slot(hash_word(tokens.data, begin, end), mask)
    while tokens.table[slot] >= 0:
        other = np.int64(tokens.table[slot])
        size = tokens.bounds[other + 1] - tokens.bounds[other]
        if size == end - begin and same_bytes(tokens.data, tokens.bounds[other], begin, size):
            return other
        slot = (slot + 1) & mask
    tokens.table[slot] = used
    return used
