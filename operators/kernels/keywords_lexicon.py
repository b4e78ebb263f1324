"""The entries of word lists as tables: the first word of an entry by its hash, the rest down a tree of bytes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from operators.kernels.buffers import ByteArray, FlagArray, Int32Array, IntArray, TextBuffers
from operators.kernels.bytewise import code_point, load_part, load_word, table_mask
from operators.kernels.compiled import lean_kernel
from operators.kernels.keywords_edges import WORD, EdgeRule, Edges, edges, kind_of
from operators.kernels.unicode_table import unicode_flags

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_HALF, _TO_TOP, _TOP = np.uint64(32), np.uint64(56), np.uint64(1 << 63)


def _eight_times(byte: int) -> np.uint64:
    return np.uint64(byte * 0x0101010101010101)


_ONE, _ONES, _LOW, _HIGH = np.uint64(1), _eight_times(1), _eight_times(0x7F), _eight_times(0x80)
_BLANKS, _UNDERSCORES = _eight_times(ord(" ")), _eight_times(ord("_"))
_FROM_A, _BEYOND_Z = _eight_times(0x80 - ord("a")), _eight_times(0x7F - ord("z"))
_FROM_0, _BEYOND_9 = _eight_times(0x80 - ord("0")), _eight_times(0x7F - ord("9"))
"""Added to a byte below 128, these set its high bit from that character on, or beyond it."""


LAST_BIT = 62


class Lexicon(NamedTuple):
    """R entries of L lists. The head of an entry is its first word, or its first character where that is of no word.

    H heads are the nodes 0 to H - 1 of a tree in which each further byte of an entry leads one node on.
    """

    data: ByteArray
    """uint8, the entries."""
    begins: ByteArray
    """uint8 (256,): 1 where a head begins with the byte."""
    heads: Int32Array
    """int32 (slots,): head + 1, 0 where free: open addressing by hash."""
    head_hash: IntArray
    """int64 (H,)"""
    head_start: IntArray
    """int64 (H,), position in ``data``."""
    head_size: IntArray
    """int64 (H,), bytes."""
    keys: IntArray
    """int64 (slots,): (node + 1) << 8 | byte, 0 where free: open addressing."""
    below: Int32Array
    """int32 (slots,): the node that the byte leads to."""
    leads: ByteArray
    """uint8 (nodes,): 1 where a byte leads on."""
    lists: IntArray
    """int64 (nodes,): the lists of the entries that end at the node or below it, a bit each; those from ``LAST_BIT`` on
    share the last."""
    entry: Int32Array
    """int32 (nodes,): an entry that ends at the node, -1 for none."""
    following: Int32Array
    """int32 (R,): the next entry that ends at the same node, of another list; -1 for none."""
    listed: Int32Array
    """int32 (R,): the list of each entry."""


class Search(NamedTuple):
    """What is looked for, and how."""

    lexicon: Lexicon
    flags: FlagArray
    edges: Edges
    blanks: bool
    """Whether a blank in an entry stands for a run of blanks in a text."""


@lean_kernel
def after(data: ByteArray, position: int, last: int, blanks: bool) -> int:
    """The position behind a byte, or behind a run of blanks."""
    if blanks and data[position] == 32:
        while position + 1 < last and data[position + 1] == 32:
            position += 1
    return position + 1


@lean_kernel
def _word_bytes(eight: Any) -> Any:
    """How many of eight bytes (uint64), from the first on, are letters, digits or underscores of ASCII."""
    low = eight & _LOW
    letter = low | _BLANKS
    letter = (letter + _FROM_A) & ~(letter + _BEYOND_Z)  # the high bit of bytes from a to z
    digit = (low + _FROM_0) & ~(low + _BEYOND_9)
    underscore = ~((low ^ _UNDERSCORES) + _LOW)
    other = ~((letter | digit | underscore) & ~eight) & _HIGH
    if other == 0:
        return 8
    below = (other & (~other + _ONE)) - _ONE  # the bits below the lowest high bit
    return np.int64(((below & _ONES) * _ONES) >> _TO_TOP) - 1


@lean_kernel
def digest(data: ByteArray, first: int, last: int) -> Any:
    """int64: up to 7 bytes themselves, a hash of more. Unsigned, since numba leaves a signed overflow undefined."""
    size = last - first
    if size < 8:
        return load_part(data, first, size) | size << 56
    result, position = np.uint64(size), first
    while position < last:
        eight = load_word(data, position) if position + 8 <= last else load_part(data, position, last - position)
        result = (result ^ np.uint64(eight)) * _PRIME
        result ^= result >> _HALF
        position += 8
    return np.int64(result | _TOP)


@lean_kernel
def slot_of(value: Any, mask: int) -> Any:
    """Home slot of an int64 in a table of ``mask + 1`` (a power of two) slots."""
    return np.int64((np.uint64(value) * _PRIME) >> _HALF) & mask


@lean_kernel
def run_end(data: ByteArray, flags: FlagArray, rule: Edges, position: int, last: int) -> int:
    """End of the run of word characters that starts at a position."""
    while rule.swift and position + 8 <= last:
        size = _word_bytes(np.uint64(load_word(data, position)))
        position += size
        if size < 8:
            break
    while position < last:
        size = 1
        if data[position] < 128:
            kind = np.int64(rule.ascii[data[position]])
        else:
            code, size = code_point(data, position)
            kind = kind_of(flags, rule, code)
        if kind != WORD:
            break
        position += size
    return position


@lean_kernel
def _head_end(data: ByteArray, flags: FlagArray, rule: Edges, position: int, last: int) -> int:
    """End of the head that starts at a position."""
    code, size = code_point(data, position)
    if kind_of(flags, rule, code) == WORD:
        return run_end(data, flags, rule, position, last)
    return position + size


@lean_kernel
def head_of(lexicon: Lexicon, data: ByteArray, first: int, last: int) -> Any:
    """The head that ``data[first:last]`` is, -1 for none."""
    found, mask = digest(data, first, last), lexicon.heads.shape[0] - 1
    slot = slot_of(found, mask)
    while lexicon.heads[slot] != 0:
        head = np.int64(lexicon.heads[slot]) - 1
        if lexicon.head_hash[head] == found and lexicon.head_size[head] == last - first:
            start, k = lexicon.head_start[head], 0
            while k < last - first and lexicon.data[start + k] == data[first + k]:
                k += 1
            if k == last - first:
                return head
        slot = (slot + 1) & mask
    return -1


@lean_kernel
def below(lexicon: Lexicon, node: Any, byte: Any) -> tuple[Any, int]:
    """(the node that a byte leads to, -1 for none; the slot where it stands, or would)."""
    key = (np.int64(node) + 1) << 8 | np.int64(byte)
    mask = lexicon.keys.shape[0] - 1
    slot = slot_of(key, mask)
    while lexicon.keys[slot] != 0:
        if lexicon.keys[slot] == key:
            return np.int64(lexicon.below[slot]), slot
        slot = (slot + 1) & mask
    return -1, slot


@lean_kernel
def _add_heads(entries: TextBuffers, search: Search, ends: IntArray, nodes: Int32Array) -> int:
    """Enter the head of every entry; fills (R,) where it ends and which it is; returns H."""
    lexicon, heads = search.lexicon, 0
    for entry in range(entries.offsets.shape[0] - 1):
        first, last = entries.offsets[entry], entries.offsets[entry + 1]
        if first == last:
            continue
        end = _head_end(entries.data, search.flags, search.edges, first, last)
        head = head_of(lexicon, entries.data, first, end)
        if head < 0:
            head = heads
            heads += 1
            lexicon.begins[entries.data[first]] = 1
            lexicon.head_hash[head] = digest(entries.data, first, end)
            lexicon.head_start[head] = first
            lexicon.head_size[head] = end - first
            slot = slot_of(lexicon.head_hash[head], lexicon.heads.shape[0] - 1)
            while lexicon.heads[slot] != 0:
                slot = (slot + 1) & (lexicon.heads.shape[0] - 1)
            lexicon.heads[slot] = head + 1
        ends[entry] = end
        nodes[entry] = head
    return heads


@lean_kernel
def _add_tails(entries: TextBuffers, search: Search, ends: IntArray, nodes: Int32Array, used: int) -> None:
    """Enter what follows the heads; an entry that its list holds twice is entered once. used: nodes so far."""
    lexicon = search.lexicon
    for entry in range(entries.offsets.shape[0] - 1):
        position, last = ends[entry], entries.offsets[entry + 1]
        if entries.offsets[entry] == last:
            continue
        node, bit = np.int64(nodes[entry]), 1 << min(np.int64(lexicon.listed[entry]), LAST_BIT)
        lexicon.lists[node] |= bit
        while position < last:
            child, slot = below(lexicon, node, entries.data[position])
            if child < 0:
                child = used
                used += 1
                lexicon.keys[slot] = (node + 1) << 8 | np.int64(entries.data[position])
                lexicon.below[slot] = child
                lexicon.leads[node] = 1
            node = child
            lexicon.lists[node] |= bit
            position = after(entries.data, position, last, search.blanks)
        other = np.int64(lexicon.entry[node])
        while other >= 0 and lexicon.listed[other] != lexicon.listed[entry]:
            other = np.int64(lexicon.following[other])
        if other < 0:
            lexicon.following[entry] = lexicon.entry[node]
            lexicon.entry[node] = entry


def compile_search(entries: TextBuffers, listed: Int32Array, rule: EdgeRule, *, blanks: bool = False) -> Search:
    """How R entries are found. listed: int32 (R,), the list that each belongs to, numbered from 0.

    An empty entry is never found. Time grows with texts times the longest entry at worst, where one begins like itself
    over and over and is not found; as a rule a text is read once, and an entry's bytes only where its first word stands.
    """
    num_entries, size = listed.size, int(entries.offsets[-1] - entries.offsets[0])
    head_slots, slots = 4 * (table_mask(num_entries) + 1), table_mask(size) + 1
    lexicon = Lexicon(
        data=entries.data,
        begins=np.zeros(256, np.uint8),
        heads=np.zeros(head_slots, np.int32),
        head_hash=np.empty(num_entries, np.int64),
        head_start=np.empty(num_entries, np.int64),
        head_size=np.empty(num_entries, np.int64),
        keys=np.zeros(slots, np.int64),
        below=np.empty(slots, np.int32),
        leads=np.zeros(num_entries + size, np.uint8),
        lists=np.zeros(num_entries + size, np.int64),
        entry=np.full(num_entries + size, -1, np.int32),
        following=np.full(num_entries, -1, np.int32),
        listed=listed,
    )
    search = Search(lexicon, unicode_flags(), edges(rule), blanks)
    ends, heads = np.empty(num_entries, np.int64), np.empty(num_entries, np.int32)
    _add_tails(entries, search, ends, heads, _add_heads(entries, search, ends, heads))
    return search
