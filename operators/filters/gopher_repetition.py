"""Gopher's repetition rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pyarrow as pa

from operators.filters.measures import nullable
from operators.kernels import repetition as kernels
from operators.kernels.repeated_lines import DATATROVE, DCLM, DOLMA
from operators.kernels.segmentation import WordRule, segments
from pipeline.operator import Bound, Filter

Flavour = Literal["datatrove", "dclm", "dolma"]

_FLAVOURS = {"datatrove": DATATROVE, "dclm": DCLM, "dolma": DOLMA}
_WORDS: dict[Flavour, WordRule] = {"datatrove": "unicode", "dclm": "unicode", "dolma": "split"}
_ORDER: dict[Flavour, tuple[int, ...]] = {"datatrove": (0, 1, 2, 3), "dclm": (2, 0, 3, 1), "dolma": (2, 3)}
_REASONS = ("dup_para_frac", "dup_para_char_frac", "dup_line_frac", "dup_line_char_frac")


class GopherRepetition(Filter):
    """Keep a text that does not repeat itself, as one of three reference codes counts repetition.

    The flavours differ in their formulas (which copies count, what is divided by what, ties, joins), not only in
    thresholds: see the table of each measure below. ``words`` is how words are found: ``split`` (``str.split()``) or
    ``unicode`` (see ``segmentation.WordRule``); by default ``unicode`` for datatrove (for its NLTK tokens) and dclm
    (punctuation left out, for its Unicode words), ``split`` for dolma.

    Measures: all null for an empty text, and for dclm's line and paragraph measures where a text is blank; 0 where a
    text has too few words, and for paragraphs under dolma, which has no such rule.
    ``duplicate_paragraph_fraction``, ``duplicate_line_fraction``: later copies per paragraph or line, [0, 1]; dclm and
    dolma count every copy, the first included.
    ``duplicate_paragraph_chars``, ``duplicate_line_chars``: code points of those copies per code point of the text
    (dclm: of all paragraphs or lines; dolma: of all words, which can pass 1).
    ``top_2_gram`` to ``top_4_gram``: code points of the most frequent n-gram times its count, per code point of the text
    (dclm, dolma: of its words); more than 1 where copies overlap. A single occurrence counts, except for dclm.
    ``duplicate_5_gram`` to ``duplicate_10_gram``: code points in n-grams that occur more than once, per code point of
    the text (dclm: of its words; dolma: of all n-grams), [0, 1].

    Source: Rae et al. 2021 (Gopher), arXiv:2112.11446, table A1; formulas of datatrove 0.10 GopherRepetitionFilter, of
    DCLM massive_web_repetition_filters and of Dolma's gopher_v1 tagger.
    """

    flavour: Flavour = "datatrove"
    words: WordRule | None = None
    max_duplicate_paragraph_fraction: float | None = 0.30
    max_duplicate_paragraph_chars: float | None = 0.20
    max_duplicate_line_fraction: float | None = 0.30
    max_duplicate_line_chars: float | None = 0.20
    max_top_2_gram: float | None = 0.20
    max_top_3_gram: float | None = 0.18
    max_top_4_gram: float | None = 0.16
    max_duplicate_5_gram: float | None = 0.15
    max_duplicate_6_gram: float | None = 0.14
    max_duplicate_7_gram: float | None = 0.13
    max_duplicate_8_gram: float | None = 0.12
    max_duplicate_9_gram: float | None = 0.11
    max_duplicate_10_gram: float | None = 0.10

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """Upper limits, inclusive, in the order of the reference; a limit of None is left out."""
        pieces = (
            "duplicate_paragraph_fraction",
            "duplicate_paragraph_chars",
            "duplicate_line_fraction",
            "duplicate_line_chars",
        )
        rules = [(pieces[k], _REASONS[k]) for k in _ORDER[self.flavour]]
        rules += [(f"top_{n}_gram", f"top_{n}_gram") for n in kernels.TOP_SIZES]
        rules += [(f"duplicate_{n}_gram", f"duplicated_{n}_n_grams") for n in kernels.DUPLICATE_SIZES]
        limits = [(measure, reason, getattr(self, f"max_{measure}")) for measure, reason in rules]
        return tuple(
            Bound(measure=measure, reason=reason, max=limit) for measure, reason, limit in limits if limit is not None
        )

    def prepare(self) -> None:
        """Compile or load the kernels."""
        self.measure(pa.table({"text": pa.array(["a b c d e f"], pa.large_string())}))

    def measure(self, docs: pa.Table) -> Mapping[str, pa.Array]:
        """Thirteen measures, float64."""
        rows = kernels.repetition(segments(docs), self.words or _WORDS[self.flavour], _FLAVOURS[self.flavour])
        return {name: nullable(row) for name, row in zip(kernels.NAMES, rows, strict=True)}
