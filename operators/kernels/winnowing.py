"""Winnowing: few anchors per text, so chosen that equal windows of words always have the same one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.kernels.buffers import ByteArray, OffsetArray, text_buffers
from operators.kernels.compiled import kernel, lean_kernel
from operators.kernels.fold import FoldTable, fold_table
from operators.kernels.folded_words import fold_words
from operators.kernels.shingles import KeyArray, finish

_BASE = np.uint64(0xD6E8FEB86659FD93)  # odd, so that no word's bits are shifted out of a hash
_MOST = ~np.uint64(0)

TIED = 1 << 15
"""Set in ``count`` where the anchor's hash stands at several places, so that two windows of the record may be equal."""

MOST_TOKENS = 1000
"""Of a window. A polynomial modulo 2**64 has equal values for texts anyone can write down from 2,048 words on; the
longest stretch hashed here has less than twice a window's words."""


class Anchors(NamedTuple):
    """A records, by document and place: each stands for windows one word apart that have the same least n-gram."""

    key: KeyArray
    """uint64 (A,), from the least n-gram hash; equal windows have equal keys."""
    span: KeyArray
    """uint64 (A,), of all words of the record's windows; equal only where these windows are equal one by one."""
    row: npt.NDArray[np.uint32]
    """uint32 (A,), the document."""
    start: npt.NDArray[np.uint32]
    """uint32 (A,), first word of the first window."""
    count: npt.NDArray[np.uint16]
    """uint16 (A,), windows, and ``TIED``."""


@lean_kernel
def gram_words(min_tokens: int) -> int:
    """Words of an n-gram: half of a window. A window holds ``min_tokens - gram_words + 1`` n-grams."""
    return max(min_tokens // 2, 1)


@lean_kernel
def _prefixes(words: KeyArray, num_words: int) -> None:
    """Turn words[:num_words] into the hashes of what stands before each, words[num_words] into that of all."""
    before = np.uint64(0)
    for at in range(num_words):
        word = words[at]
        words[at] = before
        before = before * _BASE + word
    words[num_words] = before


@lean_kernel
def _emit(
    prefix: KeyArray, powers: KeyArray, least: np.uint64, windows: tuple[int, int, int], at: int, out: Anchors
) -> None:
    """Write a record; windows: first, end, and words of each."""
    first, end, min_tokens = windows
    size = end - first - 1 + min_tokens
    words = prefix[first + size] - prefix[first] * powers[size]
    # The least of several hashes is small: mixed again, so that ranges of equal width hold equally many.
    out.key[at] = finish(least)
    out.span[at] = finish(words + np.uint64(size))
    out.start[at] = np.uint32(first)
    out.count[at] = np.uint16(end - first)


@lean_kernel
def _least(grams: KeyArray, first: int, end: int) -> tuple[int, bool]:
    """Where the last of the least hashes in grams[first:end] lies, and whether it has an equal there."""
    best, tied = first, False
    for at in range(first + 1, end):
        if grams[at] <= grams[best]:
            tied = grams[at] == grams[best]
            best = at
    return best, tied


@lean_kernel
def _winnow(
    prefix: KeyArray, grams: KeyArray, powers: KeyArray, num_words: int, min_tokens: int, at: int, out: Anchors
) -> int:
    """Write the records of one text from ``at`` on; returns where the next goes, or -1 where there is no room.

    A record takes at most as many windows as hold one n-gram, so that a long run of one word gives equal records.
    """
    ngram = gram_words(min_tokens)
    width = min_tokens - ngram + 1
    for k in range(num_words - ngram + 1):
        grams[k] = finish(prefix[k + ngram] - prefix[k] * powers[ngram])
    first, tied = 0, False
    best, least = -1, _MOST
    for window in range(num_words - min_tokens + 1):
        last = window + width - 1
        if best < window:
            found, twice = _least(grams, window, last + 1)
        else:
            found = last if grams[last] <= grams[best] else best
            twice = found != best and grams[found] == grams[best]
        changed = grams[found] != least
        if window > 0 and (changed or window - first == width):
            if at >= out.key.shape[0]:
                return -1
            _emit(prefix, powers, least, (first, window, min_tokens), at, out)
            out.count[at] |= TIED if tied else 0
            at += 1
            first = window
        tied = twice or (not changed and (tied or found != best))
        best, least = found, grams[found]
    if at >= out.key.shape[0]:
        return -1
    _emit(prefix, powers, least, (first, num_words - min_tokens + 1, min_tokens), at, out)
    out.count[at] |= TIED if tied else 0
    return at + 1


@lean_kernel
def _fill_powers(powers: KeyArray) -> None:
    powers[0] = 1
    for k in range(1, len(powers)):
        powers[k] = powers[k - 1] * _BASE


@kernel
def _anchors_kernel(
    data: ByteArray,
    offsets: OffsetArray,
    fold: FoldTable,
    min_tokens: int,
    done: tuple[int, int],
    out: Anchors,
    num_words: npt.NDArray[np.uint32],
) -> tuple[int, int]:
    """Go on after ``done`` (documents, records); returns the same, with fewer documents than there are where room ends."""
    doc, written = done
    longest = np.int64(0)
    for k in range(doc, len(offsets) - 1):
        longest = max(longest, offsets[k + 1] - offsets[k])
    room = longest // 2 + 2
    words, grams = np.empty(room, np.uint64), np.empty(room, np.uint64)
    begins, ends = np.empty(room, np.uint32), np.empty(room, np.uint32)
    powers = np.empty(2 * min_tokens + 1, np.uint64)
    _fill_powers(powers)
    while doc < len(offsets) - 1:
        count = fold_words(data, offsets[doc], offsets[doc + 1], fold, words, begins, ends)
        num_words[doc] = count
        if count >= min_tokens:
            _prefixes(words, count)
            end = _winnow(words, grams, powers, count, min_tokens, written, out)
            if end < 0:
                return doc, written
            out.row[written:end] = doc
            written = end
        doc += 1
    return doc, written


def anchors(column: pa.Array | pa.ChunkedArray, min_tokens: int) -> tuple[Anchors, npt.NDArray[np.uint32]]:
    """The anchors of N texts, and the words of each, uint32 (N,).

    column: large_string (N,); null counts as empty. min_tokens: words of a window, 2 to ``MOST_TOKENS``.
    Every window of ``min_tokens`` words belongs to exactly one record, and the key of a record hangs on nothing but
    the words of any of its windows: the least hash of its n-grams of half a window. So equal windows, wherever they
    stand, have equal keys (Schleimer, Wilkerson and Aiken 2003, SIGMOD, section 3: an n-gram of k words and windows
    of w n-grams find every match of w + k - 1 words). On ordinary text one record in (w + 1) / 2 words, at most one
    a word. Time is linear in the bytes, times w at worst, for text made to have ever smaller hashes.
    """
    texts = text_buffers(column)
    rows = len(texts.offsets) - 1
    num_words = np.zeros(rows, np.uint32)
    room = 64 + int(texts.offsets[-1] - texts.offsets[0]) // (2 * min_tokens)
    narrow, wide = np.empty(room, np.uint32), np.empty(room, np.uint64)
    out = Anchors(wide, wide.copy(), narrow, narrow.copy(), np.empty(room, np.uint16))
    done = (0, 0)
    while True:
        done = _anchors_kernel(texts.data, texts.offsets, fold_table(), min_tokens, done, out, num_words)
        if done[0] == rows:
            return _with_room(out, done[1], done[1]), num_words
        room *= 2
        out = _with_room(out, done[1], room)


def _with_room(records: Anchors, used: int, room: int) -> Anchors:
    """The first records, copied into arrays of another length."""

    def moved(column: Any) -> Any:
        new = np.empty(room, column.dtype)
        new[:used] = column[:used]
        return new

    return Anchors(*map(moved, records))


@kernel
def _windows_kernel(
    data: ByteArray,
    offsets: OffsetArray,
    fold: FoldTable,
    min_tokens: int,
    asked: tuple[OffsetArray, OffsetArray, OffsetArray],
    out: KeyArray,
) -> None:
    rows, starts, counts = asked
    longest = np.int64(0)
    for row in rows:
        longest = max(longest, offsets[row + 1] - offsets[row])
    room = longest // 2 + 2
    words = np.empty(room, np.uint64)
    begins, ends = np.empty(room, np.uint32), np.empty(room, np.uint32)
    powers = np.empty(min_tokens + 1, np.uint64)
    _fill_powers(powers)
    written, here = 0, -1
    for k in range(len(rows)):
        if rows[k] != here:
            here = rows[k]
            _prefixes(words, fold_words(data, offsets[here], offsets[here + 1], fold, words, begins, ends))
        for start in range(starts[k], starts[k] + counts[k]):
            out[written] = finish(words[start + min_tokens] - words[start] * powers[min_tokens])
            written += 1


def window_hashes(
    column: pa.Array | pa.ChunkedArray, min_tokens: int, rows: OffsetArray, starts: OffsetArray, counts: OffsetArray
) -> KeyArray:
    """Hashes of windows of ``min_tokens`` words: uint64, those of each request one after another.

    rows, starts, counts: int64 (R,), the text of each request, where its first window begins, and how many there are,
    which must lie in the text. Rows ascend, so that each text is folded once.
    """
    texts = text_buffers(column)
    out = np.empty(int(counts.sum()), np.uint64)
    _windows_kernel(texts.data, texts.offsets, fold_table(), min_tokens, (rows, starts, counts), out)
    return out


def warm() -> None:
    """Compile the kernels of this module."""
    texts = pa.array(["one two three"], pa.large_string())
    anchors(texts, 2)
    window_hashes(texts, 2, np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1, np.int64))
