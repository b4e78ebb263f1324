"""A token shard without some of its documents, written as the step that made it would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from operators.tokenize.shards.reader import TokenShard
from operators.tokenize.shards.writer import ShardWriter
from pipeline.shards import CommittedShard
from pipeline.takedown.finding import Rows
from pipeline.work import Output

_TOKENS_AT_ONCE = 1 << 23
_NEEDLE_TOKENS = 24


def without(shard: CommittedShard, rows: Rows, scratch: Path) -> tuple[Sequence[Output], Mapping[str, Any]]:
    """All files of a token shard without these documents, and the facts that change."""
    old = TokenShard.of(shard)
    name = f"sluice-{shard.facts['tokenizer_sha256'][:16]}"
    writer = ShardWriter(scratch, dtype=old.dtype, eos=int(shard.facts["eos_id"]), name=name)
    table = old.columns()
    stay = np.ones(old.num_documents, np.bool_)
    stay[rows] = False
    for first, last in _parts(old):
        numbers = first + np.flatnonzero(stay[first:last])
        begin, end = int(old.offsets[first]), int(old.offsets[last])
        whole = np.repeat(stay[first:last], old.lengths[first:last])
        writer.copy(table.take(pa.array(numbers)), old.tokens[begin:end][whole])
    outputs = writer.close()
    facts = {
        "tokens": writer.num_tokens,
        "docs": writer.num_docs,
        "bytes": shard.facts["bytes"] - int(table["num_bytes"].to_numpy()[rows].sum()),
    }
    return outputs, facts


def _parts(old: TokenShard) -> Iterator[tuple[int, int]]:
    """(first, last) of stretches of documents of some millions of tokens each."""
    cuts = np.searchsorted(old.offsets, np.arange(0, old.num_tokens, _TOKENS_AT_ONCE))
    bounds = np.unique([*cuts.tolist(), old.num_documents]).tolist()
    return pairwise(bounds)


def needles(shard: TokenShard, rows: Rows) -> set[bytes]:
    """Some tokens from the middle of each of these documents, as they lie in the payload; of short ones none."""
    found = set()
    for row in rows.tolist():
        ids = shard.document(row, eos=False)
        if len(ids) >= _NEEDLE_TOKENS:
            middle = len(ids) // 2 - _NEEDLE_TOKENS // 2
            found.add(ids[middle : middle + _NEEDLE_TOKENS].tobytes())
    return found
