"""RefinedWeb's line corrections."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import pyarrow as pa
from pydantic import Field

from operators.kernels import refinedweb
from operators.kernels.segmentation import segments
from pipeline.documents import with_text
from pipeline.operator import Map

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class RefinedwebLines(Map):
    r"""Removes lines that are no prose, cuts labels out of short ones, and gives up a page that loses too much by it.

    In the order of DCLM-baseline, each rule over the whole page (split at ``\n``, stripped after each rule; empty lines
    stay): a line goes if more than ``max_upper_fraction`` of its characters are upper case; if more than
    ``max_digit_fraction`` are digits; if it is a counter ("3,000 likes", "1.2K views", of likes, shares, comments,
    retweets, reposts, quotes, bookmarks, upvotes, downvotes, downloads, views and followers); if it has fewer than
    ``min_words_per_line`` blank-separated words. Lines of at most ``max_furniture_words`` such words lose "items in cart"
    anywhere, "Read more" with any three characters at their end (the reference means dots, and writes a pattern),
    "Sign-in" at their start, case aside, and go if nothing is left. A page goes if more than
    ``max_removed_word_fraction`` of its words went with all that, or if it had none. None turns a rule off.

    Words here are fastText's tokens (between ASCII white space or NUL) that begin with a letter or number. English rules:
    in scripts without blanks a line is one word, and so goes.

    Measures: ``lines``; ``upper_case_lines``, ``digit_lines``, ``counter_lines``, ``short_lines``: lines removed by each
    rule; ``furniture_lines``: lines that lost a label; ``words``, ``removed_words``, ``removed_chars``: of the page and
    of what it lost; all 0 for an empty text, null for a null text; they count what the line rules did also where the page
    rule fired, but for ``removed_chars``. ``removed_word_fraction``: [0, 1], null for a text without words.
    ``page_rule``: ``too_many_words_removed`` or ``no_words``; null where none fired.

    Source: Penedo et al. 2023 (RefinedWeb), arXiv:2306.01116, appendix G.2; rules of DCLM's dclm_baseline_refinedweb.yaml.
    """

    max_upper_fraction: Fraction | None = 0.5
    max_digit_fraction: Fraction | None = 0.999999
    remove_counters: bool = True
    min_words_per_line: Count | None = 2
    max_furniture_words: Count | None = 10
    max_removed_word_fraction: Fraction | None = 0.05

    def prepare(self) -> None:
        """Compile or load the kernels."""
        self.map(pa.table({"text": pa.array(["A line."], pa.large_string())}))

    def map(self, docs: pa.Table) -> pa.Table:
        """The pages as their rules leave them, and eleven columns of what went."""
        found = segments(docs)
        rules = refinedweb.Rules(
            max_upper=_number(self.max_upper_fraction),
            max_digits=_number(self.max_digit_fraction),
            counters=self.remove_counters,
            min_words=-1 if self.min_words_per_line is None else self.min_words_per_line,
            max_furniture_words=-1 if self.max_furniture_words is None else self.max_furniture_words,
        )
        result = refinedweb.pages(found, rules, _number(self.max_removed_word_fraction))
        none = ~found.texts.valid
        docs = with_text(docs, result.text)
        for name, row in zip(refinedweb.COUNTS, result.counts, strict=True):
            docs = docs.append_column(self.column(name), pa.array(row, pa.int64(), mask=none))
        words, removed = (result.counts[refinedweb.COUNTS.index(name)] for name in ("words", "removed_words"))
        share = np.divide(removed, words, out=np.zeros(len(words)), where=words > 0)
        docs = docs.append_column(self.column("removed_word_fraction"), pa.array(share, mask=words == 0))
        codes = pa.array(np.maximum(result.page_rule, 0), pa.int32(), mask=none | (result.page_rule < 0))
        names = pa.DictionaryArray.from_arrays(codes, pa.array(refinedweb.PAGE_RULES)).cast(pa.string())
        return docs.append_column(self.column("page_rule"), names)


def _number(limit: float | None) -> float:
    return math.nan if limit is None else limit
