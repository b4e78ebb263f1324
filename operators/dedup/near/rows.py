"""Rows of sketches by address, of the shards being decided and of earlier levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.dedup.earlier.levels import Levels
from operators.dedup.order import Order, gather, order_keys, shards_of
from operators.dedup.signatures import Signatures
from operators.kernels.shingles import KeyArray
from pipeline.work import Shard


@dataclass(frozen=True)
class SketchRows:
    """Reads columns of rows, and the order in which they survive. Holds what it is asked for, nothing else."""

    signatures: Signatures
    shards: Sequence[Shard]
    levels: Levels
    order: Order

    def gather(self, at: KeyArray, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        """Columns of the rows at sorted addresses."""
        if not self.levels:
            return self._own(at, names)
        earlier = self.levels.is_earlier(at)
        old, own = self.levels.gather(at[earlier], names), self._own(at[~earlier], names)
        joined = {}
        for name in names:
            joined[name] = np.empty((len(at), *own[name].shape[1:]), own[name].dtype)
            joined[name][~earlier] = own[name]
            if earlier.any():
                joined[name][earlier] = old[name]
        return joined

    def keys(self, at: KeyArray) -> list[KeyArray]:
        """The numbers by which rows at sorted addresses survive: the level, then the order, the address last."""
        rank = self.levels.rank(at).astype(np.uint64) if self.levels else np.zeros(len(at), np.uint64)
        return [rank, *order_keys(self.gather(at, self.order.columns), at, self.order)]

    def num_earlier(self, at: KeyArray) -> int:
        """How many of these addresses are of earlier levels."""
        return int(self.levels.is_earlier(at).sum()) if self.levels else 0

    def _own(self, at: KeyArray, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        there = set(np.unique(shards_of(at)).tolist())
        # One file at least, for the types of the columns.
        asked = [shard for shard in self.shards if shard.index in there] or self.shards[:1]
        return gather(self.signatures.sketches(asked), at, names)
