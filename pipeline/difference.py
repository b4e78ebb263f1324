"""What two texts share and where they differ, word by word, in time that grows with their length."""

from __future__ import annotations

import difflib
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int64]

MOST_CHARS = 2_000_000
"""Of each text that are compared; what follows counts as changed."""

# Scripts written without blanks: a character is a word. Thai, Lao, Myanmar, Khmer; CJK with kana and bopomofo.
_ALONE = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"[{_ALONE}]|[^\W{_ALONE}]+|\s+|.", re.DOTALL)
_WORD = re.compile(r"\w")
_ANCHORS = (16, 8, 4, 2, 1)
_SMALL = 1 << 13  # pairs of tokens that difflib, which is quadratic, is given: a millisecond
_STEP = np.uint64(0x9E3779B97F4A7C15)
_SHORT = 3  # characters without a word between two changes that do not part them


@dataclass(frozen=True)
class Segment:
    """A stretch that both texts share, or one that stands in place of the other (either may be empty)."""

    same: bool
    left: str
    right: str


def difference(left: str, right: str) -> list[Segment]:
    """Two texts as segments in order: joined, their left sides are the left text, their right sides the right one.

    Words, runs of blanks and single other characters are compared; of scripts without blanks each character. Time is
    n log n: stretches that stand once in either text are found first, and only what lies between them, and is short,
    is compared pair by pair. Of a text in which nothing stands once, the equal beginning and end are found.
    """
    tokens_left, tokens_right = (_TOKEN.findall(text[:MOST_CHARS]) for text in (left, right))
    numbers: dict[str, int] = {}
    coded = [
        np.array([numbers.setdefault(token, len(numbers)) for token in tokens], np.int64)
        for tokens in (tokens_left, tokens_right)
    ]
    blocks = _joined(sorted(_blocks(*coded)))
    ends_left, ends_right = (_ends(tokens) for tokens in (tokens_left, tokens_right))
    segments: list[Segment] = []
    at_left = at_right = 0
    for first, second, size in [*blocks, (len(tokens_left), len(tokens_right), 0)]:
        gap = left[at_left : ends_left[first]], right[at_right : ends_right[second]]
        at_left, at_right = ends_left[first + size], ends_right[second + size]
        _append(segments, Segment(False, *gap))
        _append(segments, Segment(True, left[ends_left[first] : at_left], right[ends_right[second] : at_right]))
    _append(segments, Segment(False, left[at_left:], right[at_right:]))
    return segments


def _ends(tokens: Sequence[str]) -> list[int]:
    """Where token k begins; one more for the end."""
    return [0, *np.cumsum([len(token) for token in tokens], dtype=np.int64).tolist()]


def _append(segments: list[Segment], one: Segment) -> None:
    """Add a segment; two changes with nothing but a blank or a comma between them become one."""
    if not one.left and not one.right:
        return
    if not one.same and segments and not segments[-1].same:
        before = segments.pop()
        one = Segment(False, before.left + one.left, before.right + one.right)
    elif not one.same and len(segments) > 1 and len(segments[-1].left) <= _SHORT:
        between = segments[-1]
        if not _WORD.search(between.left):
            first = segments[-2]
            del segments[-2:]
            one = Segment(False, first.left + between.left + one.left, first.right + between.right + one.right)
    segments.append(one)


def _joined(blocks: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """Blocks that follow each other in both texts as one."""
    at: tuple[int, int, int] | None = None
    for first, second, size in blocks:
        if at is not None and at[0] + at[2] == first and at[1] + at[2] == second:
            at = at[0], at[1], at[2] + size
            continue
        if at is not None:
            yield at
        at = first, second, size
    if at is not None:
        yield at


def _blocks(a: Tokens, b: Tokens) -> Iterator[tuple[int, int, int]]:
    """Equal stretches (place in a, place in b, length), which do not cross, in no order."""
    waiting = [(0, len(a), 0, len(b), 0)]
    while waiting:
        a0, a1, b0, b1, level = waiting.pop()
        same = _equal(a[a0:a1], b[b0:b1])
        if same:
            yield a0, b0, same
            a0, b0 = a0 + same, b0 + same
        same = _equal(a[a0:a1][::-1], b[b0:b1][::-1])
        if same:
            a1, b1 = a1 - same, b1 - same
            yield a1, b1, same
        if a0 == a1 or b0 == b1 or (a1 - a0 == 1 and b1 - b0 == 1):
            continue
        if (a1 - a0) * (b1 - b0) <= _SMALL:
            matcher = difflib.SequenceMatcher(None, a[a0:a1].tolist(), b[b0:b1].tolist(), autojunk=False)
            yield from ((a0 + i, b0 + j, size) for i, j, size in matcher.get_matching_blocks() if size)
            continue
        if level == len(_ANCHORS):
            continue
        from_a, from_b = 0, 0
        for i, j, size in [*_anchored(a[a0:a1], b[b0:b1], _ANCHORS[level]), (a1 - a0, b1 - b0, 0)]:
            waiting.append((a0 + from_a, a0 + i, b0 + from_b, b0 + j, level + 1))
            from_a, from_b = i + size, j + size
            if size:
                yield a0 + i, b0 + j, size


def _equal(a: Tokens, b: Tokens) -> int:
    """How many tokens at the beginning are equal; in time that grows with that number."""
    size, start, window = min(len(a), len(b)), 0, 64
    while start < size:
        unequal = np.flatnonzero(a[start : min(size, start + window)] != b[start : min(size, start + window)])
        if len(unequal):
            return start + int(unequal[0])
        start, window = start + window, 2 * window
    return size


def _anchored(a: Tokens, b: Tokens, length: int) -> Iterator[tuple[int, int, int]]:
    """Equal stretches of that many tokens or more that begin with one that stands once in either, in order."""
    in_a, in_b = _once(a, length), _once(b, length)
    _, at_a, at_b = np.intersect1d(in_a[0], in_b[0], assume_unique=True, return_indices=True)
    places = sorted(zip(in_a[1][at_a].tolist(), in_b[1][at_b].tolist(), strict=True))
    end_a = end_b = 0
    for i, j in _ascending(places):
        if i < end_a or j < end_b:
            continue
        size = _equal(a[i:], b[j:])
        if size >= length:  # else two hashes met
            yield i, j, size
            end_a, end_b = i + size, j + size


def _once(tokens: Tokens, length: int) -> tuple[npt.NDArray[np.uint64], Tokens]:
    """Hashes of the stretches of that length that stand once, and where."""
    windows = max(0, len(tokens) - length + 1)
    hashes = np.zeros(windows, np.uint64)
    for k in range(length):
        hashes = (hashes ^ (tokens[k : k + windows].astype(np.uint64) + np.uint64(1))) * _STEP
        hashes ^= hashes >> np.uint64(29)
    found, first, count = np.unique(hashes, return_index=True, return_counts=True)
    return found[count == 1], first[count == 1]


def _ascending(places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest run of places, ascending in the first, that ascends in the second too."""
    tails: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for k, (_, j) in enumerate(places):
        position = bisect_left(tails, j)
        tails[position : position + 1] = [j]
        last[position : position + 1] = [k]
        before.append(last[position - 1] if position else -1)
    chain: list[tuple[int, int]] = []
    k = last[-1] if last else -1
    while k >= 0:
        chain.append(places[k])
        k = before[k]
    return chain[::-1]
