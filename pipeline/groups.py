"""Counts by a name that each row carries: source, language, operator and reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.documents import one_chunk
from pipeline.ledger import Count


@dataclass(frozen=True)
class Named:
    """The name of each of N rows."""

    names: list[str]
    """Distinct, in the order of their first rows."""
    codes: npt.NDArray[np.int64]
    """int64 (N,), places in ``names``."""

    @classmethod
    def of(cls, strings: pa.Array | pa.ChunkedArray) -> Named:
        """Names as they stand in a column without nulls."""
        array = one_chunk(strings) if isinstance(strings, pa.ChunkedArray) else strings
        encoded: Any = array.dictionary_encode()
        return cls(encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64))

    @classmethod
    def alike(cls, rows: int, name: str) -> Named:
        """The same name for every row."""
        return cls([name] if rows else [], np.zeros(rows, np.int64))

    def and_(self, other: Named, separator: str) -> Named:
        """Both names of each row as one."""
        if len(self.names) == 1:
            return Named([f"{self.names[0]}{separator}{name}" for name in other.names], other.codes)
        if len(other.names) == 1:
            return Named([f"{name}{separator}{other.names[0]}" for name in self.names], self.codes)
        pairs, first, codes = np.unique(
            self.codes * max(len(other.names), 1) + other.codes, return_index=True, return_inverse=True
        )
        order = np.argsort(first)
        place = np.empty(len(pairs), np.int64)
        place[order] = np.arange(len(pairs))
        names = [f"{self.names[self.codes[row]]}{separator}{other.names[other.codes[row]]}" for row in first[order]]
        return Named(names, place[codes.reshape(-1)])

    def count(self, sizes: npt.NDArray[np.int64], mask: npt.NDArray[np.bool_] | None = None) -> dict[str, Count]:
        """Documents and bytes by name, of the masked rows or of all; sizes: int64 (N,), UTF-8 bytes."""
        codes, weights = (self.codes, sizes) if mask is None else (self.codes[mask], sizes[mask])
        docs = np.bincount(codes, minlength=len(self.names)).tolist()
        # Sums in float64 are exact: a table holds far less than 2 ** 53 bytes.
        num_bytes = np.bincount(codes, weights, minlength=len(self.names)).tolist()
        counts: dict[str, Count] = {}
        for name, number, size in zip(self.names, docs, num_bytes, strict=True):
            if number:
                counts.setdefault(name, Count()).add(number, int(size))
        return counts
