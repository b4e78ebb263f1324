"""Kernel that folds case, width and white space before words are looked for, its shipped table, and the table's script.

Make the table again with ``python -m operators.kernels.keywords_fold``; its hash then goes into ``SHA256``.
"""

from __future__ import annotations

import hashlib
import io
import sys
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from operators.kernels.buffers import ByteArray, Int32Array, IntArray, TextBuffers, text_buffers
from operators.kernels.bytewise import code_point, load_word, store_word
from operators.kernels.compiled import lean_kernel
from operators.kernels.shipped import shipped
from operators.kernels.unicode_table import CODE_POINTS, SPACE, unicode_flags

Case = Literal["exact", "lower", "fold"]
"""``lower``: ``str.lower()``, but that every capital sigma becomes a medial one. ``fold``: ``str.casefold()``, which
also makes ß and ss, ς and σ alike."""

VERSION = "14.0.0"
"""Unicode version of the shipped table."""

SHA256 = "2a04966f82af276b9af502757bcb1a90475ca6557c61db2d7a6e3aea7495186a"
"""Of the shipped file; it stands in the source, so that another table is another fingerprint."""

_PATH = Path(__file__).parent.parent / "data" / f"keywords-fold-{VERSION}.npz"


def _eight_times(byte: int) -> np.uint64:
    return np.uint64(byte * 0x0101010101010101)


_HIGH, _BLANKS, _ONES = _eight_times(0x80), _eight_times(ord(" ")), _eight_times(1)
_FROM_A, _BEYOND_Z = _eight_times(0x80 - ord("A")), _eight_times(0x7F - ord("Z"))
"""Added to a byte below 128, these set its high bit from A on, or beyond Z. Unsigned throughout, since numba leaves a
signed overflow undefined."""
_TWO, _SEVEN, _TO_TOP = np.uint64(2), np.uint64(7), np.uint64(56)


class Fold(NamedTuple):
    """What becomes of each code point."""

    code: Int32Array
    """int32 (0x110000,): the code point in its place, or, below 0, -1 - row of ``several``."""
    several: Int32Array
    """int32 (R, 3): the code points in its place, -1 where there are fewer."""
    ascii: ByteArray
    """uint8 (128,): the same of ASCII, which stays ASCII."""
    lowers: bool
    """Whether A to Z become a to z, and the other ASCII from blank to tilde stays as it is."""


def _maps() -> dict[str, dict[int, str]]:
    """What the running Python makes of the code points that change, by kind of change."""
    chars = [chr(code) for code in range(CODE_POINTS) if not 0xD800 <= code < 0xE000]
    width: dict[int, str] = {}
    for char in chars:
        kind, _, codes = unicodedata.decomposition(char).partition(" ")
        if kind in ("<wide>", "<narrow>"):
            width[ord(char)] = "".join(chr(int(code, 16)) for code in codes.split())
        elif "\u3040" <= char <= "\u30ff" and kind and not kind.startswith("<"):  # が is か and a mark, as ｶﾞ is
            width[ord(char)] = unicodedata.normalize("NFD", char)
    return {
        "lower": {ord(char): char.lower() for char in chars if char.lower() != char},
        "fold": {ord(char): char.casefold() for char in chars if char.casefold() != char},
        "width": width,
    }


@cache
def _shipped() -> dict[str, dict[int, str]]:
    content = shipped(_PATH, SHA256)
    with np.load(io.BytesIO(content)) as stored:
        return {
            kind: {
                code: "".join(map(chr, row[row >= 0]))
                for code, row in zip(stored[f"{kind}_from"].tolist(), stored[f"{kind}_to"], strict=True)
            }
            for kind in ("lower", "fold", "width")
        }


@cache
def fold_table(case: Case, *, width: bool = False, blanks: bool = False) -> Fold:
    """The table for letters of any case, for full and half width alike, and for white space as blanks.

    Raises:
        RunFailedError: the shipped table is not that of this version.
    """
    shipped = _shipped()
    letters, widths = shipped.get(case, {}), shipped["width"] if width else {}
    code, several = np.arange(CODE_POINTS, dtype=np.int32), [[-1, -1, -1]]
    for changed in sorted({*letters, *widths}):
        narrow = widths.get(changed, chr(changed))
        parts = [ord(part) for char in narrow for part in letters.get(ord(char), char)]
        code[changed] = parts[0] if len(parts) == 1 else -1 - len(several)
        if len(parts) > 1:
            several.append(parts + [-1] * (3 - len(parts)))
    if blanks:
        code[(unicode_flags() & SPACE) != 0] = ord(" ")
    ascii_fold = code[:128].astype(np.uint8)
    table = Fold(code, np.array(several, np.int32), ascii_fold, case != "exact")
    for array in table[:3]:
        array.setflags(write=False)
    return table


@lean_kernel
def _put(code: int, target: ByteArray, at: int) -> int:
    """Write a code point as UTF-8; returns the end."""
    if code < 0x80:
        target[at] = code
        return at + 1
    if code < 0x800:
        target[at] = 0xC0 | code >> 6
        target[at + 1] = 0x80 | code & 0x3F
        return at + 2
    if code < 0x10000:
        target[at] = 0xE0 | code >> 12
        target[at + 1] = 0x80 | (code >> 6) & 0x3F
        target[at + 2] = 0x80 | code & 0x3F
        return at + 3
    target[at] = 0xF0 | code >> 18
    target[at + 1] = 0x80 | (code >> 12) & 0x3F
    target[at + 2] = 0x80 | (code >> 6) & 0x3F
    target[at + 3] = 0x80 | code & 0x3F
    return at + 4


@lean_kernel
def _lowered(eight: Any) -> Any:
    """Eight ASCII bytes (uint64) with a to z in place of A to Z."""
    return eight | ((((eight + _FROM_A) ^ (eight + _BEYOND_Z)) & _HIGH) >> _TWO)


@lean_kernel
def _fold_one(data: ByteArray, table: Fold, position: int, last: int, target: ByteArray, at: int) -> int:
    """Write one text from ``at`` on; returns its end."""
    while position < last:
        while position + 8 <= last:
            eight = np.uint64(load_word(data, position))
            if not table.lowers or (eight | (eight - _BLANKS)) & _HIGH:  # a control character, or not ASCII
                break
            store_word(target, at, np.int64(_lowered(eight)))
            position += 8
            at += 8
        stop = min(position + 8, last)
        while position < stop:
            if data[position] < 128:
                target[at] = table.ascii[data[position]]
                position += 1
                at += 1
                continue
            code, size = code_point(data, position)
            folded = table.code[code]
            position += size
            if folded >= 0:
                at = _put(folded, target, at)
                continue
            for k in range(3):
                if table.several[-1 - folded, k] >= 0:
                    at = _put(table.several[-1 - folded, k], target, at)
    return at


@lean_kernel
def _beyond_ascii(data: ByteArray, first: int, last: int) -> Any:
    count, position = 0, first
    while position + 8 <= last:
        count += np.int64((((np.uint64(load_word(data, position)) >> _SEVEN) & _ONES) * _ONES) >> _TO_TOP)
        position += 8
    while position < last:
        count += data[position] >> 7
        position += 1
    return count


@lean_kernel
def _fold(texts: TextBuffers, table: Fold, target: ByteArray, ends: IntArray) -> None:
    ends[0] = 0
    for text in range(texts.offsets.shape[0] - 1):
        ends[text + 1] = _fold_one(texts.data, table, texts.offsets[text], texts.offsets[text + 1], target, ends[text])


def folded(texts: TextBuffers, table: Fold) -> TextBuffers:
    """The same texts with every code point replaced by what the table has for it."""
    first, last = int(texts.offsets[0]), int(texts.offsets[-1])
    # A character becomes three times as long at most (ΐ), ASCII no longer; pages that are not written take no memory.
    target = np.empty(last - first + 2 * _beyond_ascii(texts.data, first, last) + 16, np.uint8)
    ends = np.empty(texts.offsets.size, np.int64)
    _fold(texts, table, target, ends)
    for array in (target, ends):  # one type for the kernels, as of an Arrow column
        array.setflags(write=False)
    return TextBuffers(target, ends, texts.valid)


def warm() -> None:
    """Compile the kernels of this module."""
    folded(text_buffers(pa.array(["A ΑΣ, É!", None], pa.large_string())), fold_table("fold", width=True, blanks=True))


def main() -> None:
    """Write the table and print its hash."""
    if unicodedata.unidata_version != VERSION:
        sys.exit(f"this Python has Unicode {unicodedata.unidata_version}, the table is made for {VERSION}")
    arrays: dict[str, Any] = {}
    for kind, found in _maps().items():
        arrays[f"{kind}_from"] = np.array(list(found), np.int32)
        rows = [[*map(ord, text)] + [-1] * (3 - len(text)) for text in found.values()]
        arrays[f"{kind}_to"] = np.array(rows, np.int32)
    np.savez_compressed(_PATH, **arrays)
    print(hashlib.sha256(_PATH.read_bytes()).hexdigest(), _PATH.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
