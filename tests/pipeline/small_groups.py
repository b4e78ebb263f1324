"""A work planned by facts, small enough to foresee: neighbouring shards together, by the rows they noted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pipeline.readers.read import Read
from pipeline.value import Value
from pipeline.work import Extent, Kind, Node, Output, Result, ShardWork, Task, TaskPlan
from pipeline.workflow import Step, Workflow
from pipeline.works import Apply, ReadWork
from tests.pipeline.small_operators import Length


class Group(ShardWork):
    """Texts of neighbouring shards in one file: as many shards as together hold at least ``min_rows`` rows."""

    kind: ClassVar[Kind] = "artifact"
    barrier: ClassVar[bool] = True
    planned_by_facts: ClassVar[bool] = True

    min_rows: int

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        groups: list[list[int]] = [[]]
        rows = 0
        for k, facts in enumerate(shards["documents"].facts):
            groups[-1].append(k)
            rows += facts["rows"]
            if rows >= self.min_rows:
                groups.append([])
                rows = 0
        return [
            TaskPlan(k, {"documents": tuple(group)}, {"group": k})
            for k, group in enumerate(group for group in groups if group)
        ]

    def run(self, task: Task) -> Result:
        texts = [
            text
            for shard in task.inputs["documents"]
            for docs in shard.documents()
            for text in docs["text"].to_pylist()
        ]
        path = task.scratch / "texts"
        path.write_text("\n".join(texts), encoding="utf-8")
        shards = [shard.index for shard in task.inputs["documents"]]
        return Result([Output(path, ".txt")], facts={"shards": shards, "group": task.part["group"]})


class Groups(Value):
    """The verb."""

    min_rows: int

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:
        del seed
        return (Node(step, Group(min_rows=self.min_rows), {"documents": source or ""}),)


def grouped(folder: Path, *, min_rows: int = 25, max_chars: int = 40) -> Workflow:
    """Read, filter (12 of 20 rows a shard stay with 40 characters), group."""
    read = Read(format="jsonl", paths=("in-*.jsonl",), source="small")
    return Workflow(
        name="grouped",
        base_dir=str(folder),
        steps=(
            Step(name="crawl", verb=ReadWork(read=read)),
            Step(name="long", source="crawl", verb=Apply(operators=(Length(max_chars=max_chars),))),
            Step(name="groups", source="long", verb=Groups(min_rows=min_rows)),
        ),
    )
