"""Byte-pair encoding learnt from counted pieces of text: the most frequent pair is merged until there are tokens enough.

The order of merges is that of the trainer of the tokenizers library, to the letter. Two of its habits decide it in rare
cases and are kept: a token that two pairs spell is one token, and a pair that was merged keeps its count, so that it
comes up again, with that count added, where such a token makes it anew.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from operators.kernels.bpe_pairs import (
    COUNT,
    FIRST_ROOM,
    MARK,
    QUEUE,
    Pairs,
    Queue,
    Round,
    longer,
    queued,
    record,
    sink,
    swap,
    with_room,
)  # fmt: skip
from operators.kernels.bpe_tokens import Tokens, all_tokens, room_for, spell, symbols_of
from operators.kernels.buffers import ByteArray, Int32Array, IntArray
from operators.kernels.compiled import kernel, lean_kernel


@lean_kernel
def _merge(
    symbols: Int32Array, size: int, left: int, right: int, token: int, pairs: Pairs, made: Round, state: IntArray
) -> int:
    """Merge a pair in one piece, from its beginning on; returns its new size. The last of ``state`` holds its count and mark."""
    count, mark = state[COUNT], state[MARK]
    read, written = 0, 0
    while read < size:
        if read + 1 >= size or symbols[read] != left or symbols[read + 1] != right:
            symbols[written] = symbols[read]
            read += 1
            written += 1
            continue
        if written > 0 and symbols[written - 1] >= 0:
            before = np.int64(symbols[written - 1]) << 32
            record(pairs, made, state, before | left, -count, mark)
            record(pairs, made, state, before | token, count, mark)
        if read + 2 < size and symbols[read + 2] >= 0:
            behind = np.int64(symbols[read + 2])
            record(pairs, made, state, np.int64(right) << 32 | behind, -count, mark)
            record(pairs, made, state, np.int64(token) << 32 | behind, count, mark)
        symbols[written] = token
        read += 2
        written += 1
    return written


@kernel
def _first_round(
    symbols: Int32Array, begins: IntArray, counts: IntArray, state: IntArray
) -> tuple[Pairs, Queue, Int32Array]:
    """All pairs of all pieces, counted and queued."""
    room = FIRST_ROOM
    columns = np.empty((3, room), np.int64)
    pairs = Pairs(
        columns[0].copy(), columns[1].copy(), columns[2].copy(),
        np.empty(room, np.int32), np.full(2 * room, -1, np.int32),
    )  # fmt: skip
    made = Round(np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32))
    for piece in range(counts.shape[0]):
        pairs, made = with_room(pairs, made, state, begins[piece + 1] - begins[piece])
        for place in range(begins[piece] + 1, begins[piece + 1]):
            if symbols[place - 1] >= 0 and symbols[place] >= 0:
                key = np.int64(symbols[place - 1]) << 32 | symbols[place]
                record(pairs, made, state, key, counts[piece], piece)
    queue = Queue(
        columns[0].copy(), np.empty(room, np.int32), np.empty(room, np.int32), columns[1].copy(), columns[2].copy()
    )
    queue, places = queued(queue, np.empty(room, np.int32), pairs, made, state)
    return pairs, queue, places


@kernel
def learn(
    symbols: Int32Array, begins: IntArray, counts: IntArray, data: ByteArray, bounds: IntArray, prefix: ByteArray,
    most: int, least: int,
) -> tuple[Int32Array, ByteArray, IntArray]:  # fmt: skip
    """Learn merges until there are ``most`` tokens, or no pair occurs ``least`` times.

    symbols, begins: the initial tokens of N pieces, -1 where a character has none, as ``symbols_of`` gives them;
    overwritten. counts: int64 (N,), how often each piece occurs. data, bounds: the initial tokens, all distinct.
    prefix: what a token begins with that goes on a piece (``##``), or nothing; it is left out where a pair is spelt.
    Returns the merges, int32 (M, 3): left, right, token; and all tokens as ``data`` and ``bounds``.
    Memory: some 30 bytes a symbol of the distinct pieces and 60 a distinct pair.
    """
    state = np.zeros(8, np.int64)
    pairs, queue, places = _first_round(symbols, begins, counts, state)
    made = Round(np.empty(FIRST_ROOM, np.int32), np.empty(FIRST_ROOM, np.int32), np.empty(FIRST_ROOM, np.int32))
    tokens = all_tokens(data, bounds, max(most, bounds.shape[0]))
    num_tokens, num_merges = bounds.shape[0] - 1, 0
    merges = np.empty((max(most, 16), 3), np.int32)
    sizes = np.diff(begins)
    rounds = 0
    while num_tokens < most and state[QUEUE] > 0:
        entry = np.int64(queue.entry[0])
        pair = np.int64(queue.pair[entry])
        key, count = pairs.key[pair], pairs.count[pair]
        if queue.count[0] != count:
            queue.count[0] = count
            sink(queue, pairs, state[QUEUE])
            continue
        if count < max(least, 1):
            break
        state[QUEUE] -= 1
        swap(queue, 0, state[QUEUE])
        sink(queue, pairs, state[QUEUE])
        left, right = key >> 32, key & 0xFFFFFFFF
        while tokens.bounds[num_tokens] + room_for(tokens, left, right) > tokens.data.shape[0]:
            tokens = Tokens(longer(tokens.data, tokens.bounds[num_tokens]), tokens.bounds, tokens.table)
        token = spell(tokens, num_tokens, left, right, prefix)
        num_tokens += token == num_tokens
        if num_merges == merges.shape[0]:
            merges = _more_rows(merges)
        merges[num_merges, 0], merges[num_merges, 1], merges[num_merges, 2] = left, right, token
        num_merges += 1
        rounds += 1
        for place in range(queue.first[entry], queue.end[entry]):
            piece = np.int64(places[place])
            pairs, made = with_room(pairs, made, state, 2 * sizes[piece])
            state[COUNT], state[MARK] = counts[piece], rounds << 32 | piece
            own = symbols[begins[piece] : begins[piece + 1]]
            sizes[piece] = _merge(own, sizes[piece], left, right, token, pairs, made, state)
        queue, places = queued(queue, places, pairs, made, state)
    return merges[:num_merges].copy(), tokens.data[: tokens.bounds[num_tokens]].copy(), tokens.bounds[: num_tokens + 1]


@kernel
def _more_rows(rows: Any) -> Any:
    out = np.empty((2 * rows.shape[0], rows.shape[1]), rows.dtype)
    out[: rows.shape[0]] = rows
    return out


def warm() -> None:
    """Compile for the types used in earnest."""
    data, offsets = np.frombuffer(b"abab", np.uint8), np.array([0, 4], np.int64)
    table, symbols = np.zeros(256, np.int32), np.empty(4, np.int32)
    begins = symbols_of(data, offsets, table, table, symbols)
    learn(symbols, begins, np.ones(1, np.int64), data[:1], offsets[:1].repeat(2), data[:0], 1, 1)
