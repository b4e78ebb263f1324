"""What the two barriers over anchor keys have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from operators.dedup.order import Order, check_addressable
from operators.dedup.ranges import KeyRange, Partitioned, SortedFiles, num_partitions, own_range
from operators.dedup.substrings.anchors import TakeAnchors
from pipeline.work import Extent, Task, TaskPlan


class OverAnchors(Partitioned):
    """Tasks that each own a range of anchor keys of all shards.

    order: which document comes first. within_document: a window may also repeat one further up in its own document.
    """

    anchors: TakeAnchors
    order: Order
    within_document: bool = True

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """A task per partition, each of which reads all shards of every input."""
        count = shards["anchors"].count
        check_addressable(count)
        return [TaskPlan(k, dict.fromkeys(shards)) for k in range(num_partitions(count, self.partitions))]

    def slices(self, task: Task, role: str, suffix: str) -> Iterator[tuple[SortedFiles, KeyRange]]:
        """A role's sorted files, checked, with each slice of this task's range of keys that fits the memory."""
        shards = task.inputs[role]
        files = SortedFiles([(s.index, s.file(suffix)) for s in shards], role, "key", self.anchors.parameters)
        files.verify(task.index, self.partitions)
        for keys in files.slices(own_range(task.index, len(shards), self.partitions), self.memory_gib):
            yield files, keys
