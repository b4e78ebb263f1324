"""Word_Break classes and lower-case forms of code points, from a shipped table of the Unicode version of the others."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.kernels.shipped import shipped
from operators.kernels.unicode_table import CODE_POINTS, VERSION

TABLE_SHA256 = "ebf07273c15b17e6eaff272449107bc8989fb3d4eae9e0a5070bb39c45285f19"
"""Of the shipped table; it stands in the source, so that another table is another fingerprint."""

CLASSES = (
    "Other", "ALetter", "Hebrew_Letter", "Numeric", "Katakana", "ExtendNumLet", "Single_Quote", "Double_Quote",
    "MidNumLet", "MidLetter", "MidNum", "WSegSpace", "CR", "LF", "Newline", "Extend", "Format", "ZWJ",
    "Regional_Indicator",
)  # fmt: skip
"""Values of the property Word_Break; a class is its place here."""

PICTOGRAPHIC = 1 << 5
"""Added to the class of a character with the property Extended_Pictographic."""


@cache
def word_break_classes() -> npt.NDArray[np.uint8]:
    """Class of every code point, with ``PICTOGRAPHIC``, uint8 (0x110000,), read-only; read once per process."""
    stored = _stored()
    classes = np.repeat(stored["values"], np.diff(np.append(stored["starts"], CODE_POINTS)))
    classes.setflags(write=False)
    return classes


@cache
def lower_case() -> npt.NDArray[np.int32]:
    """What each code point becomes in lower case, int32 (0x110000,), read-only.

    One for one: İ, of which ``str.lower`` makes two, stays as it is, and Σ always gives σ.
    """
    stored = _stored()
    lower = np.arange(CODE_POINTS, dtype=np.int32)
    lower[stored["upper"]] = stored["lower"]
    lower.setflags(write=False)
    return lower


@cache
def _stored() -> dict[str, Any]:
    """The arrays of the file.

    Raises:
        RunFailedError: the shipped table is not that of this version.
    """
    content = shipped(_path(), TABLE_SHA256)
    with np.load(io.BytesIO(content)) as stored:
        return dict(stored)


def _path() -> Path:
    return Path(__file__).parent.parent / "data" / f"words-{VERSION}.npz"
