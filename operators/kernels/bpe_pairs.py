"""Pairs of tokens side by side: how often each occurs, where, and which comes first."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from operators.kernels.buffers import Int32Array, IntArray
from operators.kernels.compiled import kernel, lean_kernel

PAIRS, MADE, NEWS, QUEUE, ENTRIES, PLACES, COUNT, MARK = range(8)
"""Places of the numbers that kernels hand on: pairs, pieces listed and new pairs of a round, length of the queue,
entries, pieces of all entries; and, of the piece at hand, its count and its mark."""

FIRST_ROOM = 1 << 12


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


@lean_kernel
def slot_of(key: int, mask: int) -> Any:
    """Where to look first in a table of ``mask + 1`` slots."""
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64(mixed >> np.uint64(32)) & mask


@kernel
def longer(array: Any, used: int) -> Any:
    """Twice as much room."""
    out = np.empty(2 * array.shape[0], array.dtype)
    out[:used] = array[:used]
    return out


@lean_kernel
def _find(pairs: Pairs, key: int) -> int:
    """Where the table holds a pair, or would."""
    mask = pairs.table.shape[0] - 1
    slot = slot_of(key, mask)
    while pairs.table[slot] >= 0 and pairs.key[pairs.table[slot]] != key:
        slot = (slot + 1) & mask
    return slot


@kernel
def _roomier(pairs: Pairs, used: int) -> Pairs:
    grown = Pairs(
        longer(pairs.key, used),
        longer(pairs.count, used),
        longer(pairs.mark, used),
        longer(pairs.listed, used),
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
def swap(queue: Queue, one: int, other: int) -> None:
    """Exchange two places of the heap."""
    queue.count[one], queue.count[other] = queue.count[other], queue.count[one]
    queue.entry[one], queue.entry[other] = queue.entry[other], queue.entry[one]


@lean_kernel
def rise(queue: Queue, pairs: Pairs, place: int) -> None:
    """Move a place up until the heap is in order."""
    while place > 0 and _before(queue, pairs, place, (place - 1) >> 1):
        swap(queue, place, (place - 1) >> 1)
        place = (place - 1) >> 1


@lean_kernel
def sink(queue: Queue, pairs: Pairs, size: int) -> None:
    """Move the first of ``size`` places down until the heap is in order."""
    place = 0
    while True:
        best, left = place, 2 * place + 1
        if left < size and _before(queue, pairs, left, best):
            best = left
        if left + 1 < size and _before(queue, pairs, left + 1, best):
            best = left + 1
        if best == place:
            return
        swap(queue, place, best)
        place = best


@lean_kernel
def record(pairs: Pairs, made: Round, state: IntArray, key: Any, count: int, mark: int) -> None:
    """Add to a pair's count; where it is more than it was, note the piece."""
    slot = _find(pairs, key)
    number = np.int64(pairs.table[slot])
    if number < 0:
        number = state[PAIRS]
        state[PAIRS] += 1
        pairs.table[slot] = number
        pairs.key[number] = key
        pairs.count[number] = 0
        pairs.mark[number] = -1
    pairs.count[number] += count
    if count > 0 and pairs.mark[number] != mark:
        if pairs.mark[number] >> 32 != mark >> 32:
            pairs.listed[number] = 0
            made.news[state[NEWS]] = number
            state[NEWS] += 1
        pairs.mark[number] = mark
        pairs.listed[number] += 1
        made.pair[state[MADE]] = number
        made.piece[state[MADE]] = mark & 0xFFFFFFFF
        state[MADE] += 1


@kernel
def with_room(pairs: Pairs, made: Round, state: IntArray, more: int) -> tuple[Pairs, Round]:
    """Both, with room for that many new pairs."""
    while state[PAIRS] + more > pairs.key.shape[0]:
        pairs = _roomier(pairs, state[PAIRS])
    while state[MADE] + more > made.pair.shape[0]:
        used = state[MADE]
        made = Round(longer(made.pair, used), longer(made.piece, used), longer(made.news, state[NEWS]))
    return pairs, made


@kernel
def queued(queue: Queue, places: Int32Array, pairs: Pairs, made: Round, state: IntArray) -> tuple[Queue, Int32Array]:
    """Enter the pairs of a round in the queue, each with its pieces, which are appended to ``places``."""
    used = state[PLACES]
    while used + state[MADE] > places.shape[0]:
        places = longer(places, used)
    for k in range(state[NEWS]):
        number = np.int64(made.news[k])
        size = np.int64(pairs.listed[number])
        pairs.listed[number] = -1
        if pairs.count[number] <= 0:
            continue
        entry = state[ENTRIES]
        if entry == queue.pair.shape[0]:
            queue = Queue(
                longer(queue.count, entry),
                longer(queue.entry, entry),
                longer(queue.pair, entry),
                longer(queue.first, entry),
                longer(queue.end, entry),
            )
        queue.pair[entry] = number
        queue.first[entry] = queue.end[entry] = used
        pairs.listed[number] = entry
        used += size
        state[ENTRIES] += 1
        queue.count[state[QUEUE]] = pairs.count[number]
        queue.entry[state[QUEUE]] = entry
        rise(queue, pairs, state[QUEUE])
        state[QUEUE] += 1
    for k in range(state[MADE]):
        entry = np.int64(pairs.listed[made.pair[k]])
        if entry >= 0:
            places[queue.end[entry]] = made.piece[k]
            queue.end[entry] += 1
    state[PLACES] = used
    state[NEWS] = state[MADE] = 0
    return queue, places
