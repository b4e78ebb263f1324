"""Gopher's repetition rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pyarrow as pa

from operators.filters.measures import nullable
from operators.kernels import repetition as kernels
from operators.kernels.repeated_lines import DATATROVE, DCLM, DOLMA, DOLMA_V2, RPV2
from operators.kernels.segmentation import WordRule, segments
from operators.thresholds.language_profile import ByLanguage, Rule, bounds_of
from pipeline.operator import Bound, Filter

Flavour = Literal["datatrove", "dclm", "dolma", "dolma_v2", "rpv2"]

_FLAVOURS = {"datatrove": DATATROVE, "dclm": DCLM, "dolma": DOLMA, "dolma_v2": DOLMA_V2, "rpv2": RPV2}
_WORDS: dict[Flavour, WordRule] = {
    "datatrove": "unicode", "dclm": "uax29", "dolma": "split", "dolma_v2": "split", "rpv2": "split",
}  # fmt: skip
_ORDER: dict[Flavour, tuple[int, ...]] = {
    "datatrove": (0, 1, 2, 3), "dclm": (2, 0, 3, 1), "dolma": (2, 3), "dolma_v2": (2, 3), "rpv2": (),
}  # fmt: skip
_REASONS = ("dup_para_frac", "dup_para_char_frac", "dup_line_frac", "dup_line_char_frac")


class GopherRepetition(Filter):
    """Keep a text that does not repeat itself, as one of five reference codes counts repetition.

    The flavours differ in their formulas (which copies count, what is divided by what, ties, joins), not only in
    thresholds: see each measure below. ``words`` is how words are found, see ``segmentation.WordRule``; by default
    ``unicode`` for datatrove (in place of its tokenizer), ``uax29`` for dclm, ``split`` for dolma and dolma_v2, and for
    rpv2 ``split`` of the text in lower case, without ASCII punctuation, in NFD. dolma counts blank lines as copies of each
    other, so that text with a blank line between paragraphs seldom passes; dolma_v2 is dolma with lines split at runs of
    line feeds; wherever dolma stands alone below, both are meant. rpv2 has signals and no thresholds: the limits are Gopher's.
    ``by_language`` names a profile, shipped (``fineweb2``) or a file, with limits for the languages in it, which go before
    the parameters here; a text in another language, or in none that is known, is judged by the parameters here.

    Measures: all null for an empty text, for dclm also where a text is blank, and for rpv2 where normalising leaves
    nothing of it; 0 where a text has too few words, for paragraphs under dolma and for paragraphs and lines under rpv2,
    which have no such rules.
    ``duplicate_paragraph_fraction``, ``duplicate_line_fraction``: later copies per paragraph or line, [0, 1]; dclm and
    dolma count every copy, the first included.
    ``duplicate_paragraph_chars``, ``duplicate_line_chars``: code points of those copies per code point of the text
    (dclm: of all paragraphs or lines; dolma: of all words, which can pass 1).
    ``top_2_gram`` to ``top_4_gram``: code points of the most frequent n-gram times its count, per code point of the text
    (dclm, dolma, rpv2: of its words); more than 1 where copies overlap. A single occurrence counts, except for dclm and
    rpv2. Of n-grams equally frequent the first is taken, by dclm the longest.
    ``duplicate_5_gram`` to ``duplicate_10_gram``: code points in n-grams that occur more than once, per code point of
    the text (dclm, rpv2: of its words; dolma: of all n-grams), [0, 1].

    Source: Rae et al. 2021 (Gopher), arXiv:2112.11446, table A1; formulas of datatrove 0.10 GopherRepetitionFilter, of
    DCLM massive_web_repetition_filters, of Dolma's taggers gopher_v1 and gopher_v2, and of RedPajama-V2's rps_doc_frac
    signals (arXiv:2411.12372).
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
    by_language: ByLanguage = None

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """Upper limits, inclusive, in the order of the reference; a limit of None is left out."""
        return bounds_of(self, GopherRepetition.rules)

    def rules(self) -> tuple[Rule, ...]:
        """The limits as the parameters set them, off or not."""
        pieces = (
            "duplicate_paragraph_fraction",
            "duplicate_paragraph_chars",
            "duplicate_line_fraction",
            "duplicate_line_chars",
        )
        rules = [(pieces[k], _REASONS[k]) for k in _ORDER[self.flavour]]
        rules += [(f"top_{n}_gram", f"top_{n}_gram") for n in kernels.TOP_SIZES]
        rules += [(f"duplicate_{n}_gram", f"duplicated_{n}_n_grams") for n in kernels.DUPLICATE_SIZES]
        named = ((f"max_{measure}", measure, reason) for measure, reason in rules)
        return tuple(Rule(name, measure, reason, getattr(self, name)) for name, measure, reason in named)

    def prepare(self) -> None:
        """Compile or load the kernels."""
        self.measure(pa.table({"text": pa.array(["a b c d e f"], pa.large_string())}))

    def measure(self, docs: pa.Table) -> Mapping[str, pa.Array]:
        """Thirteen measures, float64."""
        found = segments(docs)
        if self.flavour == "rpv2" and self.words is None:
            found = found.normalised()
        rows = kernels.repetition(found, self.words or _WORDS[self.flavour], _FLAVOURS[self.flavour])
        return {name: nullable(row) for name, row in zip(kernels.NAMES, rows, strict=True)}
