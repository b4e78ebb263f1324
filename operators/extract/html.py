"""The main text of HTML pages."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from operators.kernels.buffers import text_buffers
from operators.kernels.html_nesting import nesting_costs, warm
from pipeline.documents import with_text
from pipeline.operator import Map

# What the HTML standard takes for the start of a tag, an end tag, a comment or a doctype.
_MARKUP = re.compile(r"<[a-zA-Z/!?]")

_FREE_NESTING = 1_000_000
"""Open elements summed over tags that every page may have, beside one per byte. Of 1,232 real pages the worst came to
8 % of that. Parsers take quadratic time, and memory, in nesting: 2,000 nested ``<p><b id=…>`` (29 kB) took 10 s and
0.8 GB, 20,000 nested ``<div>`` (220 kB) 10 s; within these limits 1,000 of the former, 2.7 s, were the worst found."""


class _Page(NamedTuple):
    text: str | None
    title: str | None
    failure: str | None
    extractor: str | None


class ExtractHtml(Map):
    """Replaces a page by its main text, without menus, banners and footers; null where nothing is left.

    A text without a single tag is no HTML: it stays as it is. A page beyond the limits is not cut but left out with the
    failure ``too_large``, or ``too_nested`` where its nesting alone would hold up a parser (browsers, too, cap it).
    Character references are resolved, NUL is left out.

    Measures: ``title`` the page's title, null without one; ``failure`` null, ``no_text``, ``too_large``, ``too_nested``
    or ``unparsable``; ``extractor`` what made the text, ``resiliparse``, ``resiliparse_all`` (all visible text) or
    ``plain_text``, null where it is null;
    ``html_bytes`` UTF-8 bytes of the page, 0 for an empty one.
    Source: resiliparse's main content extraction (Bevendorff et al. 2018, Elastic ChatNoir), used by DCLM (Li et al.
    2024, arXiv:2406.11794, section 4.2); its version is recorded with the run. Our benchmark: docs/benchmarks/extraction.md.
    """

    libraries: ClassVar[tuple[str, ...]] = ("Resiliparse",)

    engine: Literal["resiliparse"] = "resiliparse"
    main_content: bool = True
    """False: all visible text, menus too."""
    min_main_fraction: float = Field(default=0.05, ge=0, le=1)
    """Below this share of the visible text the main text is not believed: lists, shops and forums often have none for the
    extractor, and all visible text is taken, which lifted F1 from .847 to .878 on 801 pages (.02 to .2 do alike). 0: never."""
    comments: bool = True
    """With main_content: take what readers wrote below an article for main content."""
    alt_texts: bool = False
    list_bullets: bool = True
    max_bytes: int = Field(default=20_000_000, gt=0)

    def prepare(self) -> None:
        """Compile the kernel."""
        warm()

    def map(self, docs: pa.Table) -> pa.Table:
        """Pages in ``text`` become texts."""
        column: Any = docs["text"].combine_chunks()
        texts = text_buffers(column)
        sizes = np.where(texts.valid, np.diff(texts.offsets), 0)
        budgets = np.where(sizes <= self.max_bytes, _FREE_NESTING + sizes, 0)
        nested = nesting_costs(texts.data, texts.offsets, budgets) > budgets
        pages = [self._page(column, row, int(sizes[row]), bool(nested[row])) for row in range(len(column))]
        docs = with_text(docs, pa.array([page.text for page in pages], pa.large_string()))
        columns = {
            "title": pa.array([page.title for page in pages], pa.string()),
            "failure": pa.array([page.failure for page in pages], pa.string()),
            "extractor": pa.array([page.extractor for page in pages], pa.string()),
            "html_bytes": pa.array(sizes, pa.int64()),
        }
        for measure, values in columns.items():
            docs = docs.append_column(self.column(measure), values)
        return docs

    def _page(self, column: Any, row: int, size: int, nested: bool) -> _Page:
        if size > self.max_bytes:
            return _Page(None, None, "too_large", None)
        if nested:
            return _Page(None, None, "too_nested", None)
        html = column[row].as_py() or ""
        if not _MARKUP.search(html):
            return _Page(html, None, None, "plain_text") if html.strip() else _Page(None, None, "no_text", None)
        try:
            tree = HTMLTree.parse(html)
        except ValueError:  # also what the parser's own exceptions derive from
            return _Page(None, None, "unparsable", None)
        title = " ".join((tree.title or "").split()) or None
        if not self.main_content:
            text, extractor = self._visible(tree), "resiliparse_all"
        else:
            text, extractor = self._main(tree), "resiliparse"
            # No text is longer than its page: most pages need not be read twice to know.
            if len(text) < self.min_main_fraction * len(html):
                visible = self._visible(tree)
                if len(text) < self.min_main_fraction * len(visible):
                    text, extractor = visible, "resiliparse_all"
        return _Page(text, title, None, extractor) if text else _Page(None, title, "no_text", None)

    def _main(self, tree: HTMLTree) -> str:
        return extract_plain_text(
            tree,
            preserve_formatting=True,
            main_content=True,
            comments=self.comments,
            alt_texts=self.alt_texts,
            list_bullets=self.list_bullets,
        ).strip()

    def _visible(self, tree: HTMLTree) -> str:
        return extract_plain_text(
            tree, preserve_formatting=True, alt_texts=self.alt_texts, list_bullets=self.list_bullets
        ).strip()
