"""The files of packed sequences: which pieces of which documents stand in each, no token copied."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.pretrain.data.pieces import PIECE, PieceArray
from pipeline.work import Output

Int64s = npt.NDArray[np.int64]

PIECES, ROWS, REWRITTEN = ".pieces.npy", ".rows.npy", ".bin"


class Documents(NamedTuple):
    """N documents to be packed, in the order they are to stand in."""

    shard: npt.NDArray[np.int32]
    document: npt.NDArray[np.int32]
    start: Int64s
    length: Int64s
    """Tokens, end mark included."""
    num_bytes: Int64s
    """Of the text."""
    rewritten: npt.NDArray[np.bool_]
    order: npt.NDArray[np.uint64]
    """A number drawn from seed and id, where an order is needed that is nobody's."""
    group: npt.NDArray[np.uint64] | None = None
    """Equal ones, side by side, are related; None: none are."""

    @property
    def tokens(self) -> int:
        """All their tokens."""
        return int(self.length.sum())


class Packed(NamedTuple):
    """R rows: row r is ``pieces[rows[r]:rows[r + 1]]``, one after the other."""

    pieces: PieceArray
    rows: Int64s
    """int64 (R + 1,)."""

    @property
    def num_rows(self) -> int:
        """R."""
        return len(self.rows) - 1

    @property
    def tokens(self) -> int:
        """Tokens that stand in rows; the one that ends a row and begins the next piece counts in both."""
        return int(self.pieces["length"].sum(dtype=np.int64))


def pieces_of(documents: Documents, index: Int64s, first: Int64s, length: Int64s) -> PieceArray:
    """Pieces of documents by their positions in ``documents``: from token ``first`` of each on, ``length`` of them."""
    pieces = np.empty(len(index), PIECE)
    pieces["shard"], pieces["document"] = documents.shard[index], documents.document[index]
    pieces["start"] = documents.start[index] + first
    pieces["length"] = length
    pieces["rewritten"] = documents.rewritten[index]
    return pieces


def write_packed(folder: Path, packed: Packed, rewritten: Path | None) -> list[Output]:
    """Two arrays that ``numpy.load`` maps, and the payload of rewritten documents where there may be some."""
    pieces, rows = folder / "pieces.npy", folder / "rows.npy"
    np.save(pieces, packed.pieces)
    np.save(rows, packed.rows.astype("<i8"))
    outputs = [Output(pieces, PIECES), Output(rows, ROWS)]
    return outputs if rewritten is None else [*outputs, Output(rewritten, REWRITTEN)]


def facts_of(packed: Packed, documents: Documents, sequence_length: int) -> dict[str, Any]:
    """What a reader, and who plans on it, must know of a shard."""
    places = packed.num_rows * (sequence_length + 1)
    return {
        "sequence_length": sequence_length, "sequences": packed.num_rows, "pieces": len(packed.pieces),
        "docs": len(documents.length), "tokens": documents.tokens, "rewritten": int(documents.rewritten.sum()),
        "padding": places - packed.tokens,
    }  # fmt: skip
