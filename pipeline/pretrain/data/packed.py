"""Training on rows that ``pack`` made, without the documents held out.

Pieces of held-out documents are left out of their rows, which close up, so that no token of theirs is seen or predicted.
To leave out every row with such a piece instead would cost far more: of rows of ten documents, 40 % hold one of a held-out
twentieth. Rows in which nothing is left to predict are never drawn.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.pretrain.config import TrainConfig
from pipeline.pretrain.data.corpus import Corpus
from pipeline.pretrain.data.documents import Int64s, read_documents
from pipeline.pretrain.data.order import batch_windows
from pipeline.pretrain.data.pieces import BREAK, HELD_OUT, document_bounds, document_keys, open_packed


class _Pieces(NamedTuple):
    """Pieces of N rows, one after the other: the line each stands in, from 0, and where it begins in all lines laid flat.

    payload: number of the token shard, or, for rewritten documents, that of the shard of rows behind those.
    """

    line: Int64s
    at: Int64s
    shard: NDArray[np.int32]
    document: NDArray[np.int32]
    payload: Int64s
    start: Int64s
    length: Int64s
    broken: NDArray[np.bool_]


class PackedRows:
    """The packed rows of every step, each once an epoch in an order of its own. A row is its number over all shards.

    In memory: a byte a piece and 4 bytes a row.
    """

    def __init__(self, corpus: Corpus, config: TrainConfig) -> None:
        """Look at every piece.

        Raises:
            UserError: rows of another length, or packed from other token shards, or fewer than one batch.
        """
        data, held = corpus.data, corpus.held_out
        if config.sequence_length != data.packed_length:
            msg = (
                f"sequence_length is {config.sequence_length}, but the sequences were packed at {data.packed_length}: "
                f"write sequence_length: {data.packed_length}, or pack at {config.sequence_length}"
            )
            raise UserError(msg)
        self._corpus, self._config = corpus, config
        keys, bounds = np.sort(document_keys(held.shard, held.row)), document_bounds(data)
        self._shards = [open_packed(files, data, bounds, keys) for files in data.packed]
        self._payloads = [*corpus.payloads, *(shard.rewritten for shard in self._shards)]
        self._first = np.cumsum([0, *(len(shard.num_targets) for shard in self._shards)])
        self._num_targets = np.concatenate([np.empty(0, np.int32), *(shard.num_targets for shard in self._shards)])
        self._empty = np.flatnonzero(self._num_targets == 0)
        self.num_rows = len(self._num_targets) - len(self._empty)
        if self.num_rows < config.batch_size:
            msg = (
                f"{self.num_rows} packed sequences have something to learn from, fewer than one batch of "
                f"{config.batch_size} ({len(held.start)} of {corpus.documents} documents are held out): add documents, "
                f"or lower batch_size"
            )
            raise UserError(msg)

    @property
    def digest(self) -> str:
        """Of every document's id and length and every piece: other rows have another one."""
        digest = xxhash.xxh3_128(f"{self._corpus.digest} {self._corpus.data.packed_length}".encode())
        for shard in self._shards:
            digest.update(shard.rows.view(np.uint8).data)
            digest.update(shard.pieces.view(np.uint8).data)
        return digest.hexdigest()

    def rows(self, step: int) -> Int64s:
        """(batch_size,) The rows of a step's global batch; steps count from 1."""
        config = self._config
        drawn = batch_windows(step - 1, batch_size=config.batch_size, num_windows=self.num_rows, seed=config.seed)
        # Before the d-th row that is never drawn stand empty[d] - d others.
        return drawn + np.searchsorted(self._empty - np.arange(len(self._empty)), drawn, side="right")

    def tokens(self, rows: Int64s) -> tuple[Int64s, Int64s]:
        """Tokens of rows (N, sequence_length + 1), EOS behind what is shorter, and the length of each (N,).

        Raises:
            UserError: an id the tokenizer does not have.
        """
        data, width = self._corpus.data, self._corpus.data.packed_length + 1
        out = np.full((len(rows), width), data.eos_id, np.int64)
        flat, pieces = out.reshape(-1), self._pieces(rows)
        spans = zip(
            pieces.payload.tolist(), pieces.at.tolist(), pieces.start.tolist(), pieces.length.tolist(), strict=True
        )
        for payload, at, start, length in spans:
            flat[at : at + length] = self._payloads[payload][start : start + length]
        self._corpus.check_ids(out)
        return out, np.bincount(pieces.line, pieces.length, len(rows)).astype(np.int64)

    def lengths(self, rows: Int64s) -> Int64s:
        """Tokens of each row (N,)."""
        pieces = self._pieces(rows)
        return np.bincount(pieces.line, pieces.length, len(rows)).astype(np.int64)

    def breaks(self, rows: Int64s) -> NDArray[np.bool_]:
        """(N, sequence_length + 1) True for the first token of a piece that is not to be predicted."""
        out = np.zeros((len(rows), self._corpus.data.packed_length + 1), np.bool_)
        pieces = self._pieces(rows)
        out.reshape(-1)[pieces.at[pieces.broken]] = True
        return out

    def num_targets(self, rows: Int64s) -> int:
        """Tokens of rows that are predicted."""
        return int(self._num_targets[rows].sum(dtype=np.int64))

    def documents_of(self, rows: Int64s) -> list[str]:
        """Hex ids of the documents that rows hold, in order, each once."""
        table_of = cache(lambda shard: read_documents(self._corpus.data.shards[shard]))
        found: dict[str, None] = {}
        pieces = self._pieces(rows)
        for shard, document in zip(pieces.shard.tolist(), pieces.document.tolist(), strict=True):
            found[table_of(shard).ids[document].tobytes().hex()] = None
        return list(found)

    def rows_with(self, shard: int, document: int) -> Int64s:
        """The rows that hold a document: its token shard and its row there."""
        found = [np.empty(0, np.int64)]
        for first, packed in zip(self._first.tolist(), self._shards, strict=False):
            of = (packed.pieces["shard"] == shard) & (packed.pieces["document"] == document)
            at = np.flatnonzero(of & (packed.flags & HELD_OUT == 0))
            found.append(first + np.searchsorted(packed.rows, at, side="right") - 1)
        return np.unique(np.concatenate(found))

    def drawn(self, step: int) -> None:
        """None: there are no strata."""

    def epochs(self, step: int) -> None:
        """None: there are no strata."""

    def close(self) -> None:
        """No call waits."""

    def _pieces(self, rows: Int64s) -> _Pieces:
        """The pieces of rows that are not held out, row by row."""
        width = self._corpus.data.packed_length + 1
        lines, found, flags, own = [], [], [], []
        numbers = np.searchsorted(self._first, rows, side="right") - 1
        for number in np.unique(numbers).tolist():
            shard, mine = self._shards[number], np.flatnonzero(numbers == number)
            local = rows[mine] - self._first[number]
            count = shard.rows[local + 1] - shard.rows[local]
            at = np.arange(count.sum()) + np.repeat(shard.rows[local] - np.cumsum(count) + count, count)
            lines.append(np.repeat(mine, count))
            found.append(shard.pieces[at])
            flags.append(shard.flags[at])
            own.append(np.full(len(at), len(self._corpus.payloads) + number))
        line, piece, flag, payload = (np.concatenate(part) for part in (lines, found, flags, own))
        order = np.argsort(line, kind="stable")
        order = order[flag[order] & HELD_OUT == 0]
        line, piece, flag, payload = line[order], piece[order], flag[order], payload[order]
        length = piece["length"].astype(np.int64)
        before = np.cumsum(length) - length
        new = np.append(True, line[1:] != line[:-1])[: len(line)]
        return _Pieces(
            line=line,
            at=line * width + before - before[new][np.cumsum(new) - 1],
            shard=piece["shard"],
            document=piece["document"],
            payload=np.where(piece["rewritten"] == 1, payload, piece["shard"]),
            start=piece["start"],
            length=length,
            broken=flag & BREAK != 0,
        )
