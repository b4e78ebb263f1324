"""Token shards as one stream of training windows, and the documents held out from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.pretrain.config import TokenData
from pipeline.pretrain.data.documents import Documents, Int64s, map_payload, read_documents, strata_of
from pipeline.pretrain.data.mixture import Mixture
from pipeline.pretrain.data.order import UInt64s, mix

_NEVER = -1
"""The stratum of what is held out, or of a stratum that is never drawn from."""
_NO_HASH = 2**64
"""Above all hashes."""


@dataclass(frozen=True)
class HeldOut:
    """Documents that are never trained on, in the order of their hash."""

    shard: Int64s
    row: Int64s
    """Of the document in the table of its shard."""
    start: Int64s
    num_tokens: Int64s
    """Without the EOS."""
    num_bytes: Int64s
    """UTF-8 bytes of the text."""


@dataclass(frozen=True)
class Corpus:
    """Training documents, joined in plan order into one stream of tokens over memory maps.

    A segment is a run of neighbouring training documents of one stratum. What is kept in memory grows with segments: with
    the held-out documents, not with the corpus, unless strata take turns from document to document. Without a mixture
    there is one stratum. With one, strata lie in the stream one after the other, in the mixture's order and each in plan
    order, and those it never draws from are left out.
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
    stratum_start: Int64s
    """(strata + 1,) Where each begins in the stream, then its end."""
    mixture: Mixture | None = None
    held_out_below: int = 0
    """Held out is what has a hash(seed, id) below it."""

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
        return self.read(index * sequence_length, sequence_length + 1)

    def read(self, positions: Int64s, length: int) -> Int64s:
        """Tokens (N, length) of the stream from each position on.

        Raises:
            UserError: an id the tokenizer does not have.
        """
        out = np.empty((len(positions), length), np.int64)
        flat, at = out.reshape(-1), 0
        for shard, start, end in self._pieces(positions, length):
            flat[at : at + end - start] = self.payloads[shard][start:end]
            at += end - start
        self.check_ids(out)
        return out

    def held_out_tokens(self, document: int) -> Int64s:
        """Tokens of a held-out document, without its EOS."""
        held = self.held_out
        start = int(held.start[document])
        tokens = self.payloads[held.shard[document]][start : start + int(held.num_tokens[document])].astype(np.int64)
        self.check_ids(tokens)
        return tokens

    def document_ids(self, index: Int64s, sequence_length: int) -> list[str]:
        """Hex ids of the documents that windows touch, in order, each once."""
        return self.documents_of(index * sequence_length, sequence_length + 1)

    def documents_of(self, positions: Int64s, length: int) -> list[str]:
        """Hex ids of the documents that ``read`` of the same would touch, in order, each once."""
        found: dict[str, None] = {}
        table_of = cache(lambda shard: read_documents(self.data.shards[shard]))
        for shard, start, end in self._pieces(positions, length):
            table = table_of(shard)
            first, last = np.searchsorted(table.start, [start, end - 1], side="right") - 1
            found.update(dict.fromkeys(row.tobytes().hex() for row in table.ids[first : last + 1]))
        return list(found)

    def training_counts(self, *, part: int, parts: int) -> Int64s:
        """How often each id stands in one of ``parts`` parts of the training stream."""
        counts = np.zeros(self.data.vocab_size, np.int64)
        bounds = [self.tokens * k // parts for k in (part, part + 1)]
        for shard, start, end in self._pieces(np.array(bounds[:1]), bounds[1] - bounds[0]):
            for begin in range(start, end, 1 << 24):  # 2**24 tokens at a time: bincount widens them to 8 bytes
                piece = self.payloads[shard][begin : min(end, begin + (1 << 24))]
                self.check_ids(piece)
                counts += np.bincount(piece, minlength=self.data.vocab_size)
        return counts

    def _pieces(self, positions: Int64s, length: int) -> Iterator[tuple[int, int, int]]:
        """(shard, start, end) of the parts of the stream from each position on, one after the other, length tokens each."""
        if not length:
            return
        ends = self.segment_end
        first = np.searchsorted(ends, positions, side="right")
        count = np.searchsorted(ends, positions + length - 1, side="right") - first + 1
        line = np.repeat(np.arange(len(positions)), count)
        segment = np.arange(count.sum()) + np.repeat(first - np.cumsum(count) + count, count)
        begins = np.where(segment, ends[segment - 1], 0)
        low, high = (positions + more for more in (0, length))
        start = self.segment_start[segment] + np.maximum(low[line] - begins, 0)
        size = np.minimum(high[line], ends[segment]) - np.maximum(low[line], begins)
        yield from zip(self.segment_shard[segment].tolist(), start.tolist(), (start + size).tolist(), strict=True)

    def check_ids(self, tokens: NDArray[np.integer]) -> None:
        """Look whether the tokenizer has these ids.

        Raises:
            UserError: it lacks one.
        """
        if tokens.size and int(tokens.max()) >= self.data.vocab_size:
            msg = (
                f"token id {int(tokens.max())} in a vocabulary of {self.data.vocab_size}: the shards were made by "
                f"another tokenizer than the model is for; tokenize again"
            )
            raise UserError(msg)


def open_corpus(
    data: TokenData,
    *,
    held_out_fraction: float,
    seed: int,
    mixture: Mixture | None = None,
    held_out_below: int | None = None,
) -> Corpus:
    """Open shards and hold documents out.

    Held out is every document whose hash(seed, id) lies below the fraction, or, where none does, the one with the least
    hash: a matter of content only, whatever the shards, their order and the mixture. With ``held_out_below``, for shards
    that are a part of something, those below that, be there any or none.

    Raises:
        UserError: a payload and its table of documents do not belong together, no held-out document has text, or a
            document is of no stratum of the mixture.
    """
    limit = held_out_below
    if limit is None:
        limit = min(int(held_out_fraction * 2.0**64), 2**64 - 1)
    shards, digest = _scan(data, seed, mixture, limit)
    least = min((one.least_hash for one in shards), default=_NO_HASH)
    if held_out_below is None and limit <= least:  # of so few documents none lies below the fraction
        limit = min(least % _NO_HASH + 1, 2**64 - 1)
        shards, digest = _scan(data, seed, mixture, limit)
    stratum, shard, start, length = _segments(shards)
    ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(length)))
    count = len(mixture.strata) if mixture else 1
    return Corpus(
        data=data,
        payloads=tuple(one.payload for one in shards),
        segment_shard=shard,
        segment_start=start,
        segment_end=ends[1:],
        held_out=_held_out(shards, required=held_out_below is None),
        documents=sum(one.documents for one in shards),
        digest=digest,
        stratum_start=ends[np.searchsorted(stratum, np.arange(count + 1))],
        mixture=mixture,
        held_out_below=limit,
    )


class _Shard(NamedTuple):
    """What is kept of a shard's table once it is read."""

    payload: NDArray[np.unsignedinteger]
    documents: int
    least_hash: int
    segments: tuple[Int64s, Int64s, Int64s]
    """Stratum, start and length of each run of neighbouring documents of one stratum."""
    held_out: tuple[Int64s, Int64s, Int64s, Int64s]
    """Row, start, tokens without the EOS, and bytes of each."""
    held_out_hashes: UInt64s


def _scan(data: TokenData, seed: int, mixture: Mixture | None, held_out_below: int) -> tuple[list[_Shard], str]:
    """Each shard, one table in memory at a time, and the digest of all."""
    digest = xxhash.xxh3_128(f"{data.dtype} {data.eos_id}".encode())
    shards = []
    for files in data.shards:
        table = read_documents(files)
        digest.update(table.ids.tobytes())
        digest.update(table.num_tokens.tobytes())
        hashes = _document_hash(table.ids, seed)
        held = hashes < np.uint64(held_out_below)
        rows = np.flatnonzero(held)
        shards.append(
            _Shard(
                payload=map_payload(files, data.dtype, int(table.num_tokens.sum())),
                documents=len(hashes),
                least_hash=int(hashes.min()) if len(hashes) else _NO_HASH,
                segments=_runs(table, np.where(held, _NEVER, strata_of(files, mixture) if mixture else 0)),
                held_out=(rows, table.start[rows], table.num_tokens[rows] - 1, table.num_bytes[rows]),
                held_out_hashes=hashes[rows],
            )
        )
    return shards, digest.hexdigest()


def _document_hash(ids: NDArray[np.uint8], seed: int) -> UInt64s:
    halves = ids.view("<u8").reshape(-1, 2).astype(np.uint64)
    key = mix(np.array([seed], np.uint64))
    return mix(mix(halves[:, 0] ^ key) ^ halves[:, 1])


def _runs(table: Documents, of: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    """Stratum, start and length of each run of neighbouring documents of one stratum. of: see ``strata_of``."""
    change = np.flatnonzero(np.diff(of, prepend=_NEVER, append=_NEVER))
    first = change[:-1][of[change[:-1]] != _NEVER] if len(change) else change
    after = change[np.searchsorted(change, first) + 1] if len(change) else change
    bound = np.append(table.start, table.num_tokens.sum())
    return of[first], bound[first], bound[after] - bound[first]


def _segments(shards: list[_Shard]) -> tuple[Int64s, Int64s, Int64s, Int64s]:
    """Stratum, shard, start and length of each run, by stratum, then as they lie."""
    stratum, start, length = (_joined([one.segments[k] for one in shards]) for k in range(3))
    number = np.repeat(np.arange(len(shards)), [len(one.segments[0]) for one in shards])
    order = np.argsort(stratum, kind="stable")
    return stratum[order], number[order], start[order], length[order]


def _held_out(shards: list[_Shard], *, required: bool) -> HeldOut:
    hashes = np.concatenate([np.empty(0, np.uint64), *(one.held_out_hashes for one in shards)])
    order = np.argsort(hashes, kind="stable")
    row, start, num_tokens, num_bytes = (_joined([one.held_out[k] for one in shards])[order] for k in range(4))
    if required and not num_bytes.sum():
        msg = f"the {len(order)} held-out documents have no text to score; add documents or raise held_out_fraction"
        raise UserError(msg)
    number = np.repeat(np.arange(len(shards)), [len(one.held_out_hashes) for one in shards])
    return HeldOut(shard=number[order], row=row, start=start, num_tokens=num_tokens, num_bytes=num_bytes)


def _joined(parts: list[Int64s]) -> Int64s:
    return np.concatenate([np.empty(0, np.int64), *parts])
