"""Documents of one shard, batch by batch, as tokens: the pass that encodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.kernels.buffers import text_buffers
from operators.tokenize.encoder import Encoder
from operators.tokenize.shards.accounting import NAME, count_documents, count_dropped, new_ledger
from operators.tokenize.shards.writer import ShardWriter
from pipeline.documents import as_documents
from pipeline.dropped import Dropped, Verdicts, dropped_rows
from pipeline.parquet_shard import ParquetShard
from pipeline.work import Output, Result, Sink, Task

DROPPED = ".dropped.parquet"
"""Suffix under which documents that were encoded to be regrouped keep the rows that have no tokens."""


class TokenizeSink(Sink):
    """Encodes the batches of one shard and keeps its account.

    keep: columns of the documents that ``docs.parquet`` holds too. inner: the shard is to be regrouped, so nothing is
    written but what that reads.
    """

    def __init__(
        self, encoder: Encoder, eos: int, task: Task, *, keep: Sequence[str] = (), inner: bool = False
    ) -> None:
        self._encoder = encoder
        self._eos = eos
        self._inner = inner
        name = None if inner else f"sluice-{encoder.sha256[:16]}"
        self._writer = ShardWriter(task.scratch, dtype=encoder.dtype, eos=eos, name=name, keep=keep)
        self._dropped = ParquetShard(task.scratch / "dropped.parquet")
        self._ledger = new_ledger()

    def add(self, docs: pa.Table) -> pa.Table:
        """Encode and append; returns the documents that have tokens."""
        docs = as_documents(docs)
        if not docs.num_rows:
            return docs
        text: Any = docs["text"].chunk(0).fill_null(pa.scalar("", pa.large_string()))
        sizes = np.diff(text_buffers(text).offsets)
        ids, offsets = self._encoder.encode(text)
        mask = np.diff(offsets) > 0
        kept = docs if mask.all() else docs.filter(pa.array(mask))
        tokens = np.zeros(docs.num_rows, np.int64)
        if kept.num_rows:
            tokens[mask] = self._writer.add(kept, ids, ends=offsets[1:][mask], num_bytes=sizes[mask])
        count_documents(self._ledger, docs, sizes, tokens)
        if kept.num_rows < docs.num_rows:
            self._drop(docs.filter(pa.array(~mask)), sizes[~mask])
        return kept

    def close(self) -> Result:
        """Write the indexes."""
        outputs = self._writer.close()
        self._dropped.close()
        if self._dropped.num_rows:
            place = (DROPPED, "shards") if self._inner else (".parquet", "dropped")
            outputs.append(Output(self._dropped.path, *place))
        facts: dict[str, Any] = {
            "tokens": self._writer.num_tokens, "docs": self._writer.num_docs, "bytes": self._ledger.kept.bytes,
            "dtype": self._encoder.dtype.name, "vocab_size": self._encoder.vocab_size, "eos_id": self._eos,
            "tokenizer_sha256": self._encoder.sha256, "engine": self._encoder.engine,
        }  # fmt: skip
        if self._inner:
            facts["dropped"] = self._dropped.num_rows
        return Result(outputs, self._ledger, facts)

    def abandon(self) -> None:
        """Close the files."""
        self._writer.abandon()
        self._dropped.abandon()

    def _drop(self, docs: pa.Table, sizes: npt.NDArray[np.int64]) -> None:
        verdicts = Verdicts.alike(len(sizes), NAME, "no_tokens", "0", "1")
        verdicts.reason[sizes == 0] = "empty"
        left = Dropped.of(docs, np.arange(docs.num_rows), verdicts, sizes, "sample", ())
        rows = dropped_rows([left], docs.schema)
        self._dropped.add(rows)
        count_dropped(self._ledger, rows)
