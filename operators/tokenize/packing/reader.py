"""Packed sequences as a trainer reads them: tokens, bounds of documents, and which documents stand where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.tokenize.packing.layout import PIECES, REWRITTEN, ROWS, Int64s, Packed
from operators.tokenize.shards.reader import Tokens, TokenShard
from pipeline.dataset import Run
from pipeline.errors import UserError
from pipeline.pretrain.data.pieces import PieceArray
from pipeline.work import Shard

INPUT, RELATED = "tokens", "keys"
"""The roles under which a packing step has its token shards, and what puts related documents together."""
_OPEN = 200  # two or three descriptors each


class TokenShards(Mapping[int, TokenShard]):
    """Committed token shards by number, each opened when it is asked for.

    The last ``_OPEN`` stay open: a map of numpy's keeps a file descriptor, and a process may have but 1,024 of them.
    """

    def __init__(self, shards: Iterable[Shard]) -> None:
        self._shards = {shard.index: shard for shard in shards}
        self._open: dict[int, TokenShard] = {}

    def __getitem__(self, number: int) -> TokenShard:
        """The shard of that number."""
        if number not in self._open:
            opened = TokenShard.of(self._shards[number])
            while len(self._open) >= _OPEN:
                del self._open[next(iter(self._open))]
            self._open[number] = opened
        return self._open[number]

    def __iter__(self) -> Iterator[int]:
        """Numbers."""
        return iter(self._shards)

    def __len__(self) -> int:
        """Shards."""
        return len(self._shards)


@dataclass(frozen=True)
class SequenceShard:
    """One committed shard of sequences over the token shards that its pieces point into.

    tokens: token shards by number, all that ``pieces`` names. own: the payload of rewritten documents, None where there is
    none. sequence_length: tokens a model reads of one sequence; a row has one more, the last one it is to predict.
    """

    packed: Packed
    tokens: Mapping[int, TokenShard]
    own: Path | None
    sequence_length: int
    dtype: np.dtype
    eos: int

    @classmethod
    def of(cls, shard: Shard, tokens: Mapping[int, TokenShard]) -> Self:
        """A committed shard of a dataset of kind sequences."""
        facts = shard.facts
        packed = Packed(_mapped(shard.file(PIECES)), _mapped(shard.file(ROWS)))
        own = shard.file(REWRITTEN) if facts["rewritten"] else None
        dtype = np.dtype(facts["dtype"]).newbyteorder("<")
        return cls(packed, tokens, own, facts["sequence_length"], dtype, facts["eos_id"])

    def __len__(self) -> int:
        """Sequences."""
        return self.packed.num_rows

    @cached_property
    def rewritten(self) -> Tokens:
        """The payload of rewritten documents."""
        return np.zeros(0, self.dtype) if self.own is None else np.memmap(self.own, self.dtype, "r")

    def pieces(self, number: int) -> PieceArray:
        """The pieces of a sequence, in order; see ``PIECE``."""
        return self.packed.pieces[self.packed.rows[number] : self.packed.rows[number + 1]]

    def sequence(self, number: int) -> Tokens:
        """The tokens of a sequence, at most ``sequence_length + 1``."""
        out = np.empty(int(self.bounds(number)[-1]), self.dtype)
        self._fill(out, number)
        return out

    def bounds(self, number: int) -> Int64s:
        """Where each piece of a sequence begins, and where the last one ends: what a mask by document needs (cu_seqlens)."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.pieces(number)["length"], dtype=np.int64)])

    def batch(self, numbers: npt.NDArray[np.integer]) -> tuple[Tokens, Int64s]:
        """Sequences as rows (N, sequence_length + 1), end marks behind what is shorter; and the length of each, (N,)."""
        out = np.full((len(numbers), self.sequence_length + 1), self.eos, self.dtype)
        return out, np.array([self._fill(row, int(number)) for row, number in zip(out, numbers, strict=True)], np.int64)

    def sequences_with(self, shard: int, documents: npt.NDArray[np.integer]) -> Int64s:
        """Numbers of the sequences in which a piece of one of these documents of a token shard stands."""
        pieces = self.packed.pieces
        found = np.flatnonzero((pieces["shard"] == shard) & np.isin(pieces["document"], documents))
        return np.unique(np.searchsorted(self.packed.rows, found, side="right") - 1)

    def _fill(self, out: Tokens, number: int) -> int:
        at = 0
        for shard, _, start, length, rewritten in self.pieces(number).tolist():
            source = self.rewritten if rewritten else self.tokens[shard].tokens
            out[at : at + length] = source[start : start + length]
            at += length
        return at


def sequence_shards(run: Run, step: str) -> list[SequenceShard]:
    """The shards of a packing step of a run.

    Raises:
        UserError: the step packs nothing.
    """
    dataset = run[step]
    if dataset.kind != "sequences":
        msg = f"step {step!r} holds {dataset.kind}, not sequences; name a step with `pack`"
        raise UserError(msg)
    source = run[run.nodes[step]["inputs"][INPUT]]
    tokens = TokenShards(source.shards())
    return [SequenceShard.of(shard, tokens) for shard in dataset.shards()]


def _mapped(path: Path) -> npt.NDArray[Any]:
    """An array of a ``.npy`` file, mapped without a file descriptor: Arrow's buffers outlive theirs."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        start = file.tell()
    with pa.memory_map(str(path)) as mapped:
        return np.frombuffer(memoryview(mapped.read_buffer()), dtype, count=shape[0], offset=start)
