"""Normalises text: one Unicode form, one line break, no control characters."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from operators.kernels.buffers import text_buffers
from operators.kernels.clean import clean
from operators.kernels.unicode_table import MARK, UNASSIGNED, unicode_flags
from pipeline.documents import with_text
from pipeline.operator import Map

_LONG_RUN = 30
"""Combining marks in a row, the limit of UAX #15's stream-safe format; no language needs more."""


class FixText(Map):
    r"""Brings a text into the form that is stored: NFC, ``\n`` as line break, no control characters, no trailing blanks.

    CRLF and CR become ``\n``, as do vertical tab, form feed, NEL and U+001C to U+001E, which would glue two lines
    together if they went; U+001F becomes a blank. Other control characters (C0, DEL, C1), U+FEFF, U+FFFE and U+FFFF go.
    Blanks, tabs, U+00A0 and U+3000 at the end of a line go and stay elsewhere; U+200C and U+200D stay. Of more than
    ``max_newlines`` line breaks in a row (with no more than blanks between them) so many stay: 2 in RefinedWeb and
    DCLM-baseline, all for None. NFC as of the shipped Unicode version: code points it does not know are left as they are
    under every Python. HTML entities and mojibake are not repaired. A text of more U+FFFD than the limit was decoded
    wrongly and becomes null, as does a text of which nothing is left. Applied twice it changes nothing more.

    Measures: ``replacement_fraction``: U+FFFD per code point of the text before, [0, 1]; null for an empty text.
    Source: UAX #15 for the forms; line breaks of DCLM's newline_removal_modifier; characters kept and limits are ours.
    """

    max_replacement_fraction: float | None = Field(default=0.01, ge=0, le=1)
    max_newlines: int | None = Field(default=None, ge=1)

    def map(self, docs: pa.Table) -> pa.Table:
        """Texts in their stored form and the share of replacement characters."""
        texts = text_buffers(docs["text"])
        cleaned = clean(texts, self.max_newlines)
        text = cleaned.text
        rows = np.flatnonzero(cleaned.composable)
        if rows.size:
            changed: list[Any] = text.take(pa.array(rows)).to_pylist()
            fixed = [_nfc(one, bool(cleaned.unassigned[row])) for one, row in zip(changed, rows, strict=True)]
            mask = pa.array(cleaned.composable)
            text = pc.replace_with_mask(text, mask, pa.array(fixed, pa.large_string()))
        share = np.divide(cleaned.replaced, cleaned.chars, out=np.zeros(len(text)), where=cleaned.chars > 0)
        gone = pc.fill_null(pc.equal(pc.binary_length(text), 0), fill_value=True)
        if self.max_replacement_fraction is not None:
            gone = pc.or_(gone, pa.array(share > self.max_replacement_fraction))
        text = pc.if_else(gone, pa.scalar(None, pa.large_string()), text)
        docs = with_text(docs, text)
        return docs.append_column(self.column("replacement_fraction"), pa.array(share, mask=cleaned.chars == 0))

    def prepare(self) -> None:
        """Compile or load the kernels."""
        self.map(pa.table({"text": pa.array(["a"], pa.large_string())}))


def _nfc(text: str, unassigned: bool) -> str:
    """NFC, with code points that the shipped Unicode version does not know as borders that nothing crosses."""
    if not unassigned:
        return unicodedata.normalize("NFC", _sorted_marks(text))
    flags = unicode_flags()
    pieces = ("".join(piece) for _, piece in groupby(text, lambda char: bool(flags[ord(char)] & UNASSIGNED)))
    return "".join(
        unicodedata.normalize("NFC", _sorted_marks(piece)) if not flags[ord(piece[0])] & UNASSIGNED else piece
        for piece in pieces
    )


def _sorted_marks(text: str) -> str:
    """Long runs of combining marks in canonical order: Python puts them in order by insertion, quadratic in their number."""
    return _long_mark_runs().sub(lambda run: _in_order(run.group()), text)


def _in_order(marks: str) -> str:
    decomposed = "".join(unicodedata.normalize("NFD", mark) for mark in marks)
    runs = (list(run) for _, run in groupby(decomposed, lambda mark: unicodedata.combining(mark) == 0))
    return "".join(char for run in runs for char in sorted(run, key=unicodedata.combining))


@cache
def _long_mark_runs() -> re.Pattern[str]:
    marks = np.flatnonzero(unicode_flags() & MARK)
    first = marks[np.r_[True, np.diff(marks) > 1]]
    last = marks[np.r_[np.diff(marks) > 1, True]]
    ranges = "".join(f"{chr(low)}-{chr(high)}" for low, high in zip(first, last, strict=True))
    return re.compile(f"[{ranges}]{{{_LONG_RUN},}}")
