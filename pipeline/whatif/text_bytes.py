"""Bytes of the texts that would go: kept rows store no length, so that texts are read, as many as a budget allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xxhash

from pipeline.dataset import Dataset
from pipeline.documents import text_bytes
from pipeline.ledger import Count
from pipeline.rejects import LANGUAGE_COLUMNS
from pipeline.report.reading import files
from pipeline.whatif.stored_rows import RowFile
from pipeline.whatif.tally import Group, Tally

BUDGET = 512 * 2**20
"""Bytes of text that are read to measure the lengths of rows that go: a second's work. Beyond it, row groups are drawn
by hash, and the mean of their rows, by source and language, stands for the others."""


@dataclass(frozen=True)
class _Piece:
    """One row group with rows that go."""

    name: str
    group: int
    rows: npt.NDArray[np.int64]
    size: int


def bytes_that_go(
    dataset: Dataset, tally: Tally, threads: int, budget: int = BUDGET
) -> tuple[Mapping[Group, int], bool]:
    """UTF-8 bytes of the rows that go, by source and language, and whether every one of them was read."""
    pieces = [piece for shard, bits in sorted(tally.going.items()) for piece in _pieces(dataset, shard, bits)]
    chosen = _drawn(pieces, budget)
    read: dict[Group, Count] = {}
    with ThreadPoolExecutor(threads) as pool:
        for counts in pool.map(lambda piece: _lengths(dataset, piece), chosen):
            for group, count in counts.items():
                read.setdefault(group, Count()).merge(count)
    if len(chosen) == len(pieces):
        return {group: count.bytes for group, count in read.items()}, True
    whole = Count(sum(count.docs for count in read.values()), sum(count.bytes for count in read.values()))
    return {
        group: round(count.docs * (known := read.get(group, whole)).bytes / known.docs)
        for group, count in tally.groups["go"].items()
    }, False


def _pieces(dataset: Dataset, shard: int, bits: npt.NDArray[np.uint8]) -> Iterator[_Piece]:
    going = np.flatnonzero(np.unpackbits(bits))
    for _, file in files(dataset, "shards", ".parquet", [shard]):
        with RowFile(dataset.run.storage, file.name) as opened:
            for number, (part, size) in enumerate(opened.groups()):
                first, stop = np.searchsorted(going, (part.first_row, part.first_row + part.num_rows))
                if stop > first:
                    yield _Piece(file.name, number, going[first:stop], size)


def _drawn(pieces: Sequence[_Piece], budget: int) -> list[_Piece]:
    """All of them where the budget allows it, else as many as it does, and one at least, by hash of their place."""
    if sum(piece.size for piece in pieces) <= budget:
        return list(pieces)
    drawn, size = [], 0
    for piece in sorted(pieces, key=lambda piece: xxhash.xxh3_64_intdigest(f"{piece.name} {piece.group}".encode())):
        size += piece.size
        if drawn and size > budget:
            break
        drawn.append(piece)
    return drawn


def _lengths(dataset: Dataset, piece: _Piece) -> Mapping[Group, Count]:
    with RowFile(dataset.run.storage, piece.name) as opened:
        rows = opened.rows(piece.rows, ("text", "source", *LANGUAGE_COLUMNS))
    lengths = text_bytes(rows)
    measured = rows.drop_columns(["text"]).append_column("bytes", lengths)
    tally = Tally(0)
    tally.count("go", measured)
    return tally.groups["go"]
