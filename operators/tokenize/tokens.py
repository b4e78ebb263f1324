"""Tokenize documents into shards that every common trainer reads."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.kernels.buffers import text_buffers
from operators.tokenize.encoder import Encoder
from operators.tokenize.shards.writer import ShardWriter
from pipeline.documents import as_documents
from pipeline.errors import UserError
from pipeline.ledger import Count, Flow, Ledger
from pipeline.parquet_shard import ParquetShard
from pipeline.rejects import Verdicts, dropped_rows, languages, sources
from pipeline.value import Artifact
from pipeline.work import Node, Output, Result, Sink, StreamWork, Task

_NAME = "tokenize"


class Tokenize(StreamWork):
    """Documents as token ids back to back, one end mark ``eos`` after each and nowhere else.

    Ids are those of the tokenizers library with special tokens in a text taken as ordinary text, whatever engine
    computes them. Stored in 16 bits where the vocabulary is below 65,500, else in 32. Documents without text, or whose
    text gives no token, are dropped. Tokens in the ledger count end marks.
    """

    kind: ClassVar = "tokens"
    libraries: ClassVar = ("tokenizers",)

    tokenizer: Artifact
    eos: str = "<|endoftext|>"

    def open(self, task: Task) -> TokenizeSink:
        """A sink for one shard.

        Raises:
            UserError: the tokenizer cannot be read, or has no token ``eos``.
        """
        if self.tokenizer.file is None:
            msg = f"tokenizer {self.tokenizer} is not made yet; run the workflow, or give {{file: path}}"
            raise UserError(msg)
        encoder = Encoder.load(self.tokenizer.file)
        return TokenizeSink(encoder, encoder.token_id(self.eos), task)

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:
        """One node."""
        del seed
        return (Node(step, self, {"documents": source or ""}),)


class TokenizeSink(Sink):
    """Encodes the batches of one shard and keeps its account."""

    def __init__(self, encoder: Encoder, eos: int, task: Task) -> None:
        self._encoder = encoder
        self._eos = eos
        self._writer = ShardWriter(task.scratch, dtype=encoder.dtype, eos=eos, name=f"sluice-{encoder.sha256[:16]}")
        self._dropped = ParquetShard(task.scratch / "dropped.parquet")
        self._ledger = Ledger()
        self._flow = Flow(_NAME)

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
        self._count(docs, sizes, tokens)
        if kept.num_rows < docs.num_rows:
            self._drop(docs.filter(pa.array(~mask)), sizes[~mask])
        return kept

    def close(self) -> Result:
        """Write the indexes."""
        outputs = self._writer.close()
        self._dropped.close()
        if self._dropped.num_rows:
            outputs.append(Output(self._dropped.path, ".parquet", "dropped"))
        self._ledger.flows = [self._flow]
        facts: dict[str, Any] = {
            "tokens": self._writer.num_tokens, "docs": self._writer.num_docs, "bytes": self._ledger.kept.bytes,
            "dtype": self._encoder.dtype.name, "vocab_size": self._encoder.vocab_size, "eos_id": self._eos,
            "tokenizer_sha256": self._encoder.sha256, "engine": self._encoder.engine,
        }  # fmt: skip
        return Result(outputs, self._ledger, facts)

    def _count(self, docs: pa.Table, sizes: npt.NDArray[np.int64], tokens: npt.NDArray[np.int64]) -> None:
        rows = pa.table({
            "language": languages(docs), "source": sources(docs), "kept": pa.array(tokens > 0),
            "bytes": pa.array(sizes), "tokens": pa.array(tokens),
        })  # fmt: skip
        sums = rows.group_by(["source", "language", "kept"]).aggregate(
            [("bytes", "count"), ("bytes", "sum"), ("tokens", "sum")]
        )
        ledger, flow = self._ledger, self._flow
        for row in sums.to_pylist():
            count = Count(row["bytes_count"], row["bytes_sum"], row["tokens_sum"])
            group = f"{row['source']}|{row['language']}"
            ledger.into.merge(count)
            ledger.group_into.setdefault(group, Count()).merge(count)
            flow.into.setdefault(row["language"], Count()).merge(count)
            if row["kept"]:
                ledger.kept.merge(count)
                ledger.group_kept.setdefault(group, Count()).merge(count)
                flow.out.setdefault(row["language"], Count()).merge(count)

    def _drop(self, docs: pa.Table, sizes: npt.NDArray[np.int64]) -> None:
        verdicts = Verdicts.alike(len(sizes), _NAME, "no_tokens", "0", "1")
        verdicts.reason[sizes == 0] = "empty"
        self._dropped.add(dropped_rows(docs, verdicts, sizes, "sample", ()))
        for reason, size in zip(verdicts.reason.tolist(), sizes.tolist(), strict=True):
            self._ledger.dropped.setdefault(f"{_NAME}:{reason}", Count()).add(1, size)
