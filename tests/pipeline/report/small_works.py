"""Works small enough to foresee: the first of each text stays, and a token is a word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.documents import ID_TYPE, text_bytes
from pipeline.ledger import Count, Flow, Ledger
from pipeline.operator import Map
from pipeline.rejects import languages, sources
from pipeline.work import Extent, Node, Output, Result, ShardWork, Sink, StreamWork, Task, TaskPlan

REMOVED = pa.schema(
    [
        ("row", pa.int64()),
        ("id", ID_TYPE),
        ("kind", pa.string()),
        ("rep_id", ID_TYPE),
        ("rep_shard", pa.int64()),
        ("rep_row", pa.int64()),
        ("estimate", pa.float64()),
        ("cluster_size", pa.int64()),
    ]
)


class ExtractBody(Map):
    """Text between ``<p>`` and ``</p>``; nothing is left where there is none."""

    def map(self, docs: pa.Table) -> pa.Table:
        bodies = [t.partition("<p>")[2].partition("</p>")[0] or None for t in docs["text"].to_pylist()]
        return docs.set_column(docs.column_names.index("text"), "text", pa.array(bodies, pa.large_string()))


class FirstOfEachText(ShardWork):
    """Keeps the first row of each text, in the order of shards and rows."""

    kind: ClassVar = "selection"
    barrier: ClassVar = True

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:
        return (Node(step, self, {"documents": source, "all": source}),)

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        return [TaskPlan(k, {"documents": (k,), "all": None}) for k in range(shards["documents"].count)]

    def run(self, task: Task) -> Result:
        members: dict[str, list[tuple[int, int, bytes]]] = {}
        for shard in task.inputs["all"]:
            row = 0
            for docs in shard.documents():
                for text, identity in zip(docs["text"].to_pylist(), docs["id"].to_pylist(), strict=True):
                    members.setdefault(text, []).append((shard.index, row, identity))
                    row += 1
        ledger, keep, removed = Ledger(), [], []
        for docs in task.inputs["documents"][0].documents():
            for text, size in zip(docs["text"].to_pylist(), text_bytes(docs).to_pylist(), strict=True):
                rep, mine = members[text][0], (task.index, len(keep))
                ledger.into.add(1, size)
                keep.append(rep[:2] == mine)
                if keep[-1]:
                    ledger.kept.add(1, size)
                else:
                    identity = next(m[2] for m in members[text] if m[:2] == mine)
                    ledger.duplicates.setdefault("exact", Count()).add(1, size)
                    removed.append((mine[1], identity, "exact", rep[2], rep[0], rep[1], 1.0, len(members[text])))
        with (
            pa.OSFile(str(task.scratch / "keep"), "wb") as file,
            pa.ipc.new_file(file, pa.schema([("keep", pa.bool_())])) as out,
        ):
            out.write_table(pa.table({"keep": pa.array(keep, pa.bool_())}))
        columns = list(zip(*removed, strict=True)) or [[] for _ in REMOVED]
        pq.write_table(
            pa.table([pa.array(c, f.type) for c, f in zip(columns, REMOVED, strict=True)], schema=REMOVED),
            task.scratch / "r",
        )
        return Result([Output(task.scratch / "keep", ".keep"), Output(task.scratch / "r", ".removed.parquet")], ledger)


class Words(StreamWork):
    """Every word is a token."""

    kind: ClassVar = "tokens"

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:
        return (Node(step, self, {"documents": source}),)

    def open(self, task: Task) -> WordsSink:
        return WordsSink(task)


class WordsSink(Sink):
    def __init__(self, task: Task) -> None:
        self._task, self._ids, self._starts, self._tokens = task, [], [], []
        self._ledger, self._flow = Ledger(), Flow("words")

    def add(self, docs: pa.Table) -> pa.Table:
        rows = zip(
            docs["id"].to_pylist(),
            docs["text"].to_pylist(),
            text_bytes(docs).to_pylist(),
            sources(docs).to_pylist(),
            languages(docs).to_pylist(),
            strict=True,
        )
        for identity, text, size, source, language in rows:
            number = len(text.split())
            self._ids.append(identity)
            self._starts.append(sum(self._tokens))
            self._tokens.append(number)
            counted = [self._ledger.into, self._ledger.kept]
            for groups, key in (
                (self._ledger.group_into, f"{source}|{language}"),
                (self._ledger.group_kept, f"{source}|{language}"),
                (self._flow.into, language),
                (self._flow.out, language),
            ):
                counted.append(groups.setdefault(key, Count()))
            for count in counted:
                count.add(1, size, number)
        return docs

    def close(self) -> Result:
        self._ledger.flows = [self._flow]
        payload, table = self._task.scratch / "t.bin", self._task.scratch / "t.parquet"
        payload.write_bytes(np.arange(sum(self._tokens), dtype=np.uint16).tobytes())
        pq.write_table(
            pa.table(
                {
                    "id": pa.array(self._ids, ID_TYPE),
                    "start": pa.array(self._starts, pa.int64()),
                    "num_tokens": pa.array(self._tokens, pa.int64()),
                }
            ),
            table,
        )
        return Result([Output(payload, ".bin"), Output(table, ".docs.parquet")], self._ledger)
