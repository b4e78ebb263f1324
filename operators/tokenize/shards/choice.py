"""The documents of one share of a window of encoded shards: which, in what order, and their tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.tokenize.shards.reader import Int64s, Tokens, TokenShard
from pipeline.pretrain.data.order import mix

_TOKENS_TOGETHER = 1 << 22  # copied at once; their positions take 32 MiB each


@dataclass(frozen=True)
class Choice:
    """N documents in their order. shard, row: int64 (N,), where each lies. lengths: int64 (N,), in tokens."""

    shard: Int64s
    row: Int64s
    lengths: Int64s

    @classmethod
    def of(cls, shards: Sequence[TokenShard], part: Mapping[str, int], seed: int | None) -> Self:
        """The documents that start in a share of the window; seed None: in the order of the shards."""
        lengths = np.concatenate([shard.lengths for shard in shards])
        order = np.arange(len(lengths)) if seed is None else _permuted([shard.ids for shard in shards], seed)
        ends = part["first"] + np.cumsum(lengths[order])
        first, last = np.searchsorted(ends - lengths[order], [part["start"], part["end"]])
        chosen = order[first:last]
        before = np.cumsum([0, *(shard.num_documents for shard in shards)])
        owner = np.searchsorted(before, chosen, side="right") - 1
        return cls(owner, chosen - before[owner], lengths[chosen])

    def rows(self, shards: Sequence[TokenShard]) -> pa.Table:
        """Their rows of ``docs.parquet``."""
        tables = [shards[0].columns().slice(0, 0)]
        places = []
        for k in np.unique(self.shard):
            places.append(np.flatnonzero(self.shard == k))
            tables.append(shards[k].columns().take(pa.array(self.row[places[-1]])))
        found = pa.concat_tables(tables[1:] or tables, promote_options="permissive")
        back = np.argsort(np.concatenate(places)) if places else np.zeros(0, np.int64)
        return found.take(pa.array(back)).combine_chunks()

    def blocks(self, shards: Sequence[TokenShard]) -> Iterator[tuple[int, int, Tokens]]:
        """(first document, last + 1, their tokens) of one run of documents after another, of bounded size.

        A document that alone exceeds the size is handed out by itself, over its file.
        """
        long = self.lengths > _TOKENS_TOGETHER  # what follows one is in another block anyway
        block = (np.cumsum(self.lengths) - self.lengths) // _TOKENS_TOGETHER
        cuts = np.flatnonzero((np.diff(block) > 0) | long[1:]) + 1
        bounds = [0, *cuts.tolist(), len(self.lengths)]
        for first, last in pairwise(bounds):
            if last - first == 1:
                yield first, last, shards[self.shard[first]].document(int(self.row[first]))
            elif last > first:
                yield first, last, self._gathered(shards, slice(first, last))

    def _gathered(self, shards: Sequence[TokenShard], block: slice) -> Tokens:
        lengths, owners, rows = self.lengths[block], self.shard[block], self.row[block]
        starts = np.cumsum(lengths) - lengths
        out = np.empty(int(lengths.sum()), shards[0].dtype)
        for k in np.unique(owners):
            own = np.flatnonzero(owners == k)
            source = shards[k]
            if len(own) == own[-1] - own[0] + 1 == rows[own[-1]] - rows[own[0]] + 1 and (np.diff(rows[own]) == 1).all():
                begin = starts[own[0]]  # neighbours there and here
                tokens = source.tokens[source.offsets[rows[own[0]]] : source.offsets[rows[own[-1]] + 1]]
                out[begin : begin + len(tokens)] = tokens
                continue
            within = np.arange(lengths[own].sum()) - np.repeat(np.cumsum(lengths[own]) - lengths[own], lengths[own])
            places = np.repeat(starts[own], lengths[own]) + within
            out[places] = source.tokens[np.repeat(source.offsets[rows[own]], lengths[own]) + within]
        return out


def _permuted(ids: Sequence[npt.NDArray[np.uint8]], seed: int) -> Int64s:
    """Positions in the order of hash(seed, id), then of the id; only between equal ids does the address decide."""
    halves = np.ascontiguousarray(np.concatenate(ids)).view("<u8")
    low, high = halves[:, 0], halves[:, 1]
    key = mix(high ^ mix(low ^ mix(np.array([seed % (1 << 64)], np.uint64))))
    return np.lexsort((low, high, key))
