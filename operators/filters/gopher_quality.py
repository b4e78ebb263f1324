"""Gopher's quality rules."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from operators.filters.measures import nullable
from operators.kernels.quality import quality
from operators.kernels.segmentation import WordRule, segments
from pipeline.operator import Bound, Filter
from pipeline.value import Strings

ENGLISH_STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")


class GopherQuality(Filter):
    """Keep a text that looks like prose: enough words of ordinary length, with letters and stop words, few symbols.

    Formulas of datatrove. ``words``: ``unicode`` (see ``segmentation.WordRule``) stands in for its NLTK tokens, ``split``
    is ``str.split()``. The stop words are English; other languages need their own, or None for ``min_stop_words``.

    Measures: ``num_words``: words with a character outside datatrove's list of symbols; 0 for an empty text.
    ``chars_per_word``: mean code points of those words; null without one.
    ``hash_per_word``: "#" per word, symbols counted as words; null without words, as the next and the last but one.
    ``ellipsis_per_word``: "..." and "…" per word.
    ``bullet_line_fraction``: lines that start with "•" or "-", [0, 1]; null without lines.
    ``ellipsis_line_fraction``: lines that end in "..." or "…", [0, 1]; null without lines.
    ``alpha_word_fraction``: words with a letter, [0, 1].
    ``num_stop_words``: distinct stop words among the words, case-sensitive; 0 for an empty text.

    Source: Rae et al. 2021 (Gopher), arXiv:2112.11446, appendix A.1; formulas of datatrove 0.10 GopherQualityFilter.
    """

    words: WordRule = "unicode"
    min_words: int | None = 50
    max_words: int | None = 100_000
    min_word_chars: float | None = 3.0
    max_word_chars: float | None = 10.0
    max_hash_per_word: float | None = 0.1
    max_ellipsis_per_word: float | None = 0.1
    max_bullet_line_fraction: float | None = 0.9
    max_ellipsis_line_fraction: float | None = 0.3
    min_alpha_word_fraction: float | None = 0.8
    min_stop_words: int | None = 2
    stop_words: Strings = ENGLISH_STOP_WORDS

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """Inclusive limits in the order of the reference; a limit of None is left out."""
        rules = (
            ("num_words", "gopher_short_doc", self.min_words, None),
            ("num_words", "gopher_long_doc", None, self.max_words),
            ("chars_per_word", "gopher_below_avg_threshold", self.min_word_chars, None),
            ("chars_per_word", "gopher_above_avg_threshold", None, self.max_word_chars),
            ("hash_per_word", "gopher_too_many_hashes", None, self.max_hash_per_word),
            ("ellipsis_per_word", "gopher_too_many_ellipsis", None, self.max_ellipsis_per_word),
            ("bullet_line_fraction", "gopher_too_many_bullets", None, self.max_bullet_line_fraction),
            ("ellipsis_line_fraction", "gopher_too_many_end_ellipsis", None, self.max_ellipsis_line_fraction),
            ("alpha_word_fraction", "gopher_below_alpha_threshold", self.min_alpha_word_fraction, None),
            ("num_stop_words", "gopher_enough_stop_words", self.min_stop_words, None),
        )
        return tuple(
            Bound(measure=measure, reason=reason, min=low, max=high)
            for measure, reason, low, high in rules
            if (low, high) != (None, None)
        )

    def prepare(self) -> None:
        """Compile or load the kernels."""
        self.measure(pa.table({"text": pa.array(["- the words"], pa.large_string())}))

    def measure(self, docs: pa.Table) -> Mapping[str, pa.Array]:
        """Eight measures: two counts (int64) and six quotients (float64)."""
        rows = quality(segments(docs), self.words, self.stop_words)
        names = ("num_words", "chars_per_word", "hash_per_word", "ellipsis_per_word", "bullet_line_fraction",
                 "ellipsis_line_fraction", "alpha_word_fraction", "num_stop_words")  # fmt: skip
        return {
            name: nullable(row, pa.int64() if name.startswith("num_") else None)
            for name, row in zip(names, rows, strict=True)
        }
