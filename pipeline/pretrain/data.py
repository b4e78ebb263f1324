"""Token shards as one stream of training windows, and the documents held out from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.pretrain.config import Job, TokenData, TokenFiles
from pipeline.pretrain.order import UInt64s, mix

Int64s = NDArray[np.int64]


@dataclass(frozen=True)
class HeldOut:
    """Documents that are never trained on, in the order of their hash."""

    shard: Int64s
    start: Int64s
    num_tokens: Int64s
    """Without the EOS."""
    num_bytes: Int64s
    """UTF-8 bytes of the text."""


@dataclass(frozen=True)
class Corpus:
    """Training documents, joined in plan order into one stream of tokens over memory maps.

    A segment is a run of neighbouring training documents; between two lies at least one that is held out. What is kept
    in memory grows with the held-out documents, not with the corpus.
    """

    data: TokenData
    payloads: tuple[NDArray[np.unsignedinteger], ...]
    segment_shard: Int64s
    segment_start: Int64s
    segment_end: Int64s
    """Where each segment ends in the stream."""
    held_out: HeldOut
    documents: int
    digest: str
    """Of every document's id and length, in order: another corpus has another one."""

    @property
    def tokens(self) -> int:
        """Training tokens."""
        return int(self.segment_end[-1]) if len(self.segment_end) else 0

    def num_windows(self, sequence_length: int, batch_size: int) -> int:
        """Windows of sequence_length + 1 tokens, each begun at the last token of the one before.

        Raises:
            UserError: they do not fill one batch.
        """
        windows = max(0, self.tokens - 1) // sequence_length
        if windows < batch_size:
            msg = (
                f"{self.tokens} training tokens make {windows} sequences of {sequence_length}, fewer than one batch of "
                f"{batch_size} ({len(self.held_out.start)} of {self.documents} documents are held out): add "
                f"documents, or lower sequence_length or batch_size"
            )
            raise UserError(msg)
        return windows

    def windows(self, index: Int64s, sequence_length: int) -> Int64s:
        """Tokens (N, sequence_length + 1) of windows.

        Raises:
            UserError: an id the tokenizer does not have.
        """
        out = np.empty((len(index), sequence_length + 1), np.int64)
        for row, window in zip(out, index, strict=True):
            filled = 0
            for shard, start, end in self._pieces(int(window) * sequence_length, len(row)):
                row[filled : filled + end - start] = self.payloads[shard][start:end]
                filled += end - start
        self._check_ids(out)
        return out

    def held_out_tokens(self, document: int) -> Int64s:
        """Tokens of a held-out document, without its EOS."""
        held = self.held_out
        start = int(held.start[document])
        tokens = self.payloads[held.shard[document]][start : start + int(held.num_tokens[document])].astype(np.int64)
        self._check_ids(tokens)
        return tokens

    def document_ids(self, index: Int64s, sequence_length: int) -> list[str]:
        """Hex ids of the documents that windows touch, in order, each once."""
        found: dict[str, None] = {}
        for window in index:
            for shard, start, end in self._pieces(int(window) * sequence_length, sequence_length + 1):
                table = _read_documents(self.data.shards[shard])
                first, last = np.searchsorted(table.start, [start, end - 1], side="right") - 1
                found.update(dict.fromkeys(row.tobytes().hex() for row in table.ids[first : last + 1]))
        return list(found)

    def training_counts(self, *, part: int, parts: int) -> Int64s:
        """How often each id stands in one of ``parts`` parts of the training stream."""
        counts = np.zeros(self.data.vocab_size, np.int64)
        bounds = [self.tokens * k // parts for k in (part, part + 1)]
        for shard, start, end in self._pieces(bounds[0], bounds[1] - bounds[0]):
            for begin in range(start, end, 1 << 24):  # 2**24 tokens at a time: bincount widens them to 8 bytes
                piece = self.payloads[shard][begin : min(end, begin + (1 << 24))]
                self._check_ids(piece)
                counts += np.bincount(piece, minlength=self.data.vocab_size)
        return counts

    def _pieces(self, position: int, count: int) -> Iterator[tuple[int, int, int]]:
        """(shard, start, end) of the parts of the stream from position on, count tokens in all."""
        segment = int(np.searchsorted(self.segment_end, position, side="right"))
        while count > 0:
            left = int(self.segment_end[segment]) - position
            taken = min(left, count)
            length = int(self.segment_end[segment] - (self.segment_end[segment - 1] if segment else 0))
            start = int(self.segment_start[segment]) + length - left
            yield int(self.segment_shard[segment]), start, start + taken
            position, count, segment = position + taken, count - taken, segment + 1

    def _check_ids(self, tokens: NDArray[np.integer]) -> None:
        if tokens.size and int(tokens.max()) >= self.data.vocab_size:
            msg = (
                f"token id {int(tokens.max())} in a vocabulary of {self.data.vocab_size}: the shards were made by "
                f"another tokenizer than the model is for; tokenize again"
            )
            raise UserError(msg)


@dataclass(frozen=True)
class _Documents:
    ids: NDArray[np.uint8]
    start: Int64s
    num_tokens: Int64s
    num_bytes: Int64s


def checked_corpus(job: Job, world: int) -> Corpus:
    """The corpus of a job, once the mistakes that can be seen before any rank starts are ruled out.

    Raises:
        UserError: too few documents, shards that do not fit, or a batch that ranks cannot share.
    """
    config = job.config
    if config.batch_size % world:
        msg = f"{world} workers cannot share a batch of {config.batch_size} sequences evenly: make it a multiple"
        raise UserError(msg)
    corpus = open_corpus(job.data, held_out_fraction=config.held_out_fraction, seed=config.seed)
    corpus.num_windows(config.sequence_length, config.batch_size)
    return corpus


def open_corpus(data: TokenData, *, held_out_fraction: float, seed: int) -> Corpus:
    """Open shards and hold documents out.

    Held out is every document whose hash(seed, id) lies below the fraction, or, where none does, the one with the least
    hash: a matter of content only, whatever the shards and their order.

    Raises:
        UserError: a payload and its table of documents do not belong together, or no held-out document has text.
    """
    payloads, tables = [], []
    for files in data.shards:
        table = _read_documents(files)
        payloads.append(_map_payload(files, data.dtype, int(table.num_tokens.sum())))
        tables.append(table)
    hashes = [_document_hash(table.ids, seed) for table in tables]
    limit = np.uint64(min(int(held_out_fraction * 2.0**64), 2**64 - 1))
    least = min((int(hashed.min()) for hashed in hashes if len(hashed)), default=0)
    limit = max(limit, np.uint64(min(least + 1, 2**64 - 1)))
    masks = [hashed < limit for hashed in hashes]
    digest = xxhash.xxh3_128(f"{data.dtype} {data.eos_id}".encode())
    for table in tables:
        digest.update(table.ids.tobytes())
        digest.update(table.num_tokens.tobytes())
    shard, start, length = _segments(tables, masks)
    return Corpus(
        data=data,
        payloads=tuple(payloads),
        segment_shard=shard,
        segment_start=start,
        segment_end=np.cumsum(length),
        held_out=_held_out(tables, masks, hashes),
        documents=sum(len(table.start) for table in tables),
        digest=digest.hexdigest(),
    )


def _document_hash(ids: NDArray[np.uint8], seed: int) -> UInt64s:
    halves = ids.view("<u8").reshape(-1, 2).astype(np.uint64)
    key = mix(np.array([seed], np.uint64))
    return mix(mix(halves[:, 0] ^ key) ^ halves[:, 1])


def _segments(tables: list[_Documents], masks: list[NDArray[np.bool_]]) -> tuple[Int64s, Int64s, Int64s]:
    """Shard, start and length of each run of neighbouring training documents."""
    shards, starts, lengths = [], [], []
    for number, (table, held) in enumerate(zip(tables, masks, strict=True)):
        change = np.diff(np.concatenate(([True], held, [True])).astype(np.int8))
        first, after = np.flatnonzero(change == -1), np.flatnonzero(change == 1)
        bound = np.append(table.start, table.num_tokens.sum())
        shards.append(np.full(len(first), number, np.int64))
        starts.append(bound[first])
        lengths.append(bound[after] - bound[first])
    return _joined(shards), _joined(starts), _joined(lengths)


def _held_out(tables: list[_Documents], masks: list[NDArray[np.bool_]], hashes: list[UInt64s]) -> HeldOut:
    chosen = [np.flatnonzero(mask) for mask in masks]
    order = np.argsort(
        np.concatenate([hashed[rows] for hashed, rows in zip(hashes, chosen, strict=True)] or [np.empty(0, np.uint64)]),
        kind="stable",
    )
    pairs = list(zip(tables, chosen, strict=True))
    num_bytes = _joined([table.num_bytes[rows] for table, rows in pairs])
    if not num_bytes.sum():
        msg = f"the {len(order)} held-out documents have no text to score; add documents or raise held_out_fraction"
        raise UserError(msg)
    return HeldOut(
        shard=_joined([np.full(len(rows), number, np.int64) for number, rows in enumerate(chosen)])[order],
        start=_joined([table.start[rows] for table, rows in pairs])[order],
        num_tokens=_joined([table.num_tokens[rows] - 1 for table, rows in pairs])[order],
        num_bytes=num_bytes[order],
    )


def _joined(parts: list[Int64s]) -> Int64s:
    return np.concatenate([np.empty(0, np.int64), *parts])


def _read_documents(files: TokenFiles) -> _Documents:
    table = pq.read_table(files.documents, columns=["id", "num_tokens", "num_bytes", "start"]).combine_chunks()
    if table.schema.field("id").type != pa.binary(16):
        msg = f"{files.documents}: column 'id' must hold 16 bytes a row, got {table.schema.field('id').type}"
        raise UserError(msg)
    column = table["id"].combine_chunks()
    buffers: list[Any] = column.buffers()
    ids = np.frombuffer(
        buffers[1] if len(column) else b"", np.uint8, count=16 * len(column), offset=16 * column.offset
    ).reshape(-1, 16)
    start, num_tokens, num_bytes = (
        table[name].to_numpy().astype(np.int64) for name in ("start", "num_tokens", "num_bytes")
    )
    if not np.array_equal(start, np.cumsum(num_tokens) - num_tokens):
        msg = f"{files.documents}: documents do not stand back to back; tokenize again"
        raise UserError(msg)
    return _Documents(ids, start, num_tokens, num_bytes)


def _map_payload(files: TokenFiles, dtype: str, num_tokens: int) -> NDArray[np.unsignedinteger]:
    kind = np.dtype(dtype).newbyteorder("<")
    size = Path(files.tokens).stat().st_size
    if size != num_tokens * kind.itemsize:
        msg = (
            f"{files.tokens} has {size} bytes, but {files.documents} counts {num_tokens} tokens of {kind.itemsize}: "
            f"tokenize again"
        )
        raise UserError(msg)
    return np.memmap(files.tokens, kind, "r") if size else np.empty(0, kind)
