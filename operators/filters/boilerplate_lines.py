"""Removes lines that every page has."""

from __future__ import annotations

import difflib
from typing import Self

import pyarrow as pa
from pydantic import Field, model_validator

from operators.filters.boilerplate_lists import keys_of, phrase_table, shipped_languages
from operators.kernels.boilerplate import COUNTS, without_listed_lines
from operators.kernels.segmentation import segments
from pipeline.documents import with_text
from pipeline.operator import Map
from pipeline.value import Strings


class BoilerplateLines(Map):
    r"""Removes lines of nothing but phrases on a list: menus, cookie notices, sharing, log-in, comment forms, rights.

    Lines are split at ``\n``; those of more than ``max_line_chars`` code points always stay, so that prose which mentions
    a phrase does. A line is folded (case, width, accents; every number is one number; marks and blanks between words are
    one blank) and cut at what separates the items of a menu (bars, bullets, arrows, angle quotes, tabs); it goes if every
    item is a phrase. A phrase of a list may leave an end open: ``copyright 0 *`` starts an item, ``* all rights reserved``
    ends one, both at a word's border; a star without a blank stands for any letters (``*版权所有``). With both ends open a
    phrase takes the whole line along. A text that loses a line also loses blank lines at its ends, and becomes null if
    nothing else is left; other texts stay as they are.

    Lines with a quotation mark, ``()`` or a mark of code stay too. ``languages`` names shipped lists (de, en, es, fr, ja, pl,
    ru, zh), ``phrases`` adds your own; operators/data/boilerplate/NOTICE states how the lists were made and what share of
    the lines they take out belongs to the main text: 0.3 % of 9,463 lines on 505 pages with all they show.

    Measures: ``lines``, ``removed_lines``, ``removed_chars`` (code points of the removed lines); 0 for an empty text, null
    for a null text.
    Source: our lists and our benchmark.
    """

    languages: Strings = ("en",)
    phrases: Strings = ()
    max_line_chars: int = Field(default=100, ge=1, le=10_000)

    @model_validator(mode="after")
    def _known(self) -> Self:
        if not self.languages and not self.phrases:
            msg = f"needs languages or phrases; shipped lists: {', '.join(shipped_languages())}"
            raise ValueError(msg)
        for name in self.languages:
            if name not in shipped_languages():
                near = difflib.get_close_matches(name, shipped_languages(), 3, 0.4) or shipped_languages()
                msg = f"no shipped list {name!r}; near: {', '.join(near)}"
                raise ValueError(msg)
        if self.phrases:
            keys_of(list(self.phrases))
        return self

    def prepare(self) -> None:
        """Load the lists and compile the kernels."""
        self.map(pa.table({"text": pa.array(["a\nb"], pa.large_string())}))

    def map(self, docs: pa.Table) -> pa.Table:
        """The texts without such lines, and three columns of what went."""
        found = segments(docs)
        edited = without_listed_lines(found, phrase_table(self.languages, self.phrases), self.max_line_chars)
        docs = with_text(docs, edited.text)
        for name, row in zip(COUNTS, edited.counts, strict=True):
            docs = docs.append_column(self.column(name), pa.array(row, pa.int64(), mask=~found.texts.valid))
        return docs
