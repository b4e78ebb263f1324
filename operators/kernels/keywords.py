"""Kernels that find the entries of word lists in texts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from operators.kernels.buffers import ByteArray, Int32Array, IntArray, TextBuffers, text_buffers
from operators.kernels.bytewise import code_point, code_point_before
from operators.kernels.compiled import lean_kernel
from operators.kernels.keywords_edges import ALONE, EDGE, MARK, WORD, kind_of
from operators.kernels.keywords_lexicon import (
    LAST_BIT,
    Search,
    after,
    below,
    compile_search,
    digest,
    head_of,
    run_end,
    slot_of,
)


class Found(NamedTuple):
    """What is found of L lists in N texts."""

    words: IntArray
    """int64 (N,): words of each text; under the rule ``words`` each letter of a script without blanks is one."""
    hits: IntArray
    """int64 (L, N): hits; of hits that overlap the leftmost counts, of those the longest."""
    distinct: IntArray
    """int64 (L, N): entries hit."""
    first: Int32Array
    """int32 (L, N, S): the first S entries hit, -1 where there are fewer."""


class _Scratch(NamedTuple):
    """Per list: where the last hit ended; where the longest one from here ends; its entry. Per entry: its last text."""

    taken: IntArray
    end: IntArray
    best: Int32Array
    seen: IntArray


@lean_kernel
def _note(search: Search, scratch: _Scratch, entry: Any, start: int, end: int) -> bool:
    """Note an entry, and the same of other lists, as the longest so far; returns whether any list has room for it."""
    noted = False
    while entry >= 0:
        listed = search.lexicon.listed[entry]
        if start >= scratch.taken[listed]:
            scratch.end[listed] = end
            scratch.best[listed] = entry
            noted = True
        entry = np.int64(search.lexicon.following[entry])
    return noted


@lean_kernel
def _open_lists(scratch: _Scratch, start: int) -> int:
    """The lists whose last hit has ended at ``start``, as bits (see ``Lexicon.lists``)."""
    lists = 0
    for listed in range(scratch.taken.shape[0]):
        lists |= int(start >= scratch.taken[listed]) << min(listed, LAST_BIT)
    return lists


@lean_kernel
def _walk(data: ByteArray, search: Search, scratch: _Scratch, start: int, position: int, last: int) -> bool:
    """Note the longest entry of each list at ``start``, whose head may be ``data[start:position]``; whether there is one.

    A walk ends where only lists have entries further down that are within a hit: else hundreds of entries that begin
    like each other would be walked to their ends at every place.
    """
    found, node = False, head_of(search.lexicon, data, start, position)
    lists = _open_lists(scratch, start) if node >= 0 else 0
    while node >= 0 and search.lexicon.lists[node] & lists != 0:
        entry = np.int64(search.lexicon.entry[node])
        if entry >= 0:
            inner = kind_of(search.flags, search.edges, code_point_before(data, position)[0])
            outer = EDGE if position == last else kind_of(search.flags, search.edges, code_point(data, position)[0])
            if search.edges.ends[inner, outer] and _note(search, scratch, entry, start, position):
                found = True
        if position == last or search.lexicon.leads[node] == 0:
            break
        node, _ = below(search.lexicon, node, data[position])
        position = after(data, position, last, search.blanks)
    return found


@lean_kernel
def _count(scratch: _Scratch, text: int, found: Found) -> None:
    """Count what was noted."""
    for listed in range(scratch.best.shape[0]):
        entry = scratch.best[listed]
        if entry < 0:
            continue
        scratch.best[listed] = -1
        scratch.taken[listed] = scratch.end[listed]
        found.hits[listed, text] += 1
        if scratch.seen[entry] != text:
            scratch.seen[entry] = text
            number = found.distinct[listed, text]
            if number < found.first.shape[2]:
                found.first[listed, text, number] = entry
            found.distinct[listed, text] = number + 1


@lean_kernel
def _find_in(texts: TextBuffers, search: Search, scratch: _Scratch, text: int, found: Found) -> int:
    """Fill one text's columns of ``found``; returns its words."""
    data, position, last = texts.data, texts.offsets[text], texts.offsets[text + 1]
    flags, rule, begins, heads = search.flags, search.edges, search.lexicon.begins, search.lexicon.heads
    hashes, mask = search.lexicon.head_hash, heads.shape[0] - 1
    before, words, inside = EDGE, 0, False
    while position < last:
        start, byte = position, data[position]
        kind = np.int64(rule.ascii[byte]) if byte < 128 else kind_of(flags, rule, code_point(data, position)[0])
        if kind == WORD:
            position = run_end(data, flags, rule, start, last)
        else:
            position += 1 if byte < 128 else code_point(data, position)[1]
        words += kind == ALONE or (kind == WORD and not inside)
        inside = kind == WORD or (inside and kind == MARK)
        if begins[byte] != 0 and rule.starts[before, kind]:
            found_hash = digest(data, start, position)
            slot = slot_of(found_hash, mask)
            while heads[slot] != 0 and hashes[np.int64(heads[slot]) - 1] != found_hash:
                slot = (slot + 1) & mask
            if heads[slot] != 0 and _walk(data, search, scratch, start, position, last):
                _count(scratch, text, found)
        before = kind
    return words


@lean_kernel
def _find(texts: TextBuffers, chosen: IntArray, search: Search, scratch: _Scratch, found: Found) -> None:
    for number in range(chosen.shape[0]):
        scratch.taken[:] = 0
        found.words[chosen[number]] = _find_in(texts, search, scratch, chosen[number], found)


def find(
    texts: TextBuffers, search: Search, num_lists: int, num_shown: int = 1, chosen: IntArray | None = None
) -> Found:
    """What stands in the texts, or in the chosen rows, int64, of them; the others keep zeros."""
    num_texts = texts.offsets.size - 1
    found = Found(
        words=np.zeros(num_texts, np.int64),
        hits=np.zeros((num_lists, num_texts), np.int64),
        distinct=np.zeros((num_lists, num_texts), np.int64),
        first=np.full((num_lists, num_texts, num_shown), -1, np.int32),
    )
    scratch = _Scratch(
        taken=np.zeros(num_lists, np.int64),
        end=np.zeros(num_lists, np.int64),
        best=np.full(num_lists, -1, np.int32),
        seen=np.full(search.lexicon.listed.size, -1, np.int64),
    )
    _find(texts, np.arange(num_texts) if chosen is None else chosen, search, scratch, found)
    return found


def warm() -> None:
    """Compile the kernels of this module."""
    texts = text_buffers(pa.array(["an entry", "中文", None], pa.large_string()))
    find(texts, compile_search(texts, np.zeros(3, np.int32), "words", blanks=True), 1)
