"""Token shards of planned sizes, and in a planned order, from encoded documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from operators.tokenize.shards.accounting import count_documents, count_dropped, new_ledger
from operators.tokenize.shards.choice import Choice
from operators.tokenize.shards.planning import ROLE, owns, planned
from operators.tokenize.shards.reader import TokenShard
from operators.tokenize.shards.sink import DROPPED
from operators.tokenize.shards.writer import ShardWriter
from pipeline.errors import RunFailedError
from pipeline.ledger import Ledger
from pipeline.parquet_shard import ParquetShard
from pipeline.work import Extent, Output, Result, Shard, ShardWork, Task, TaskPlan

_OF_ALL = ("dtype", "vocab_size", "eos_id", "tokenizer_sha256")


class Regroup(ShardWork):
    """Documents that were encoded shard by shard, as token shards of about ``tokens_per_shard``.

    window_tokens: how many tokens of neighbouring encoded shards are permuted together by hash(seed, id); None keeps
    their order.
    """

    kind: ClassVar = "tokens"
    barrier: ClassVar = True
    planned_by_facts: ClassVar = True

    tokens_per_shard: int
    window_tokens: int | None = None
    seed: int = 0

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """A task a token shard."""
        tokens = [int(facts["tokens"]) for facts in shards[ROLE].facts]
        return planned(tokens, tokens_per_shard=self.tokens_per_shard, window_tokens=self.window_tokens)

    def run(self, task: Task) -> Result:
        """Copy the documents of one share of a window.

        Raises:
            RunFailedError: its encoded shards were made by different tokenizers.
        """
        encoded = task.inputs[ROLE]
        facts = _common(encoded)
        shards = [TokenShard.of(shard) for shard in encoded]
        choice = Choice.of(shards, task.part, None if self.window_tokens is None else self.seed)
        rows = choice.rows(shards)
        name = f"sluice-{facts['tokenizer_sha256'][:16]}"
        writer = ShardWriter(task.scratch, dtype=shards[0].dtype, eos=facts["eos_id"], name=name)
        try:
            for first, last, tokens in choice.blocks(shards):
                writer.copy(rows.slice(first, last - first), tokens)
            outputs = writer.close()
        except BaseException:
            writer.abandon()
            raise
        ledger = new_ledger()
        if rows.num_rows:
            count_documents(ledger, rows, rows["num_bytes"].to_numpy(), rows["num_tokens"].to_numpy())
        outputs += _dropped(task, shards, ledger)
        found = {"tokens": writer.num_tokens, "docs": writer.num_docs, "bytes": ledger.kept.bytes}
        return Result(outputs, ledger, {**found, **facts, "encoded": [encoded[0].index, encoded[-1].index]})


def _common(encoded: Sequence[Shard]) -> dict[str, Any]:
    """What the encoded shards have in common; the engines that made them are all named."""
    facts: dict[str, Any] = {name: encoded[0].facts[name] for name in _OF_ALL}
    for shard in encoded:
        for name, value in facts.items():
            if shard.facts[name] != value:
                msg = (
                    f"encoded shard {shard.index} has {name}={shard.facts[name]!r}, shard {encoded[0].index} {value!r}"
                )
                raise RunFailedError(msg)
    return {**facts, "engine": "+".join(sorted({str(shard.facts["engine"]) for shard in encoded}))}


def _dropped(task: Task, shards: Sequence[TokenShard], ledger: Ledger) -> list[Output]:
    """The rows without tokens of the encoded shards that belong to this share."""
    tables: list[pa.Table] = []
    position = task.part["first"]
    for shard, opened in zip(task.inputs[ROLE], shards, strict=True):
        if owns(position, task.part) and shard.facts["dropped"]:
            tables.append(pq.read_table(shard.file(DROPPED)))
        position += opened.num_tokens
    if not tables:
        return []
    rows = pa.concat_tables(tables, promote_options="permissive")
    sizes = rows["bytes"].to_numpy()
    count_documents(ledger, rows, sizes, sizes * 0)
    count_dropped(ledger, rows)
    written = ParquetShard(task.scratch / "dropped.parquet")
    written.add(rows)
    written.close()
    return [Output(written.path, ".parquet", "dropped")]
