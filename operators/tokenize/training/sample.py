"""Which documents a tokenizer is trained on: a function of their ids, never of order or shards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pipeline.documents import text_bytes

_BUCKET_BITS = 20  # 8 MiB of sums; a bucket of a 100 TB corpus holds 100 MB


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The documents whose hash(seed, id) falls below a limit, each cut to ``max_chars`` characters."""

    seed: int
    max_chars: int
    num_buckets: int = 1 << _BUCKET_BITS
    """Documents in buckets below this number are in."""

    def tables(self, batches: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The sampled rows of each batch, texts cut; rows without text are left out."""
        for batch in batches:
            mask = (self.buckets(batch) < self.num_buckets) & (text_bytes(batch).to_numpy() > 0)
            if mask.any():
                yield self.cut(batch.filter(pa.array(mask)))

    def buckets(self, docs: pa.Table) -> npt.NDArray[np.int64]:
        """int64 (rows,): the bucket of each document, below 2**20."""
        ids = docs["id"].cast(pa.binary()).to_pylist()
        hashes = np.fromiter((xxhash.xxh3_64_intdigest(key or b"", self.seed) for key in ids), np.uint64, len(ids))
        return (hashes >> np.uint64(64 - _BUCKET_BITS)).astype(np.int64)

    def cut(self, docs: pa.Table) -> pa.Table:
        """The same rows with long texts cut."""
        text = pc.utf8_slice_codeunits(docs["text"].combine_chunks(), 0, self.max_chars)
        return docs.set_column(docs.column_names.index("text"), "text", text)


def limits(batches: Callable[[], Iterable[pa.Table]], whole: Sample, budgets: list[int]) -> list[int]:
    """For each budget in bytes, how many buckets fit: at least the first that holds anything, and 0 where none does."""
    sums = np.zeros(whole.num_buckets, np.int64)
    for batch in whole.tables(batches()):
        np.add.at(sums, whole.buckets(batch), text_bytes(batch).to_numpy())
    filled = np.flatnonzero(sums)
    if not len(filled):
        return [0] * len(budgets)
    cumulative = np.cumsum(sums)
    return [max(int(filled[0]) + 1, int(np.searchsorted(cumulative, budget, side="right"))) for budget in budgets]
