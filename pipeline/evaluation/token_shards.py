"""Documents to score, out of token shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.evaluation.perplexity import CHUNK_TOKENS, Texts
from pipeline.pretrain.config import TokenData, TokenFiles
from pipeline.pretrain.data.corpus import Corpus
from pipeline.pretrain.data.documents import Int64s, map_payload, read_documents
from pipeline.pretrain.training.evaluate import LABELS, UNKNOWN


def held_out_texts(corpus: Corpus, max_documents: int) -> Iterator[Texts]:
    """Documents that a model of this corpus was never trained on: the first of them by hash, as while it was trained."""
    held = corpus.held_out
    chosen = slice(max_documents)
    shards, rows = held.shard[chosen], held.row[chosen]
    for number in np.unique(shards).tolist():
        yield from _texts(corpus.data, number, np.sort(rows[shards == number]))


def shard_texts(data: TokenData, max_documents: int) -> Iterator[Texts]:
    """Documents of token shards. Where there are more than that many, those with the least ids.

    An id is a hash of the content, so these are a fair sample, the same whatever the shards are.
    """
    keys = [read_documents(files).ids[:, :8].copy().view(">u8").ravel() for files in data.shards]
    every = np.concatenate([np.empty(0, np.uint64), *keys])
    limit = None if len(every) <= max_documents else np.partition(every, max_documents - 1)[max_documents - 1]
    left = max_documents
    for number, of in enumerate(keys):
        rows = np.flatnonzero(np.ones(len(of), np.bool_) if limit is None else of <= limit)[:left]
        left -= len(rows)
        yield from _texts(data, number, rows)


def _texts(data: TokenData, number: int, rows: Int64s) -> Iterator[Texts]:
    """Documents of one shard, about ``CHUNK_TOKENS`` at a time."""
    if not len(rows):
        return
    files = data.shards[number]
    table = read_documents(files)
    payload = map_payload(files, data.dtype, int(table.num_tokens.sum()))
    labels = _labels(files, rows)
    num_tokens = table.num_tokens[rows] - 1  # without the EOS
    turn = (np.cumsum(num_tokens) - num_tokens) // CHUNK_TOKENS
    for first, last in _runs(turn):
        tokens = [
            payload[begin : begin + count].astype(np.int64)
            for begin, count in zip(table.start[rows[first:last]], num_tokens[first:last], strict=True)
        ]
        _check(tokens, data.vocab_size, files)
        yield Texts(
            tokens, table.num_bytes[rows[first:last]], {name: values[first:last] for name, values in labels.items()}
        )


def _labels(files: TokenFiles, rows: Int64s) -> dict[str, list[str]]:
    there = set(pq.read_schema(files.documents).names)
    names = [name for name in LABELS if name in there]
    table = pq.read_table(files.documents, columns=names).take(rows)
    return {name: [value or UNKNOWN for value in table[name].to_pylist()] for name in names}


def _runs(values: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """(first, after the last) of each run of equal values."""
    bounds = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    yield from pairwise(bounds)


def _check(tokens: Sequence[Int64s], vocab_size: int, files: TokenFiles) -> None:
    highest = max((int(one.max()) for one in tokens if len(one)), default=0)
    if highest >= vocab_size:
        msg = f"{files.tokens} has token id {highest} in a vocabulary of {vocab_size}: tokenize again"
        raise UserError(msg)
