"""What of a token shard goes into one set of an export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.dedup.split.draw import TRAINING, Shares, drawn
from operators.tokenize.shards.reader import Int64s, Tokens, TokenShard
from pipeline.shards import CommittedShard

TRAIN = "train"
"""The set of all that ``--split`` holds out nowhere."""

BLOCK_TOKENS = 1 << 22
"""Tokens copied at once, and a document more at most."""


@dataclass(frozen=True)
class Part:
    """Documents of one shard, in its order. Opened anew at each question, so that many shards need no memory at once.

    chosen: bool (documents of the shard,), True for those that belong here; None where all do.
    """

    committed: CommittedShard
    chosen: npt.NDArray[np.bool_] | None = None

    @property
    def index(self) -> int:
        """Number of the shard."""
        return self.committed.index

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the shard's commit says of it."""
        return self.committed.facts

    @property
    def itemsize(self) -> int:
        """Bytes of a token."""
        return np.dtype(self.facts["dtype"]).itemsize

    @property
    def shard(self) -> TokenShard:
        """The shard, opened."""
        return TokenShard.of(self.committed)

    @property
    def lengths(self) -> Int64s:
        """(documents here,) Tokens of each, end mark included."""
        lengths = self.shard.lengths
        return lengths if self.chosen is None else lengths[self.chosen]

    @property
    def ids(self) -> npt.NDArray[np.uint8]:
        """(documents here, 16)."""
        ids = self.shard.ids
        return ids if self.chosen is None else ids[self.chosen]

    @cached_property
    def num_documents(self) -> int:
        """Documents here."""
        return self.facts["docs"] if self.chosen is None else int(self.chosen.sum())

    @cached_property
    def num_tokens(self) -> int:
        """Tokens, end marks included."""
        return int(self.lengths.sum())

    @property
    def starts(self) -> Int64s:
        """(documents here,) Where each starts in the shard's payload, in tokens."""
        starts = self.shard.offsets[:-1]
        return np.asarray(starts if self.chosen is None else starts[self.chosen])

    def committed_file(self, suffix: str) -> tuple[Path, str]:
        """A file of the whole shard, and its sha256."""
        found = (o.sha256 for o in self.committed.spec.outputs if o.suffix == suffix and o.folder == "shards")
        return self.committed.file(suffix), next(found)

    def blocks(self) -> Iterator[Tokens]:
        """The tokens of the documents, in pieces of about ``BLOCK_TOKENS``."""
        shard = self.shard
        if self.chosen is None:
            for start in range(0, shard.num_tokens, BLOCK_TOKENS):
                yield shard.tokens[start : start + BLOCK_TOKENS]
            return
        for first, after in spans(shard.offsets, BLOCK_TOKENS):
            mask = np.repeat(self.chosen[first:after], shard.lengths[first:after])
            yield shard.tokens[int(shard.offsets[first]) : int(shard.offsets[after])][mask]


def spans(offsets: Int64s, num_tokens: int) -> Iterator[tuple[int, int]]:
    """Neighbouring documents (first, after the last) of about ``num_tokens`` tokens; a longer one stands alone."""
    first, count = 0, len(offsets) - 1
    while first < count:
        after = int(np.searchsorted(offsets, int(offsets[first]) + num_tokens, side="right")) - 1
        after = min(max(after, first + 1), count)
        yield first, after
        first = after


def choose(ids: npt.NDArray[np.uint8], held_out: Shares | None, seed: int) -> dict[str, npt.NDArray[np.bool_] | None]:
    """Set -> which documents are in it, by hash(seed, id); the one set ``train`` of all where nothing is held out.

    ids: uint8 (documents, 16).
    """
    if held_out is None:
        return {TRAIN: None}
    number = drawn(ids.view("<u8").astype(np.uint64, copy=False).reshape(-1, 2), held_out, seed)
    return {TRAIN: number == TRAINING} | {name: number == k for k, (name, _) in enumerate(held_out)}


def parts_of(shards: list[CommittedShard], held_out: Shares | None, seed: int) -> dict[str, list[Part]]:
    """Set -> its parts that hold a document, in the shards' order."""
    sets: dict[str, list[Part]] = {TRAIN: []} | {name: [] for name, _ in held_out or ()}
    for shard in shards:
        if not shard.facts["docs"]:
            continue
        whole = Part(shard)
        for name, chosen in choose(whole.ids if held_out else np.zeros((0, 16), np.uint8), held_out, seed).items():
            if chosen is None or chosen.all():
                sets[name].append(whole)
            elif chosen.any():
                sets[name].append(Part(shard, chosen))
    return sets
