"""A step that makes a file of its documents, and one that names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pipeline.documents import SCHEMA
from pipeline.value import Artifact
from pipeline.work import EVERY, Extent, Kind, Node, Output, Result, ShardWork, Task, TaskPlan


class OverAll(ShardWork):
    """One node with one task over all shards."""

    barrier: ClassVar[bool] = True

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:
        """One node."""
        del seed
        return (Node(step, self, {"documents": source or ""}),)

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """One task over all."""
        return [TaskPlan(0, dict.fromkeys(shards, EVERY))]


class MakeFile(OverAll):
    """A file with the number of documents."""

    kind: ClassVar[Kind] = "artifact"

    def run(self, task: Task) -> Result:
        """Count."""
        path = task.scratch / "count"
        path.write_text(str(sum(table.num_rows for shard in task.inputs["documents"] for table in shard.documents())))
        return Result([Output(path, ".txt")])


class UseFile(ShardWork):
    """Copies each shard as a file, named with what the file holds."""

    kind: ClassVar[Kind] = "documents"
    file: Artifact

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:
        """One node."""
        del seed
        return (Node(step, self, {"documents": source or ""}),)

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """A task a shard."""
        return [TaskPlan(k, {"documents": (k,)}) for k in range(shards["documents"].count)]

    def run(self, task: Task) -> Result:
        """Copy."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        tables = [table for shard in task.inputs["documents"] for table in shard.documents()]
        path = task.scratch / "kept.parquet"
        pq.write_table(pa.concat_tables(tables) if tables else SCHEMA.empty_table(), path)
        return Result([Output(path, ".parquet")], facts={"rows": 3})
