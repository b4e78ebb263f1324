"""FineWeb's own quality rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from operators.filters.characters import Characters, code_points
from operators.filters.measures import nullable
from operators.kernels.fineweb import fineweb
from operators.kernels.punctuation import TERMINAL_PUNCTUATION
from operators.kernels.segmentation import WordRule, segments
from operators.thresholds.language_profile import ByLanguage, Rule, bounds_of
from pipeline.operator import Bound, Filter

Flavour = Literal["datatrove", "paper"]
ByFlavour = Literal["flavour"]

_SHORT_LINE_CHARS: dict[Flavour, int] = {"datatrove": 30, "paper": 29}
_MAX_DUPLICATE: dict[Flavour, float] = {"datatrove": 0.01, "paper": 0.1}
_MAX_NEWLINES: dict[Flavour, float | None] = {"datatrove": 0.3, "paper": None}


class FinewebQuality(Filter):
    """Keep a text whose lines end like sentences, are not mostly short, do not repeat and are no list.

    Lines are split at line feeds, as they stand; blank ones count for nothing but their line feed. flavour ``datatrove``
    is the code that made FineWeb: a line of 30 characters is short, a value on a limit stays, copies up to 0.01, a limit
    on line feeds. ``paper``: fewer than 30 characters, a value on a limit goes, copies below 0.1, no limit on line feeds.
    (The paper's table 2 has 0.01 for copies, too.) 0 is a limit like any other; None turns a rule off.

    ``words``: ``unicode`` (see ``segmentation.WordRule``) stands in for NLTK's tokens, ``spacy`` is
    spaCy's English, ``split`` is ``str.split()``.
    ``end_marks``: by default 159 characters, Unicode's Sentence_Terminal with three Khmer signs more, the Chinese marks among them;
    closing quotes and brackets are not, so that a line of dialogue does not end in one. ``exempt_unpunctuated``: a text in
    which no line has an end mark passes the first rule, for scripts and sites that write none. ``by_language`` names a
    profile, shipped (``fineweb2``) or a file, with limits for the languages in it, which go before the parameters here; a
    text in another language, or in none that is known, is judged by the parameters here.

    Measures: all null for a blank text, which drops it.
    ``punctuated_line_fraction``: lines whose last character is an end mark, [0, 1]; with ``exempt_unpunctuated`` also
    ``judged_punctuated_line_fraction``, the same but 1 where no line has one.
    ``short_line_fraction``: lines of at most ``short_line_chars`` code points, [0, 1].
    ``duplicate_char_fraction``: code points of lines that equal an earlier line, per code point that is no line feed,
    [0, 1).
    ``newlines_per_word``: line feeds per word, >= 0.

    Source: Penedo et al. 2024 (FineWeb), arXiv:2406.17557, section 3.6; formulas of datatrove 0.10 FineWebQualityFilter.
    """

    flavour: Flavour = "datatrove"
    words: WordRule = "unicode"
    end_marks: ByFlavour | Characters = "flavour"
    short_line_chars: Annotated[int, Field(ge=0)] | ByFlavour = "flavour"
    exempt_unpunctuated: bool = False
    min_punctuated_line_fraction: float | None = 0.12
    max_short_line_fraction: float | None = 0.67
    max_duplicate_char_fraction: float | ByFlavour | None = "flavour"
    max_newlines_per_word: float | ByFlavour | None = "flavour"
    by_language: ByLanguage = None

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """Limits in the order of the reference, inclusive for datatrove; a limit of None is left out."""
        return bounds_of(self, FinewebQuality.rules)

    def rules(self) -> tuple[Rule, ...]:
        """The limits as the parameters set them, off or not."""
        marked = "judged_punctuated_line_fraction" if self.exempt_unpunctuated else "punctuated_line_fraction"
        copies, newlines = self.max_duplicate_char_fraction, self.max_newlines_per_word
        copies = _MAX_DUPLICATE[self.flavour] if copies == "flavour" else copies
        newlines = _MAX_NEWLINES[self.flavour] if newlines == "flavour" else newlines
        rules = (
            ("min_punctuated_line_fraction", marked, "line_punct_ratio", self.min_punctuated_line_fraction),
            ("max_short_line_fraction", "short_line_fraction", "short_line_ratio", self.max_short_line_fraction),
            ("max_duplicate_char_fraction", "duplicate_char_fraction", "char_dup_ratio", copies),
            ("max_newlines_per_word", "newlines_per_word", "list_ratio", newlines),
        )
        return tuple(Rule(*rule, exclusive=self.flavour == "paper") for rule in rules)

    def prepare(self) -> None:
        """Compile or load the kernels."""
        self.measure(pa.table({"text": pa.array(["A line."], pa.large_string())}))

    def measure(self, docs: pa.Table) -> Mapping[str, pa.Array]:
        """Four measures, float64; five with ``exempt_unpunctuated``."""
        short = _SHORT_LINE_CHARS[self.flavour] if self.short_line_chars == "flavour" else self.short_line_chars
        marks = TERMINAL_PUNCTUATION if self.end_marks == "flavour" else code_points(self.end_marks)
        rows = fineweb(segments(docs), rule=self.words, short_chars=short, end_marks=marks)
        measures = {
            "punctuated_line_fraction": nullable(rows[0]),
            "short_line_fraction": nullable(rows[1]),
            "duplicate_char_fraction": nullable(rows[2]),
            "newlines_per_word": nullable(rows[3]),
        }
        if self.exempt_unpunctuated:
            measures["judged_punctuated_line_fraction"] = nullable(np.where(rows[0] == 0, 1.0, rows[0]))
        return measures
