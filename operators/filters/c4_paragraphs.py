"""mC4's rule on paragraphs."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from operators.filters.measures import nullable
from operators.kernels.c4_paragraphs import third_longest
from operators.kernels.segmentation import segments
from pipeline.operator import Bound, Filter


class C4Paragraphs(Filter):
    r"""Keep a page with at least three lines of ``min_third_longest_chars`` characters: paragraphs, in mC4's sense.

    mC4 asks this of every language in place of C4's end marks. Lines are split at ``\n`` and taken as they stand, blanks
    around them included.

    Measures: ``third_longest_chars``: code points of the third longest line, >= 0; null for a text of fewer than three
    lines, an empty one among them, which drops it.
    Source: Xue et al. 2021 (mT5), arXiv:2010.11934, section 3.1; code of TFDS c4_utils and of datatrove 0.10.
    """

    min_third_longest_chars: int | None = 200

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """The inclusive limit, unless it is None."""
        if self.min_third_longest_chars is None:
            return ()
        return (Bound("third_longest_chars", min=self.min_third_longest_chars, reason="too_few_paragraphs"),)

    def prepare(self) -> None:
        """Compile or load the kernels."""
        self.measure(pa.table({"text": pa.array(["A line."], pa.large_string())}))

    def measure(self, docs: pa.Table) -> Mapping[str, pa.Array]:
        """One measure, int64."""
        return {"third_longest_chars": nullable(third_longest(segments(docs)), whole=True)}
