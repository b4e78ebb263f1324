"""Quality rules for Chinese, by characters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from pydantic import Field

from operators.filters.measures import nullable
from operators.kernels.chinese import MEASURES, chinese
from operators.kernels.segmentation import segments
from pipeline.operator import Bound, Filter

MIXED = 0.1
"""Share of the other script's characters up to which a text counts as one script: a quoted name or title."""


class ChineseQuality(Filter):
    """Keep a Chinese text that is long enough, mostly Han, in finished lines, and not repetitive.

    Everything is counted in characters, so no word segmenter takes part; simplified and traditional text are alike.
    Lines are those of ``str.splitlines()`` that are not blank, stripped.

    Measures: ``num_chars``: code points; 0 for an empty text. The others are null for a blank text.
    ``han_fraction``: Han per character that is not white space, [0, 1].
    ``chars_per_line``: mean code points of a line.
    ``finished_line_fraction``: lines that end in a sentence end, a closing quote or bracket, a colon or a semicolon, or
    have at least ``long_line_chars``, [0, 1].
    ``duplicate_char_fraction``: characters, white space left out, inside n-grams of ``ngram_chars`` that occur more than
    once, the first copy included and each character once, [0, 1].
    ``digit_fraction``: digits per character that is neither white space nor punctuation, [0, 1]; 0 without such.
    ``distinct_char_fraction``: distinct characters per character that is not white space, (0, 1].
    ``char_entropy``: nats, of the distribution of those characters, >= 0.
    ``traditional_fraction``: characters that only traditional script has, per character that only one of the two scripts
    has, [0, 1]; null without such. ``script``: ``Hans`` for a fraction of at most 0.1, ``Hant`` for at least 0.9, else
    ``mixed``; null where it is. Both are recorded and drop nothing; ``only: {chinese_quality.script: [Hant]}`` takes them up.

    Source: lengths, Han share and 13-grams of ChineseWebText, arXiv:2311.01149, section 3; digits and entropy of MAP-CC,
    arXiv:2404.04167, whose limit on distinct characters (0.1) presumes 10,000 characters at most: ours, 0.01, leaves a
    novel of 100,000 (0.02 to 0.03). Our benchmark, which gave the 0.3 of finished lines: docs/benchmarks/chinese.md.
    Scripts: dictionaries of OpenCC (operators/data/han-script.NOTICE).
    """

    min_han_fraction: float | None = 0.30
    min_chars: int | None = 200
    max_chars: int | None = 100_000
    min_chars_per_line: float | None = 10.0
    min_finished_line_fraction: float | None = 0.3
    max_duplicate_char_fraction: float | None = 0.5
    max_digit_fraction: float | None = 0.3
    min_distinct_char_fraction: float | None = 0.01
    min_char_entropy: float | None = 3.0
    ngram_chars: int = Field(default=13, ge=1)
    long_line_chars: int = Field(default=30, ge=1)

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """Inclusive limits; a limit of None is left out."""
        rules = (
            ("num_chars", "too_short", self.min_chars, None),
            ("num_chars", "too_long", None, self.max_chars),
            ("han_fraction", "too_little_han", self.min_han_fraction, None),
            ("chars_per_line", "short_lines", self.min_chars_per_line, None),
            ("finished_line_fraction", "unfinished_lines", self.min_finished_line_fraction, None),
            ("duplicate_char_fraction", "repetitive", None, self.max_duplicate_char_fraction),
            ("digit_fraction", "too_many_digits", None, self.max_digit_fraction),
            ("distinct_char_fraction", "few_distinct_chars", self.min_distinct_char_fraction, None),
            ("char_entropy", "low_entropy", self.min_char_entropy, None),
        )
        return tuple(Bound(measure=measure, reason=reason, min=low, max=high)
                     for measure, reason, low, high in rules if (low, high) != (None, None))  # fmt: skip

    def prepare(self) -> None:
        """Compile or load the kernels."""
        self.measure(pa.table({"text": pa.array(["一行。"], pa.large_string())}))

    def measure(self, docs: pa.Table) -> Mapping[str, pa.Array]:
        """Ten measures: one count (int64), eight float64 and a string."""
        rows = chinese(segments(docs), ngram_chars=self.ngram_chars, long_line_chars=self.long_line_chars)
        measures = {name: nullable(row, whole=name == "num_chars") for name, row in zip(MEASURES, rows, strict=True)}
        share = rows[MEASURES.index("traditional_fraction")]
        script = np.where(share <= MIXED, "Hans", np.where(share >= 1 - MIXED, "Hant", "mixed"))
        return {**measures, "script": pa.array(script, pa.string(), mask=np.isnan(share))}
