"""Operators small enough to foresee what they do."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.operator import Bound, Filter, Map


class Length(Filter):
    """Code points of a text; raises on texts that hold ``boom``."""

    min_chars: int = 3
    max_chars: int = 100

    @property
    def bounds(self) -> tuple[Bound, ...]:
        return (
            Bound("chars", min=self.min_chars, reason="short"),
            Bound("chars", max=self.max_chars, reason="long"),
        )

    def measure(self, docs: pa.Table) -> dict[str, pa.Array]:
        text = docs["text"].combine_chunks()
        if pc.any(pc.match_substring(text, "boom")).as_py():
            msg = "boom"
            raise ValueError(msg)
        return {"chars": pc.utf8_length(text).cast(pa.int64())}


class Vowels(Filter):
    """Vowels per letter; undefined without letters."""

    min_share: float = 0.2
    costly: ClassVar[bool] = False

    @property
    def bounds(self) -> tuple[Bound, ...]:
        return (Bound("share", min=self.min_share, exclusive=True, reason="consonants"),)

    def measure(self, docs: pa.Table) -> dict[str, pa.Array]:
        shares = []
        for text in docs["text"].to_pylist():
            letters = [c for c in text or "" if c.isalpha()]
            shares.append(sum(c in "aeiou" for c in letters) / len(letters) if letters else None)
        return {"share": pa.array(shares, pa.float64())}


class CostlyVowels(Vowels):
    """The same, declared costly."""

    costly: ClassVar[bool] = True


class Upper(Map):
    """Upper case; nothing is left of ``gone``; raises on ``crash``."""

    def map(self, docs: pa.Table) -> pa.Table:
        text = docs["text"].combine_chunks()
        if pc.any(pc.equal(text, "crash")).as_py():
            msg = "crash"
            raise ValueError(msg)
        new = pc.if_else(pc.equal(text, "gone"), pa.scalar(None, pa.large_string()), pc.utf8_upper(text))
        docs = docs.set_column(docs.column_names.index("text"), "text", new)
        return docs.append_column("upper.chars", pc.utf8_length(new).cast(pa.int64()))


class HideDigits(Map):
    """Digits become ``#``."""

    scrubs: ClassVar[bool] = True

    def map(self, docs: pa.Table) -> pa.Table:
        new = pc.replace_substring_regex(docs["text"].combine_chunks(), "[0-9]", "#")
        return docs.set_column(docs.column_names.index("text"), "text", new)


class LosesRows(Map):
    """Breaks the first law."""

    def map(self, docs: pa.Table) -> pa.Table:
        return docs.slice(0, max(docs.num_rows - 1, 0))
