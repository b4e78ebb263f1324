"""The files of packed sequences as training reads them: which piece of a document is of use, and to what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.pretrain.config import PackedFiles, TokenData
from pipeline.pretrain.data.documents import Int64s, mapped, read_documents

PieceArray = NDArray[np.void]
UInt8s = NDArray[np.uint8]

PIECE = np.dtype([("shard", "<i4"), ("document", "<i4"), ("start", "<i8"), ("length", "<i4"), ("rewritten", "<i4")])
"""One run of tokens of one document: token shard and row of the document there (in ``.docs.parquet``), position and number
of its tokens; in the payload of that token shard, or, where ``rewritten`` is 1, in the ``.bin`` beside the pieces."""

HELD_OUT, BREAK = 1, 2
"""Flags of a piece: it is of a held-out document; its first token is not to be predicted."""


@dataclass(frozen=True)
class PackedShard:
    """One shard of R packed rows: row r is ``pieces[rows[r]:rows[r + 1]]``, without those held out.

    rows: int64 (R + 1,). rewritten: the payload of documents that were rewritten. flags: uint8, of each piece.
    num_targets: int32 (R,), tokens of each row that are predicted.

    The first token of a piece is predicted where the one before it in the row is the end mark of a document and the piece
    begins its own. Elsewhere, and at a row's start, it is a break: its document comes from another row, where the token
    was predicted, or what stands before it breaks off.
    """

    pieces: PieceArray
    rows: Int64s
    rewritten: NDArray[np.unsignedinteger]
    flags: UInt8s
    num_targets: NDArray[np.int32]


@dataclass(frozen=True)
class DocumentBounds:
    """Where documents begin and end in the payload of their token shard: of document d of shard s, at base[s] + d and next.

    base: int64 (shards + 1,). begin: int64 (documents + shards,).
    """

    base: Int64s
    begin: Int64s


def document_bounds(data: TokenData) -> DocumentBounds:
    """Of all token shards; 8 bytes a document."""
    tables = (read_documents(files) for files in data.shards)
    begins = [np.append(table.start, table.num_tokens.sum()) for table in tables]
    base = np.cumsum([0, *map(len, begins)])
    return DocumentBounds(base, np.concatenate([np.empty(0, np.int64), *begins]))


def open_packed(files: PackedFiles, data: TokenData, bounds: DocumentBounds, held_out: Int64s) -> PackedShard:
    """One shard of packed rows. held_out: ``document_keys`` of the documents held out, ascending.

    Raises:
        UserError: it is not one, or was packed from other token shards.
    """
    pieces, rows = (_mapped_array(path) for path in (files.pieces, files.rows))
    _refuse(files, _problem(pieces, rows, len(data.shards)))
    begin, end = _document_ends(pieces, bounds)
    _refuse(files, _misfit(pieces, begin, end))
    kept = ~np.isin(document_keys(pieces["shard"], pieces["document"]), held_out)
    row = np.repeat(np.arange(len(rows) - 1), np.diff(rows))[kept]
    start, length = pieces["start"][kept], pieces["length"][kept].astype(np.int64)
    begins, ends = start == begin[kept], start + length == end[kept]
    foretold = np.zeros(len(row), np.bool_)
    foretold[1:] = (row[1:] == row[:-1]) & ends[:-1] & begins[1:]
    flags = np.full(len(pieces), HELD_OUT, np.uint8)
    flags[kept] = np.where(foretold, 0, BREAK)
    targets = np.bincount(row, weights=length - ~foretold, minlength=len(rows) - 1)
    kind = np.dtype(data.dtype).newbyteorder("<")
    return PackedShard(pieces, rows, _rewritten(files, kind), flags, targets.astype(np.int32))


def document_keys(shard: NDArray[np.integer], document: NDArray[np.integer]) -> Int64s:
    """(N,) One number for each document: its token shard and its row there."""
    return shard.astype(np.int64) << 32 | document.astype(np.int64)


def _refuse(files: PackedFiles, problem: str | None) -> None:
    if problem is not None:
        msg = f"{files.pieces}: {problem}; pack again"
        raise UserError(msg)


def _problem(pieces: PieceArray, rows: NDArray[Any], num_shards: int) -> str | None:
    if pieces.dtype != PIECE or rows.dtype != np.dtype("<i8"):
        return f"pieces of {pieces.dtype} and rows of {rows.dtype} are not what `pack` writes"
    if not len(rows) or rows[0] or rows[-1] != len(pieces) or (np.diff(rows) < 1).any():
        return "its rows do not cover its pieces"
    if len(pieces) and not 0 <= pieces["shard"].min() <= pieces["shard"].max() < num_shards:
        return f"it names token shard {pieces['shard'].max()} of {num_shards}"
    return None


def _document_ends(pieces: PieceArray, bounds: DocumentBounds) -> tuple[Int64s, Int64s]:
    """Where the document of each piece begins and ends in the payload that the piece is in; -1 where there is none."""
    at = bounds.base[pieces["shard"]] + pieces["document"]
    known = at + 1 < bounds.base[pieces["shard"] + 1]
    begin, end = (np.where(known, bounds.begin[np.where(known, place, 0)], -1) for place in (at, at + 1))
    copied = np.flatnonzero(pieces["rewritten"])
    if len(copied):
        # A rewritten document's extent is that of its pieces, all of which are in this shard.
        of = pieces[copied]
        _, number = np.unique(document_keys(of["shard"], of["document"]), return_inverse=True)
        first, last = np.full(number.max() + 1, np.iinfo(np.int64).max), np.zeros(number.max() + 1, np.int64)
        np.minimum.at(first, number, of["start"])
        np.maximum.at(last, number, of["start"] + of["length"])
        begin[copied], end[copied] = first[number], last[number]
    return begin, end


def _misfit(pieces: PieceArray, begin: Int64s, end: Int64s) -> str | None:
    wrong = (pieces["start"] < begin) | (pieces["start"] + pieces["length"] > end) | (pieces["length"] < 1)
    if not wrong.any():
        return None
    shard, document, start, length, _ = pieces[int(np.argmax(wrong))].tolist()
    return f"tokens {start} to {start + length} are not those of document {document} of token shard {shard}"


def _rewritten(files: PackedFiles, kind: np.dtype[Any]) -> NDArray[Any]:
    if files.rewritten is None:
        return np.empty(0, kind)
    return mapped(files.rewritten, kind, count=Path(files.rewritten).stat().st_size // kind.itemsize)


def _mapped_array(path: str) -> NDArray[Any]:
    """The array of a ``.npy`` file, over it."""
    with Path(path).open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        return mapped(path, dtype, count=shape[0], start=file.tell())
