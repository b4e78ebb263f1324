"""What each code point is, from a shipped table: the same answer under every Python version."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from operators.kernels.shipped import shipped

VERSION = "14.0.0"
"""Unicode version of the shipped table; ``operators/kernels/make_unicode_table.py`` writes another one."""

TABLE_SHA256 = "02f84dcc06a397fde62251272845b9acd6cefd4319fe2a8cbc59e683b4620514"
"""Of the shipped table; it stands in the source, so that another table is another fingerprint."""

SPACE = 1 << 0
"""What ``str.split()`` and ``str.strip()`` take for white space."""
LINE_BREAK = 1 << 1
"""What ``str.splitlines()`` breaks at."""
ALPHA = 1 << 2
"""``str.isalpha``; ``str.isalnum`` is ALPHA or NUMERIC."""
NUMERIC = 1 << 3
"""``str.isnumeric``: 三 and ½ are."""
DECIMAL = 1 << 4
"""``str.isdecimal``: the digits of every script, what ``\\d`` matches."""
UPPER = 1 << 5
LOWER = 1 << 6
PUNCTUATION = 1 << 7
"""General category P*."""
MARK = 1 << 8
"""General category M*: combining marks."""
UNASSIGNED = 1 << 9
"""General category Cn; what a later Unicode version makes of it is ignored."""
HAN = 1 << 10
"""Ideographs, their radicals, 々 〆 〇 and the Hangzhou numerals."""
KANA = 1 << 11
"""Hiragana and Katakana, the prolonged sound mark and half-width forms included."""
HANGUL = 1 << 12
"""Hangul syllables and jamo; Korean puts blanks between words."""
SCRIPTIO_CONTINUA = 1 << 13
"""Letters of Thai, Lao, Khmer and Myanmar, which are written without blanks."""
SENTENCE_END = 1 << 14
"""Ends a sentence in its script: . ! ? and 。 ！ ？ ؟ । … among some 70 others."""
NFC_CHECK = 1 << 15
"""NFC may change a text that holds it (Quick_Check not Yes, or a combining class other than 0)."""

ALONE = HAN | KANA | SCRIPTIO_CONTINUA
"""Scripts without blanks: each letter stands alone as a word."""

CODE_POINTS = 0x110000


@cache
def unicode_flags() -> npt.NDArray[np.uint16]:
    """Flags of every code point, uint16 (0x110000,), read-only; read once per process from the shipped runs.

    Raises:
        RunFailedError: the shipped table is not that of this version.
    """
    content = shipped(_path(), TABLE_SHA256)
    with np.load(io.BytesIO(content)) as stored:
        starts, values = stored["starts"], stored["values"]
    flags = np.repeat(values, np.diff(np.append(starts, CODE_POINTS)))
    flags.setflags(write=False)
    return flags


def _path() -> Path:
    return Path(__file__).parent.parent / "data" / f"unicode-{VERSION}.npz"
