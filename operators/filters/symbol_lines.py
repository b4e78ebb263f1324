"""Removes lines of nothing but symbols."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa
from pydantic import Field

from operators.filters.characters import Characters, code_points
from operators.kernels.punctuation import SYMBOLS
from operators.kernels.segmentation import segments
from operators.kernels.symbol_lines import COUNTS, without_symbol_lines
from pipeline.documents import with_text
from pipeline.operator import Map


class SymbolLines(Map):
    r"""Removes each line (``str.splitlines()``) that holds symbols and plain blanks only; blank lines stay.

    ``symbols``: by default "|", what tables leave behind and what FineWeb2 removes; ``punctuation`` is datatrove's set of
    281 marks and control characters. ``replacement``: a line put in place of each run of removed ones, "" for none.
    Lines are joined by ``\n`` again, so that other line breaks become ``\n`` and one at the end goes.

    Measures: ``lines``, ``removed_lines``, ``removed_chars`` (code points of the removed lines); 0 for an empty text, null
    for a null text.
    Source: datatrove 0.10 SymbolLinesFormatter, as FineWeb2 uses it (Penedo et al. 2025, arXiv:2506.20920).
    """

    symbols: Literal["punctuation"] | Characters = ("|",)
    replacement: str = Field(default="", max_length=16)

    def prepare(self) -> None:
        """Compile or load the kernels."""
        self.map(pa.table({"text": pa.array(["a\n|"], pa.large_string())}))

    def map(self, docs: pa.Table) -> pa.Table:
        """The texts without such lines, and three columns of what went."""
        found = segments(docs)
        symbols = SYMBOLS if self.symbols == "punctuation" else code_points(self.symbols)
        edited = without_symbol_lines(found, symbols, self.replacement)
        docs = with_text(docs, edited.text)
        for name, row in zip(COUNTS, edited.counts, strict=True):
            docs = docs.append_column(self.column(name), pa.array(row, pa.int64(), mask=~found.texts.valid))
        return docs
