"""C4's rules for lines and pages."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from operators.filters.characters import Characters
from operators.kernels import c4
from operators.kernels.segmentation import Segments, segments
from operators.kernels.short_lines import long_lines
from pipeline.documents import with_text
from pipeline.operator import Map

Flavour = Literal["datatrove", "c4"]
ByFlavour = Literal["flavour"]

_END_MARKS: dict[Flavour, tuple[str, ...]] = {"datatrove": (".", "?", "!", '"', "'"), "c4": (".", "?", "!", '"')}
# The ideographic full stop, the full-width ! ? ., the half-width stop, . ! ?, and what quotes close with.
_CHINESE = tuple("\u3002\uff01\uff1f\uff0e\uff61.!?\u201d\u2019\u300d\u300f\"'")
_COUNTS = (*c4.COUNTS, "removed_chars")
_PAGE_RULES_OF_LINES = [c4.PAGE_RULES.index(rule) for rule in ("lorem_ipsum", "curly_bracket")]

_MIN_WORDS: dict[Flavour, int] = {"datatrove": 3, "c4": 5}
_MIN_CHARS: dict[Flavour, int] = {"datatrove": 5, "c4": 8}
_MIN_SENTENCES: dict[Flavour, int] = {"datatrove": 5, "c4": 3}


class C4Lines(Map):
    r"""Removes lines that are no sentences, and whole pages by C4's page rules (their text becomes null).

    A line (``str.splitlines()``, stripped) goes if a word of it has more than ``max_word_chars`` characters; if, without
    ``[1]``, ``[edit]`` and ``[citation needed]``, it does not end in an end mark or ends in "..."; if it has fewer than
    ``min_words_per_line`` blank-separated words; if it holds "javascript" or a phrase on terms, privacy or cookies. A page
    goes if a line that is not gone by the first three rules holds "lorem ipsum" or "{" (or "javascript", with
    ``drop_javascript: page``), or if the lines kept have fewer than ``min_sentences`` sentences (up to an end mark, see
    ``spans.sentence_stop``, in place of NLTK's punkt).

    flavour ``datatrove``: 3 words a line, counted before citations are cut, 5 sentences, ' is an end mark, the page is
    stripped; ``c4`` (TFDS): 5 words, counted afterwards, 3 sentences. None turns a number off. Others' variations:
    FineWeb, ``require_end_mark: false``. DCLM's c4.yaml, ``flavour: c4`` (it splits at ``\n`` only, strips no line and so
    keeps blank ones, and takes ``It is. [1]`` for finished, ``It is…`` not). Dolma's C4NoPunc, ``require_end_mark: false,
    remove_citations: false, drop_policy: false, drop_javascript: page, max_word_chars: null, min_sentences: null`` (its page
    rules see lines of fewer than 3 words too). mC4's other rule is ``C4Paragraphs``. Chinese: ``end_marks: chinese`` (the
    full-width and ASCII ones and the quotes that close after them); a line there is one word, so that in place of
    ``min_words_per_line`` by flavour a line of fewer than ``min_chars_per_line`` characters goes, before all other rules:
    by flavour 5 (``datatrove``) or 8 (``c4``) for Chinese marks, 1.6 for each word, and none for others.

    Measures: ``lines``, ``kept_lines``; ``long_word_lines``, ``unfinished_lines``, ``short_lines``, ``javascript_lines``,
    ``policy_lines``: lines removed by each rule, the first that holds; ``sentences`` of the kept lines; all up to the
    line where a page rule fired (short ones by characters to the end), 0 for an empty text, null for a null text. ``removed_chars``: code points the text lost.
    ``page_rule``: ``lorem_ipsum``, ``curly_bracket``, ``javascript`` or ``too_few_sentences``; null where none fired.

    Source: Raffel et al. 2020 (T5), arXiv:1910.10683, section 2.2; code of TFDS c4_utils and of datatrove 0.10; DCLM's c4.yaml;
    Soldaini et al. 2024 (Dolma), arXiv:2402.00159, section 5.2, and its c4_v2 tagger. The Chinese marks are ours.
    """

    flavour: Flavour = "datatrove"
    max_word_chars: int | None = Field(default=1000, ge=0)
    min_words_per_line: int | ByFlavour | None = "flavour"
    min_chars_per_line: Annotated[int, Field(ge=0)] | ByFlavour | None = "flavour"
    min_sentences: int | ByFlavour | None = "flavour"
    require_end_mark: bool = True
    end_marks: ByFlavour | Literal["chinese"] | Characters = "flavour"
    remove_citations: bool = True
    drop_lorem_ipsum: bool = True
    drop_javascript: bool | Literal["page"] = True
    drop_curly_bracket: bool = True
    drop_policy: bool = True

    def _rules(self) -> c4.Rules:
        words = self.min_words_per_line
        if words == "flavour":
            words = None if self.end_marks == "chinese" else _MIN_WORDS[self.flavour]
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
            javascript=bool(self.drop_javascript),
            curly_bracket=self.drop_curly_bracket,
            policy=self.drop_policy,
        )

    def _marks(self) -> tuple[str, ...]:
        if self.end_marks == "flavour":
            return _END_MARKS[self.flavour]
        return _CHINESE if self.end_marks == "chinese" else self.end_marks

    def _min_chars(self) -> int:
        if self.min_chars_per_line == "flavour":
            return _MIN_CHARS[self.flavour] if self.end_marks == "chinese" else 0
        return self.min_chars_per_line or 0

    def prepare(self) -> None:
        """Compile or load the kernels."""
        self.map(pa.table({"text": pa.array(["A line."], pa.large_string())}))

    def map(self, docs: pa.Table) -> pa.Table:
        """The pages as their rules leave them, and ten columns of what went."""
        found, few = segments(docs), self._min_chars()
        long = long_lines(found, few) if few > 0 else None
        result = c4.pages(Segments(long.texts) if long else found, self._rules(), self._marks())
        text, page_rule, counts = result.text, result.page_rule, dict(zip(_COUNTS, result.counts, strict=True))
        if long:
            for name in ("lines", "short_lines"):
                counts[name] = counts[name] + long.removed_lines
            counts["removed_chars"] = counts["removed_chars"] + long.removed_chars
        if self.drop_javascript == "page":
            gone = (counts["javascript_lines"] > 0) & ~np.isin(page_rule, _PAGE_RULES_OF_LINES)
            page_rule = np.where(gone, len(c4.PAGE_RULES), page_rule)
            lost = pc.fill_null(pc.utf8_length(text), 0).to_numpy(zero_copy_only=False)
            counts["removed_chars"] = counts["removed_chars"] + lost * gone
            text = pc.if_else(pa.array(gone), pa.scalar(None, pa.large_string()), text)
        none = None if found.texts.valid.all() else ~found.texts.valid
        docs = with_text(docs, text)
        for name, row in counts.items():
            docs = docs.append_column(self.column(name), pa.array(row, pa.int64(), mask=none))
        codes = pa.array(np.maximum(page_rule, 0), pa.int32(), mask=(page_rule < 0) | ~found.texts.valid)
        rules = pa.DictionaryArray.from_arrays(codes, pa.array((*c4.PAGE_RULES, "javascript"))).cast(pa.string())
        return docs.append_column(self.column("page_rule"), rules)
