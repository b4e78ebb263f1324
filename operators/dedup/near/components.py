"""Connected components of the bucket graph: they only cut the work into parts that do not touch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from operators.dedup.columns import open_columns, write_columns
from operators.dedup.growing import GrowingColumns
from operators.dedup.near.edges import EDGES
from operators.dedup.near.external_components import Connector
from pipeline.work import Extent, Kind, Output, Result, ShardWork, Task, TaskPlan

MEMBERS = ".members"


class Components(ShardWork):
    """One task: the components of the edges of all partitions of all inputs.

    ``.members``: ``label``, the smallest address of a component, and ``at``, each of its addresses; sorted by both.
    Memory: ``memory_gib``; edges that do not fit go through scratch files, see ``external_components``.
    """

    kind: ClassVar[Kind] = "work"
    barrier: ClassVar[bool] = True
    runtime: ClassVar[tuple[str, ...]] = ("memory_gib",)

    memory_gib: float = Field(default=1.0, gt=0)
    epoch: str | None = None

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """One."""
        return [TaskPlan(0, dict.fromkeys(shards))]

    def run(self, task: Task) -> Result:
        """Connect everything."""
        graph = Connector(task.scratch, max(1, int(self.memory_gib * 2**30)))
        for shard in (one for shards in task.inputs.values() for one in shards):
            file = open_columns(shard.file(EDGES), "edges", verify=True)
            graph.add(file["left"], file["right"])
        members = GrowingColumns(task.scratch, "members")
        affected = 0
        members.add({"label": np.empty(0, np.uint64), "at": np.empty(0, np.uint64)})
        for label, at in graph.members():
            members.add({"label": label, "at": at})
            affected += len(at)
        path = task.scratch / f"components{MEMBERS}"
        write_columns(path, "members", {}, members.arrays())
        members.remove()
        return Result([Output(path, MEMBERS)], facts={"affected": affected})
