"""What is counted of each document, and the ratios that follow from sums of it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from operators.kernels.segmentation import segments
from pipeline.documents import as_documents
from pipeline.rejects import languages, sources

Group = tuple[str, str]
"""Source and language."""


@dataclass
class Counts:
    """Sums over documents. Words are those of UAX #29, each Han, Hiragana or Thai letter one; chars are code points."""

    docs: int = 0
    bytes: int = 0
    chars: int = 0
    words: int = 0
    tokens: int = 0
    single_byte: int = 0
    partial: int = 0
    unknown: int = 0
    special: int = 0
    lossy: int = 0
    """Documents whose tokens do not give their text back."""

    def merge(self, other: Counts) -> None:
        """Add the sums of other documents."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    @classmethod
    def sum(cls, parts: list[Counts]) -> Self:
        """The sums of all parts."""
        whole = cls()
        for part in parts:
            whole.merge(part)
        return whole

    def to_json(self) -> dict[str, Any]:
        """The sums, and their ratios; a ratio to nothing is null."""
        sums = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            **sums,
            "bytes_per_token": _ratio(self.bytes, self.tokens),
            "tokens_per_word": _ratio(self.tokens, self.words),
            "tokens_per_char": _ratio(self.tokens, self.chars),
            "single_byte_fraction": _ratio(self.single_byte, self.tokens),
            "partial_char_fraction": _ratio(self.partial, self.tokens),
            "unknown_fraction": _ratio(self.unknown, self.tokens),
        }


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


@dataclass(frozen=True)
class Texts:
    """A batch of N documents with text, and what holds of it under any tokenizer."""

    docs: pa.Table
    source: pa.Array
    language: pa.Array
    bytes: npt.NDArray[np.int64]
    chars: npt.NDArray[np.int64]
    words: npt.NDArray[np.int64]

    @classmethod
    def of(cls, table: pa.Table) -> Texts:
        """Count a table of documents; rows without text are left out."""
        docs = as_documents(table)
        sizes = pc.fill_null(pc.binary_length(docs["text"]), 0)
        docs = as_documents(docs.filter(pc.greater(sizes, 0)))
        column: Any = docs["text"].combine_chunks()
        return cls(
            docs,
            sources(docs),
            languages(docs),
            pc.cast(pc.binary_length(column), pa.int64()).to_numpy(),
            pc.cast(pc.utf8_length(column), pa.int64()).to_numpy(),
            np.diff(segments(docs).words("uax29").bounds),
        )

    @property
    def column(self) -> Any:
        """The texts, large_string without nulls."""
        return self.docs["text"].combine_chunks()

    def by_group(
        self, tokens: npt.NDArray[np.int64], kinds: npt.NDArray[np.int64], lossy: npt.NDArray[np.bool_]
    ) -> dict[Group, Counts]:
        """Sums by source and language.

        tokens: int64 (N,). kinds: int64 (N, 4), tokens of each kind of ``vocabulary``. lossy: bool (N,).
        """
        columns = {
            "bytes": self.bytes, "chars": self.chars, "words": self.words, "tokens": tokens,
            "single_byte": kinds[:, 0], "partial": kinds[:, 1], "unknown": kinds[:, 2], "special": kinds[:, 3],
            "lossy": lossy.astype(np.int64),
        }  # fmt: skip
        rows = pa.table({"source": self.source, "language": self.language, **columns})
        wanted: Any = [("bytes", "count"), *((name, "sum") for name in columns)]
        sums = rows.group_by(["source", "language"], use_threads=False).aggregate(wanted)
        return {
            (row["source"], row["language"]): Counts(
                docs=row["bytes_count"], **{name: row[f"{name}_sum"] for name in columns}
            )
            for row in sums.to_pylist()
        }
