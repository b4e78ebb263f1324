"""The shipped table that folds code points to words for near-duplicate keys, and the script that makes it.

Make it again with ``python -m operators.kernels.fold``; the result then has another hash, which goes into ``SHA256``.
"""

from __future__ import annotations

import hashlib
import sys
import unicodedata
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import zstandard

from pipeline.errors import RunFailedError

FoldTable = npt.NDArray[np.uint32]

CODE_POINTS = 0x110000
CODE_BITS = 24
"""An entry is ``kind << 24 | folded code point``."""

SEPARATOR, LETTER, ALONE, MARK, SKIP = range(5)
"""Ends a word; part of a word; a word of its own; belongs to the character before; as if it were not there."""

UNICODE_VERSION = "14.0.0"
SHA256 = "cb63eaf21586b11917002d565a37bce7ceea6060dccf64a8d930a9588f9c1452"
"""Of the table as little-endian bytes (the file holds differences, which compress better). It stands in the source,
so that another table is another fingerprint."""

_PATH = Path(__file__).parent.parent / "data" / "fold_unicode14.u32.zst"

# Scripts written without blanks between words: every character is a word. Hangul has blanks and is not here;
# Tibetan has its tsheg, which is punctuation. Compatibility forms (half width kana, ...) fold into these.
_NO_BLANKS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19FF),  # Tai Le, New Tai Lue, Khmer symbols
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x2E80, 0x2FDF),  # CJK and Kangxi radicals
    (0x3005, 0x3007),  # ideographic iteration mark, closing mark, zero
    (0x3021, 0x3029),  # Hangzhou numerals
    (0x3031, 0x303C),  # kana repeat marks, Hangzhou tens
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3100, 0x312F),  # Bopomofo
    (0x31A0, 0x31FF),  # Bopomofo and Katakana extensions
    (0x3400, 0x4DBF),  # Han extension A
    (0x4E00, 0x9FFF),  # Han
    (0xA000, 0xA4CF),  # Yi
    (0xA9E0, 0xA9FF),  # Myanmar extended B
    (0xAA60, 0xAADF),  # Myanmar extended A, Tai Viet
    (0xF900, 0xFAFF),  # Han compatibility
    (0x16FE0, 0x18CFF),  # Tangut, Khitan, iteration marks
    (0x1AFF0, 0x1B2FF),  # kana extensions, Nushu
    (0x20000, 0x3FFFD),  # Han extensions, also those not assigned yet
)

# Marks that writers set or leave out, and those that NFD splits off: dropped, so that both spellings agree.
# All other marks are vowels and the like, without which a word is another word.
_OPTIONAL_MARKS = (
    (0x0300, 0x036F),  # general diacritics
    (0x0483, 0x0489),  # Cyrillic
    (0x0591, 0x05C7),  # Hebrew points
    (0x0610, 0x061A),  # Arabic signs
    (0x064B, 0x065F),  # Arabic vowel points, hamza, madda
    (0x0670, 0x0670),  # superscript alef
    (0x06D6, 0x06ED),  # Koranic signs
    (0x08D3, 0x08FF),  # Arabic extended
    (0x1AB0, 0x1AFF),
    (0x1DC0, 0x1DFF),
    (0x20D0, 0x20FF),
    (0x3099, 0x309A),  # kana voicing
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFE20, 0xFE2F),
    (0xE0100, 0xE01EF),  # variation selectors
)
_NUKTA_CLASS = 7


def _within(code: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= code <= last for first, last in ranges)


def _optional(char: str) -> bool:
    if not unicodedata.category(char).startswith("M"):
        return False
    return _within(ord(char), _OPTIONAL_MARKS) or unicodedata.combining(char) == _NUKTA_CLASS


def _base(char: str) -> str:
    """One character for one: compatibility form, case and optional marks removed; itself where that gives several."""
    for form in ("NFKD", "NFD"):
        folded = unicodedata.normalize(form, unicodedata.normalize(form, char).casefold())
        left = [part for part in folded if not _optional(part)]
        if len(left) == 1:
            return left[0]
    lower = char.lower()
    return lower if len(lower) == 1 else char


def _entry(code: int) -> int:
    char = chr(code)
    category = unicodedata.category(char)
    if category == "Cf" or _optional(char):
        return SKIP << CODE_BITS
    if category in ("Cs", "Co", "Cc") or code & 0xFFFE == 0xFFFE:
        return SEPARATOR
    # Most code points are caseless and whole: not asking for their forms makes the table five times faster.
    base = char if category in ("Cn", "Lo") and not unicodedata.decomposition(char) else _base(char)
    category = unicodedata.category(base)
    if category == "Nd":
        base = str(unicodedata.digit(base))
    if category[0] in "PSZ" or category == "Cc":
        return SEPARATOR
    alone = _within(ord(base), _NO_BLANKS)
    kind = MARK if category[0] == "M" else ALONE if alone else LETTER
    return kind << CODE_BITS | ord(base)


def build() -> FoldTable:
    """The table by this Python's ``unicodedata``: uint32 (0x110000,)."""
    return np.array([_entry(code) for code in range(CODE_POINTS)], dtype="<u4")


@cache
def fold_table() -> FoldTable:
    """The shipped table: uint32 (0x110000,), the same whatever Python runs it.

    Raises:
        RunFailedError: the file is not the one this version was released with; install the package again.
    """
    steps = zstandard.ZstdDecompressor().decompress(_PATH.read_bytes(), max_output_size=4 * CODE_POINTS)
    table = np.cumsum(np.frombuffer(steps, dtype="<u4"), dtype="<u4")
    found = hashlib.sha256(table.tobytes()).hexdigest()
    if found != SHA256:
        msg = f"{_PATH} holds a table with sha256 {found}, expected {SHA256}; install the package again"
        raise RunFailedError(msg)
    return table.astype(np.uint32)


def main() -> None:
    """Write the table and print its hash."""
    if unicodedata.unidata_version != UNICODE_VERSION:
        sys.exit(f"this Python has Unicode {unicodedata.unidata_version}, the table is made for {UNICODE_VERSION}")
    table = build()
    steps = np.diff(table, prepend=np.zeros(1, "<u4"))
    _PATH.write_bytes(zstandard.ZstdCompressor(level=19).compress(steps.tobytes()))
    print(hashlib.sha256(table.tobytes()).hexdigest(), _PATH.stat().st_size, "bytes")  # a script's output


if __name__ == "__main__":
    main()
