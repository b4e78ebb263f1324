"""Gopher's quality rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.filters.measures import nullable
from operators.kernels.quality import quality
from operators.kernels.quality_counts import DCLM, DOLMA, PAPER, quality_counts
from operators.kernels.segmentation import Segments, WordRule, segments
from operators.kernels.stop_words import count_stop_words
from operators.thresholds.language_profile import ByLanguage, Rule, bounds_of, row_of_label, stop_words_of
from pipeline.operator import Bound, Filter
from pipeline.value import Strings

ENGLISH_STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")

Flavour = Literal["datatrove", "paper", "dclm", "dolma"]

_COUNTED = {"paper": PAPER, "dclm": DCLM, "dolma": DOLMA}
_NAMES: dict[Flavour, tuple[str, ...]] = {
    "datatrove": ("num_words", "chars_per_word", "hash_per_word", "ellipsis_per_word", "bullet_line_fraction",
                  "ellipsis_line_fraction", "alpha_word_fraction", "num_stop_words"),
    "paper": ("paper_num_words", "paper_chars_per_word", "paper_hash_per_word", "paper_ellipsis_per_word",
              "paper_bullet_line_fraction", "paper_ellipsis_line_fraction", "paper_alpha_word_fraction",
              "paper_num_stop_words"),
    "dclm": ("dclm_num_words", "dclm_chars_per_word", "dclm_symbols_per_word", "", "dclm_bullet_line_fraction",
             "dclm_ellipsis_line_fraction", "dclm_alpha_word_fraction", "dclm_num_stop_words"),
    "dolma": ("dolma_num_words", "dolma_median_word_chars", "dolma_symbol_word_fraction", "",
              "dolma_bullet_line_fraction", "dolma_ellipsis_line_fraction", "dolma_alpha_word_fraction",
              "dolma_num_stop_words"),
}  # fmt: skip
_ORDER: dict[Flavour, tuple[int, ...]] = {
    "datatrove": (0, 1, 2, 3, 4, 5, 6, 7),
    "paper": (0, 1, 2, 3, 4, 5, 6, 7),
    "dclm": (0, 1, 2, 4, 5, 6, 7),
    "dolma": (0, 1, 2, 6, 7, 4, 5),
}
"""Rules in the order in which the reference gives its reason, as places in ``_NAMES``."""


class GopherQuality(Filter):
    """Keep a text that looks like prose: enough words of ordinary length, with letters and stop words, few symbols.

    The flavours differ in their formulas, so each has columns of its own: datatrove's as below, the others' with
    ``paper_``, ``dclm_`` or ``dolma_`` before the name. The paper leaves open what a word, a bullet and a line are; its
    flavour takes those of DCLM with words of ``str.split()``.

    ``words``: how words are found, see ``segmentation.WordRule``; by default as the reference finds them: datatrove
    ``unicode`` (for its NLTK tokens), paper and dolma ``split``, dclm ``fasttext`` for the number of words and ``split``
    for the rest. The stop words are English; other languages need their own, or None for ``min_stop_words``. A text's
    words are compared with them in lower case (paper, dclm) or as they stand. ``by_language`` names a profile, shipped
    (``fineweb2``, made for datatrove's formulas) or a file, with limits and stop words for the languages in it, which go
    before the parameters here; a text in another language, or in none that is known, is judged by the parameters here.

    Measures: ``num_words``: words, for datatrove those with a character outside its list of symbols; 0 for an empty text.
    ``chars_per_word``: mean code points of those words (dclm: of all); null without one, like all quotients of words.
    ``median_word_chars`` in its place: the median (dolma).
    ``hash_per_word``, ``ellipsis_per_word``: "#" per word, "..." and "…" per word (datatrove: of all words).
    ``symbols_per_word`` in their place: "#", "...", ". . ." and "…" together per word (dclm).
    ``symbol_word_fraction`` in their place: words that hold "#" or "…", [0, 1] (dolma).
    ``bullet_line_fraction``: lines that start with a bullet, [0, 1]: "•" or "-" (datatrove), "●", "•", "*" or "-" (paper,
    dclm), "*" or "-" at the very start (dolma); null without lines.
    ``ellipsis_line_fraction``: lines that end in "..." or "…", [0, 1]; dclm: also ". . ."; dolma: "…" alone, at the very
    end. Lines: ``str.splitlines()`` (datatrove), those between line feeds that are not blank (paper, dclm), all (dolma).
    ``alpha_word_fraction``: words with a letter, [0, 1].
    ``num_stop_words``: distinct stop words (datatrove, paper), occurrences of stop words (dclm, dolma); 0 for an empty
    text.

    Source: Rae et al. 2021 (Gopher), arXiv:2112.11446, appendix A.1; formulas of datatrove 0.10 GopherQualityFilter, of
    DCLM's content_filters in the order of dclm_baseline_refinedweb.yaml, and of Dolma's gopher_v1 tagger in the order of
    its v1.6 mixer.
    """

    measuring: ClassVar[tuple[str, ...]] = ("by_language",)
    """A profile chooses the stop words that are counted."""

    flavour: Flavour = "datatrove"
    words: WordRule | None = None
    min_words: int | None = 50
    max_words: int | None = 100_000
    min_word_chars: float | None = 3.0
    max_word_chars: float | None = 10.0
    max_hash_per_word: float | None = 0.1
    max_ellipsis_per_word: float | None = 0.1
    max_symbols_per_word: float | None = 0.1
    """Of dclm's symbols per word and of dolma's share of words with a symbol; the two above hold for the others."""
    max_bullet_line_fraction: float | None = 0.9
    max_ellipsis_line_fraction: float | None = 0.3
    min_alpha_word_fraction: float | None = 0.8
    min_stop_words: int | None = 2
    stop_words: Strings = ENGLISH_STOP_WORDS
    by_language: ByLanguage = None

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """Inclusive limits in the order of the reference; a limit of None is left out."""
        return bounds_of(self, GopherQuality.rules)

    def rules(self) -> tuple[Rule, ...]:
        """The limits as the parameters set them, off or not."""
        summed = self.flavour in {"dclm", "dolma"}
        rules = (
            (("min_words", "gopher_short_doc"), ("max_words", "gopher_long_doc")),
            (("min_word_chars", "gopher_below_avg_threshold"), ("max_word_chars", "gopher_above_avg_threshold")),
            (
                ("max_symbols_per_word", "gopher_too_many_symbols")
                if summed
                else ("max_hash_per_word", "gopher_too_many_hashes"),
            ),
            (("max_ellipsis_per_word", "gopher_too_many_ellipsis"),),
            (("max_bullet_line_fraction", "gopher_too_many_bullets"),),
            (("max_ellipsis_line_fraction", "gopher_too_many_end_ellipsis"),),
            (("min_alpha_word_fraction", "gopher_below_alpha_threshold"),),
            (("min_stop_words", "gopher_enough_stop_words"),),
        )
        names = _NAMES[self.flavour]
        return tuple(
            Rule(parameter, names[k], reason, getattr(self, parameter))
            for k in _ORDER[self.flavour]
            for parameter, reason in rules[k]
        )

    def prepare(self) -> None:
        """Compile or load the kernels."""
        self.measure(pa.table({"text": pa.array(["- the words"], pa.large_string())}))

    def measure(self, docs: pa.Table) -> Mapping[str, pa.Array]:
        """Seven or eight measures: two counts (int64) and the quotients (float64)."""
        found = segments(docs)
        rows = self._rows(found)
        labels, lists = stop_words_of(self)
        place = row_of_label(docs, labels)
        for k in np.unique(place[place >= 0]):
            mine = np.flatnonzero(place == k)
            rows[-1, mine] = self._num_stop_words(found, lists[k], mine)[mine]
        return {
            name: nullable(row, whole="num_" in name)
            for name, row in zip(_NAMES[self.flavour], rows, strict=True)
            if name  # "" stands where a flavour has one measure fewer
        }

    def _rows(self, found: Segments) -> npt.NDArray[np.float64]:
        """One row a measure, float64 (8, N)."""
        if self.flavour == "datatrove":
            return quality(found, self.words or "unicode", self.stop_words)
        others = self.words or "split"
        lengths = self.words or ("fasttext" if self.flavour == "dclm" else "split")
        counts = quality_counts(found, _COUNTED[self.flavour], lengths, others)
        return np.vstack([counts, self._num_stop_words(found, self.stop_words, None)])

    def _num_stop_words(
        self, found: Segments, listed: tuple[str, ...], rows: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.float64]:
        """Stop words of a list in some of the N texts, float64 (N,)."""
        rule = self.words or ("unicode" if self.flavour == "datatrove" else "split")
        distinct, fold = self.flavour in {"datatrove", "paper"}, self.flavour in {"paper", "dclm"}
        return count_stop_words(found, rule, listed, distinct=distinct, fold=fold, rows=rows)
