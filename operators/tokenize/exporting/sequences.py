"""Packed sequences, one after the other, for readers that cut the payload into windows of that very length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.tokenize.exporting.folder import ExportFolder
from operators.tokenize.exporting.headers import Chunk, litdata_index, write_chunk
from operators.tokenize.packing.reader import SequenceShard, sequence_shards
from operators.tokenize.shards.indexes import datatrove_index, datatrove_metadata
from operators.tokenize.shards.reader import Int64s, Tokens
from pipeline.dataset import Dataset
from pipeline.errors import UserError
from pipeline.parquet_shard import ParquetShard

SEQUENCES = ("litgpt", "datatrove", "parquet")
"""What packed sequences can be exported to: the other readers cut windows of their own."""

_BLOCK_TOKENS = 1 << 22
_CHUNK_BYTES = 1 << 30


@dataclass(frozen=True)
class Rows:
    """The sequences of one shard, as rows of ``width`` tokens, end marks behind what is shorter."""

    index: int
    packed: SequenceShard
    facts: Mapping[str, Any]

    @property
    def width(self) -> int:
        """Tokens of a row: what a model reads, and one more that it is to predict."""
        return self.packed.sequence_length + 1

    @cached_property
    def lengths(self) -> Int64s:
        """Tokens of each piece of a document and of each padding, in order."""
        pieces, rows = self.packed.packed.pieces["length"].astype(np.int64), np.asarray(self.packed.packed.rows)
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(pieces)])[rows]
        filled = np.insert(pieces, rows[1:], self.width - np.diff(ends))
        return filled[filled > 0]

    def blocks(self, first: int, after: int) -> Iterator[Tokens]:
        """(rows, width) The rows from ``first`` to before ``after``, some at a time."""
        step = max(1, _BLOCK_TOKENS // self.width)
        for start in range(first, after, step):
            yield self.table(start, min(start + step, after))

    def table(self, first: int, after: int) -> Tokens:
        """(after - first, width) Rows."""
        packed, bounds = self.packed.packed, self.packed.packed.rows[first : after + 1]
        pieces = np.asarray(packed.pieces[bounds[0] : bounds[-1]])
        lengths = pieces["length"].astype(np.int64)
        row = np.repeat(np.arange(after - first), np.diff(bounds))
        ends = np.cumsum(lengths)
        before = np.concatenate([np.zeros(1, np.int64), ends])[bounds[:-1] - bounds[0]]
        target = row * self.width + (ends - lengths) - before[row]
        out: npt.NDArray[Any] = np.full((after - first) * self.width, self.packed.eos, self.packed.dtype)
        for shard, rewritten in np.unique(np.stack([pieces["shard"], pieces["rewritten"]]), axis=1).T.tolist():
            mine = np.flatnonzero((pieces["shard"] == shard) & (pieces["rewritten"] == rewritten))
            source = self.packed.rewritten if rewritten else self.packed.tokens[shard].tokens
            within = np.arange(lengths[mine].sum()) - np.repeat(np.cumsum(lengths[mine]) - lengths[mine], lengths[mine])
            out[np.repeat(target[mine], lengths[mine]) + within] = source[
                np.repeat(pieces["start"][mine], lengths[mine]) + within
            ]
        return out.reshape(after - first, self.width)


def sequences(folder: ExportFolder, dataset: Dataset, to: str) -> dict[str, int]:
    """Lay the sequences of a step out; returns how many there are, and their tokens without padding.

    For litgpt and datatrove a window is a sequence where the trainer's length is the step's ``sequence_length``.

    Raises:
        UserError: there is no sequence.
    """
    packed = sequence_shards(dataset.run, dataset.name)
    shards = [
        Rows(shard.index, one, shard.facts) for shard, one in zip(dataset.shards(), packed, strict=True) if len(one)
    ]
    if not shards:
        msg = f"step {dataset.name!r} has no sequence; there is nothing to export"
        raise UserError(msg)
    write = {"litgpt": _litgpt, "datatrove": _datatrove, "parquet": _parquet}[to]
    write(folder, shards)
    return {
        "sequences": sum(len(one.packed) for one in shards),
        "tokens": sum(int(one.packed.packed.pieces["length"].sum(dtype=np.int64)) for one in shards),
    }


def _litgpt(folder: ExportFolder, shards: Sequence[Rows]) -> None:
    chunks = []
    for one in shards:
        itemsize = one.packed.dtype.itemsize
        step = max(1, _CHUNK_BYTES // itemsize // one.width)
        for number, first in enumerate(range(0, len(one.packed), step)):
            after = min(first + step, len(one.packed))
            chunk = Chunk(f"chunk-{one.index}-{number}.bin", (after - first) * one.width, itemsize)
            write_chunk(folder, "", chunk, one.blocks(first, after))
            chunks.append(chunk)
    folder.write("index.json", [litdata_index(chunks)])


def _datatrove(folder: ExportFolder, shards: Sequence[Rows]) -> None:
    for one in shards:
        stem, count = f"{one.index:05d}_sequences", len(one.packed) * one.width
        folder.write(f"{stem}.ds", one.blocks(0, len(one.packed)))
        folder.write(f"{stem}.ds.index", [datatrove_index(one.lengths)])
        name = f"sluice-{one.facts['tokenizer_sha256'][:16]}"
        folder.write(f"{stem}.ds.metadata", [datatrove_metadata(name, one.packed.dtype.itemsize, count).encode()])


def _parquet(folder: ExportFolder, shards: Sequence[Rows]) -> None:
    """``tokens``: without padding. ``lengths``: of the piece of each document in it."""
    for one in shards:
        name = f"sequences-{one.index:05d}.parquet"
        shard = ParquetShard(folder.path(name))
        for first in range(0, len(one.packed), step := max(1, _BLOCK_TOKENS // one.width)):
            shard.add(_rows(one, first, min(first + step, len(one.packed))))
        shard.close()
        folder.add(name)


def _rows(one: Rows, first: int, after: int) -> pa.Table:
    bounds = np.asarray(one.packed.packed.rows[first : after + 1])
    pieces = one.packed.packed.pieces["length"][bounds[0] : bounds[-1]]
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(pieces, dtype=np.int64)])[bounds - bounds[0]]
    filled = np.arange(one.width) < np.diff(ends)[:, None]
    return pa.table({
        "tokens": pa.LargeListArray.from_arrays(pa.array(ends), pa.array(one.table(first, after)[filled])),
        "lengths": pa.LargeListArray.from_arrays(pa.array(bounds - bounds[0]), pa.array(np.asarray(pieces))),
    })  # fmt: skip
