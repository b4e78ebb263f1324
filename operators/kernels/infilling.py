"""Fill-in-the-middle: tokens back to their text, cut at two characters, and the parts put in another order."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from operators.kernels.buffers import ByteArray, IntArray, OffsetArray
from operators.kernels.compiled import lean_kernel

TokenArray = npt.NDArray[Any]
"""uint16 or uint32."""


@lean_kernel
def spelled_sizes(tokens: TokenArray, starts: IntArray, lengths: IntArray, words: OffsetArray, out: IntArray) -> None:
    """Bytes that each of N documents is spelled with.

    tokens: a payload. starts, lengths: int64 (N,), the documents in it. words: int64 (V + 1,), where the bytes of each id
    begin among those of all. out: int64 (N,), filled.
    """
    for document in range(len(starts)):
        size = 0
        for position in range(starts[document], starts[document] + lengths[document]):
            token = np.int64(tokens[position])
            size += words[token + 1] - words[token]
        out[document] = size


@lean_kernel
def _below(draw: np.uint64, count: int) -> int:
    """A number below ``count`` from one of 64 bits: the high half of their product, for counts below 2**32."""
    low, high = draw & np.uint64(0xFFFFFFFF), draw >> np.uint64(32)
    return int((high * np.uint64(count) + (low * np.uint64(count) >> np.uint64(32))) >> np.uint64(32))


@lean_kernel
def _place(text: ByteArray, start: int, end: int, characters: int) -> int:
    """Where in ``text[start:end]`` so many characters are past; a character begins with what is no continuation byte."""
    position = start
    while position < end:
        if text[position] & 0xC0 != 0x80:
            if characters == 0:
                return position
            characters -= 1
        position += 1
    return end


@lean_kernel
def spell(
    tokens: TokenArray,
    starts: IntArray,
    lengths: IntArray,
    words: OffsetArray,
    letters: ByteArray,
    draws: npt.NDArray[np.uint64],
    text: ByteArray,
    bounds: IntArray,
) -> None:
    """Write N documents as text, back to back, and cut each at two characters.

    letters: the bytes of all ids. draws: uint64 (N, 2): of n characters, the cuts are at two of the n + 1 places between
    them, drawn uniformly and put in order. text: filled; as long as the sum of ``spelled_sizes``. bounds: int64 (3 N + 1,),
    filled: where each prefix, middle and suffix begins, and the end.
    """
    at = 0
    for document in range(len(starts)):
        first, characters = at, 0
        for position in range(starts[document], starts[document] + lengths[document]):
            token = np.int64(tokens[position])
            for k in range(words[token], words[token + 1]):
                text[at] = letters[k]
                characters += letters[k] & 0xC0 != 0x80
                at += 1
        one, other = _below(draws[document, 0], characters + 1), _below(draws[document, 1], characters + 1)
        cut = _place(text, first, at, min(one, other))
        bounds[3 * document] = first
        bounds[3 * document + 1] = cut
        bounds[3 * document + 2] = _place(text, cut, at, max(one, other) - min(one, other))
    bounds[3 * len(starts)] = at


@lean_kernel
def _copy(ids: TokenArray, start: int, end: int, out: TokenArray, at: int) -> int:
    for position in range(start, end):
        out[at] = ids[position]
        at += 1
    return at


@lean_kernel
def arrange(
    ids: TokenArray, bounds: IntArray, suffix_first: npt.NDArray[np.bool_], marks: IntArray, out: TokenArray
) -> None:
    """Put the parts of N documents in the order of fill-in-the-middle.

    ids: tokens of all parts. bounds: int64 (3 N + 1,), where each prefix, middle and suffix begins in them. marks: int64
    (4,), the ids that stand before prefix, suffix and middle, and the end mark. out: filled, ``len(ids) + 4 N`` long:
    PREFIX prefix SUFFIX suffix MIDDLE middle END, or, where ``suffix_first``, PREFIX SUFFIX suffix MIDDLE prefix middle END.
    """
    at = 0
    for document in range(len(suffix_first)):
        prefix, middle, suffix = bounds[3 * document], bounds[3 * document + 1], bounds[3 * document + 2]
        end = bounds[3 * document + 3]
        out[at] = marks[0]
        at += 1
        if not suffix_first[document]:
            at = _copy(ids, prefix, middle, out, at)
        out[at] = marks[1]
        at = _copy(ids, suffix, end, out, at + 1)
        out[at] = marks[2]
        at += 1
        if suffix_first[document]:
            at = _copy(ids, prefix, middle, out, at)
        at = _copy(ids, middle, suffix, out, at)
        out[at] = marks[3]
        at += 1


def warm() -> None:
    """Compile for both widths of a token, read from a file as they are in earnest."""
    one, bounds = np.ones(1, np.int64), np.zeros(4, np.int64)
    words, letters, text = np.zeros(3, np.int64), np.zeros(1, np.uint8), np.zeros(1, np.uint8)
    for width in (np.uint16, np.uint32):
        tokens = np.zeros(2, width)
        tokens.setflags(write=False)
        spelled_sizes(tokens, one, one, words, np.zeros(1, np.int64))
        spell(tokens, one, one, words, letters, np.zeros((1, 2), np.uint64), text, bounds)
        arrange(np.zeros(1, width), bounds, np.zeros(1, np.bool_), np.zeros(4, np.int64), np.zeros(4, width))
