"""The shipped table that lower-cases and decomposes code points (NFD), and the script that makes it.

Make it again with ``python -m operators.kernels.normal_form``; the result has another hash, which goes into ``SHA256``.
"""

from __future__ import annotations

import hashlib
import io
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from operators.kernels.buffers import ByteArray, FlagArray, Int32Array
from operators.kernels.shipped import shipped
from operators.kernels.unicode_table import CODE_POINTS, SPACE, unicode_flags

VERSION = "14.0.0"
"""Unicode version of the shipped table."""

SHA256 = "f6f46d9265fce0b2042e85eed7e597585297a19c4345bf62a0123cf2145fa6a3"
"""Of the shipped file; it stands in the source, so that another table is another fingerprint."""

SAME = 0
"""The step of a character that stays as it is and begins a new letter. Steps up to ``HANGUL`` are 1 + the row of
``NormalForm.pool`` that takes the place of the character."""
HANGUL = 0x4000
"""A Hangul syllable, which decomposes by rule."""
SIGMA = 0x4001
"""A capital sigma, whose lower case depends on its neighbours."""
BLANK = 0x4002
"""White space beyond ASCII."""
MARK = 0x8000
"""A character that stays as it is and has a combining class, which is the low byte."""

CASED, IGNORABLE = 1, 2
"""What a neighbour is to a sigma: a letter with case; passed over."""

_PATH = Path(__file__).parent.parent / "data" / f"normal-form-{VERSION}.npz"
_SYLLABLES = range(0xAC00, 0xD7A4)


class NormalForm(NamedTuple):
    """What becomes of each code point."""

    step: FlagArray
    """uint16 (0x110000,), see the constants."""
    pool_start: Int32Array
    """int32 (R + 1,): row r of the pool is ``pool[pool_start[r]:pool_start[r + 1]]``."""
    pool: ByteArray
    """uint8, UTF-8 of fully decomposed lower-case sequences."""
    context: ByteArray
    """uint8 (0x110000,), ``CASED``, ``IGNORABLE`` or 0."""


def _characters() -> Iterator[str]:
    return (chr(code) for code in range(CODE_POINTS) if not 0xD800 <= code < 0xE000 and code not in _SYLLABLES)


def _context(char: str) -> int:
    """Asked of ``str.lower`` itself, which has the properties Cased and Case_Ignorable but does not show them."""
    if (char + "Σ").lower().endswith("ς"):
        return CASED
    return IGNORABLE if ("a" + char + "Σ").lower().endswith("ς") else 0


def build() -> dict[str, Any]:
    """The arrays of the file, by this Python's ``str.lower`` and ``unicodedata``."""
    forms = [(char, unicodedata.normalize("NFD", char.lower()).encode()) for char in _characters() if char != "Σ"]
    rows = [(char, form) for char, form in forms if form != char.encode()]
    marks = [(ord(char), unicodedata.combining(char)) for char, form in forms if form == char.encode()]
    contexts = [(ord(char), _context(char)) for char in _characters()]
    runs = [next(run) for _, run in groupby(contexts, key=lambda pair: pair[1])]
    return {
        "codes": np.array([ord(char) for char, _ in rows], np.int32),
        "sizes": np.array([len(form) for _, form in rows], np.uint8),
        "pool": np.frombuffer(b"".join(form for _, form in rows), np.uint8),
        "marks": np.array([pair for pair in marks if pair[1]], np.int32),
        "contexts": np.array(runs, np.int32),
    }


@cache
def normal_form() -> NormalForm:
    """The shipped table, the same whatever Python runs it; read once per process.

    Raises:
        RunFailedError: the file is not the one of this version.
    """
    content = shipped(_PATH, SHA256)
    with np.load(io.BytesIO(content)) as stored:
        codes, sizes, pool, marks, contexts = (stored[key] for key in ("codes", "sizes", "pool", "marks", "contexts"))
    step = np.zeros(CODE_POINTS, np.uint16)
    step[codes] = np.arange(1, len(codes) + 1)
    step[unicode_flags() & SPACE != 0] = BLANK  # U+2000 is both, and a blank first
    step[marks[:, 0]] = MARK | marks[:, 1]
    step[_SYLLABLES.start : _SYLLABLES.stop] = HANGUL
    step[ord("Σ")] = SIGMA
    starts = np.append(0, np.cumsum(sizes, dtype=np.int32)).astype(np.int32)
    context = np.repeat(contexts[:, 1], np.diff(np.append(contexts[:, 0], CODE_POINTS))).astype(np.uint8)
    table = NormalForm(step, starts, pool, context)
    for array in table:
        array.setflags(write=False)
    return table


def main() -> None:
    """Write the table and print its hash."""
    if unicodedata.unidata_version != VERSION:
        sys.exit(f"this Python has Unicode {unicodedata.unidata_version}, the table is made for {VERSION}")
    np.savez_compressed(_PATH, **build())
    print(hashlib.sha256(_PATH.read_bytes()).hexdigest(), _PATH.stat().st_size, "bytes")  # a script's output


if __name__ == "__main__":
    main()
