"""The tables of spaCy's English tokenizer: kinds of characters, and words that are cut, or left whole, as they stand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.buffers import ByteArray
from operators.kernels.bytewise import hash_word
from operators.kernels.compiled import lean_kernel
from operators.kernels.shipped import shipped
from operators.kernels.unicode_table import CODE_POINTS

TABLE_SHA256 = "f32dd416b778704244cac8b483d91d29f750199897392dbf9549386fb7f97e1c"
"""Of the shipped table; it stands in the source, so that another table is another fingerprint."""

PREFIX, SUFFIX, ICON, QUOTE, CURRENCY = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4
LETTER, NOT_UPPER, NOT_LOWER, BEFORE_DOT = 1 << 5, 1 << 6, 1 << 7, 1 << 8
"""A character that is cut off at the front; at the end; a symbol or ellipsis, cut out anywhere; a quotation mark or
bracket of one; of money; a letter, one that is no capital, one that is no small letter; what a last dot is cut off after."""

LONGEST = 64
"""Bytes; a longer stretch is in no table."""


class Entries(NamedTuple):
    """Words by their bytes: open addressing, ``slots`` holds row + 1 and 0 where free."""

    data: npt.NDArray[np.uint8]
    start: npt.NDArray[np.int64]
    """int64 (W + 1,), the first byte of each word, then the end of the last."""
    cuts: npt.NDArray[np.int64]
    """int64 (W,): bit k is set where one of its pieces begins at byte k."""
    slots: npt.NDArray[np.int32]
    maybe: npt.NDArray[np.uint8]
    """uint8 (65536,): 1 where there is a word of such a size, first and last byte, see ``look``."""


class Rules(NamedTuple):
    """What the kernel knows of English as spaCy sees it."""

    classes: npt.NDArray[np.uint16]
    """uint16 (0x110000,)"""
    specials: Entries
    units: Entries
    cut_as: npt.NDArray[np.int64]
    """int64 (W,): as ``cuts``, where each special would be cut if it were none; 0 where nothing would be."""
    most_cut: int
    """Most pieces that would make."""


@lean_kernel
def look(data: ByteArray, first: int, last: int) -> int:
    """Where ``maybe`` tells of the word ``data[first:last]``."""
    return ((last - first) * 1021 + int(data[first]) * 251 + int(data[last - 1])) & 0xFFFF


@lean_kernel
def row_of(entries: Entries, data: ByteArray, first: int, last: int) -> int:
    """Row of the word ``data[first:last]``, -1 where it is none."""
    if last <= first or last - first > LONGEST or not entries.maybe[look(data, first, last)]:
        return -1
    mask = entries.slots.shape[0] - 1
    slot = hash_word(data, first, last) & mask
    while entries.slots[slot]:
        row = entries.slots[slot] - 1
        begin, end = entries.start[row], entries.start[row + 1]
        same = end - begin == last - first
        k = 0
        while same and k < last - first:
            same = data[first + k] == entries.data[begin + k]
            k += 1
        if same:
            return row
        slot = (slot + 1) & mask
    return -1


@lean_kernel
def _fill(entries: Entries) -> None:
    mask = entries.slots.shape[0] - 1
    for row in range(entries.start.shape[0] - 1):
        slot = hash_word(entries.data, entries.start[row], entries.start[row + 1]) & mask
        while entries.slots[slot]:
            slot = (slot + 1) & mask
        entries.slots[slot] = row + 1
        entries.maybe[look(entries.data, entries.start[row], entries.start[row + 1])] = 1


def _entries(words: Sequence[Sequence[str]]) -> Entries:
    """words: the pieces of each."""
    whole = ["".join(pieces).encode() for pieces in words]
    cuts = []
    for pieces in words:
        sizes = [len(piece.encode()) for piece in pieces]
        cuts.append(sum(1 << sum(sizes[:k]) for k in range(len(sizes))))
    start = np.concatenate([[0], np.cumsum([len(word) for word in whole])]).astype(np.int64)
    slots = np.zeros(1 << (2 * len(whole)).bit_length(), np.int32)
    data = np.frombuffer(b"".join(whole) + bytes(8), np.uint8).copy()
    entries = Entries(data, start, np.array(cuts, np.int64), slots, np.zeros(1 << 16, np.uint8))
    _fill(entries)
    return entries


def no_entries() -> Entries:
    """An empty table."""
    return _entries([])


@cache
def spacy_tables() -> Rules:
    """The tables as they are shipped, ``cut_as`` empty; read once per process."""
    table = _stored()
    classes = np.zeros(CODE_POINTS, np.uint16)

    def mark(characters: Sequence[str], bits: int) -> None:
        for character in characters:
            if len(character) == 1:
                classes[ord(character)] |= bits

    def mark_runs(runs: Sequence[Sequence[int]], bits: int) -> None:
        for first, last in runs:
            classes[first : last + 1] |= bits

    punctuation, quotes = table["punctuation"], table["quotes"]
    mark(["§", "%", "=", "—", "–", *punctuation, *quotes, *table["currency"]], PREFIX)
    mark(["—", "–", *punctuation, *quotes], SUFFIX)
    mark(quotes, QUOTE)
    mark(table["currency"], CURRENCY)
    mark_runs(table["icons"], PREFIX | SUFFIX | ICON)
    mark(["…"], ICON)
    mark_runs(table["letters"], LETTER)
    mark_runs(table["not_upper"], NOT_UPPER | BEFORE_DOT)
    mark_runs(table["not_lower"], NOT_LOWER)
    # Its character class also holds the signs of the group that somebody wrote into it.
    mark([*"0123456789%²-+|(?:)", *punctuation, *quotes], BEFORE_DOT)
    classes.setflags(write=False)
    specials = _entries(table["specials"])
    return Rules(
        classes, specials, _entries([[unit] for unit in table["units"]]), np.zeros(len(specials.cuts), np.int64), 1
    )


def _stored() -> dict[str, Any]:
    """The content of the file.

    Raises:
        RunFailedError: the shipped table is not that of this version.
    """
    content = shipped(_path(), TABLE_SHA256)
    return json.loads(content)


def _path() -> Path:
    return Path(__file__).parent.parent / "data" / "spacy-english.json"
