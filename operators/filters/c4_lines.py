"""C4's rules for lines and pages."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from operators.kernels import c4
from operators.kernels.segmentation import segments
from pipeline.operator import Map
from pipeline.value import Strings

Flavour = Literal["datatrove", "c4"]
ByFlavour = Literal["flavour"]

_END_MARKS: dict[Flavour, tuple[str, ...]] = {"datatrove": (".", "?", "!", '"', "'"), "c4": (".", "?", "!", '"')}
_MIN_WORDS: dict[Flavour, int] = {"datatrove": 3, "c4": 5}
_MIN_SENTENCES: dict[Flavour, int] = {"datatrove": 5, "c4": 3}


class C4Lines(Map):
    """Removes lines that are no sentences, and whole pages by C4's page rules (their text becomes null).

    A line (``str.splitlines()``, stripped) goes if a word of it has more than ``max_word_chars`` characters; if, without
    ``[1]``, ``[edit]`` and ``[citation needed]``, it does not end in an end mark or ends in "..."; if it has fewer than
    ``min_words_per_line`` blank-separated words; if it holds "javascript" or a phrase on terms, privacy or cookies. A page
    goes if a line that is not gone by the first three rules holds "lorem ipsum" or "{", or if the lines kept have fewer
    than ``min_sentences`` sentences (up to an end mark, see ``spans.sentence_stop``, in place of NLTK's punkt).

    flavour ``datatrove``: 3 words a line, counted before citations are cut, 5 sentences, ' is an end mark, the page is
    stripped; ``c4`` (TFDS): 5 words, counted afterwards, 3 sentences. None turns a number off. Chinese needs other
    ``end_marks`` and no ``min_words_per_line``: one line is one word.

    Measures: ``lines``, ``kept_lines``; ``long_word_lines``, ``unfinished_lines``, ``short_lines``, ``javascript_lines``,
    ``policy_lines``: lines removed by each rule, the first that holds; ``sentences`` of the kept lines; all up to the
    line where a page rule fired, 0 for an empty text, null for a null text. ``removed_chars``: code points the text lost.
    ``page_rule``: ``lorem_ipsum``, ``curly_bracket`` or ``too_few_sentences``; null where none fired.

    Source: Raffel et al. 2020 (T5), arXiv:1910.10683, section 2.2; code of TFDS c4_utils and of datatrove 0.10.
    """

    flavour: Flavour = "datatrove"
    max_word_chars: int | None = Field(default=1000, ge=0)
    min_words_per_line: int | ByFlavour | None = "flavour"
    min_sentences: int | ByFlavour | None = "flavour"
    require_end_mark: bool = True
    end_marks: Strings | ByFlavour = "flavour"
    remove_citations: bool = True
    drop_lorem_ipsum: bool = True
    drop_javascript: bool = True
    drop_curly_bracket: bool = True
    drop_policy: bool = True

    def _rules(self) -> c4.Rules:
        words = _MIN_WORDS[self.flavour] if self.min_words_per_line == "flavour" else self.min_words_per_line
        sentences = _MIN_SENTENCES[self.flavour] if self.min_sentences == "flavour" else self.min_sentences
        return c4.Rules(
            max_word_chars=-1 if self.max_word_chars is None else self.max_word_chars,
            min_words=-1 if words is None else words,
            min_sentences=-1 if sentences is None else sentences,
            count_after_citations=self.flavour == "c4",
            strip_page=self.flavour == "datatrove",
            citations=self.remove_citations,
            end_mark=self.require_end_mark,
            lorem_ipsum=self.drop_lorem_ipsum,
            javascript=self.drop_javascript,
            curly_bracket=self.drop_curly_bracket,
            policy=self.drop_policy,
        )

    def prepare(self) -> None:
        """Compile or load the kernels."""
        self.map(pa.table({"text": pa.array(["A line."], pa.large_string())}))

    def map(self, docs: pa.Table) -> pa.Table:
        """The pages as their rules leave them, and ten columns of what went."""
        found = segments(docs)
        marks = _END_MARKS[self.flavour] if self.end_marks == "flavour" else self.end_marks
        result = c4.pages(found, self._rules(), marks)
        none = ~found.texts.valid
        docs = docs.set_column(docs.column_names.index("text"), "text", result.text)
        for name, row in zip((*c4.COUNTS, "removed_chars"), result.counts, strict=True):
            docs = docs.append_column(self.column(name), pa.array(row, pa.int64(), mask=none))
        codes = pa.array(np.maximum(result.page_rule, 0), pa.int32(), mask=none | (result.page_rule < 0))
        rules = pa.DictionaryArray.from_arrays(codes, pa.array(c4.PAGE_RULES)).cast(pa.string())
        return docs.append_column(self.column("page_rule"), rules)
