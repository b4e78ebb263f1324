"""What the two barriers over anchor keys have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from operators.dedup.order import Order, check_addressable
from operators.dedup.ranges import Partitioned, num_partitions
from operators.dedup.substrings.anchors import TakeAnchors
from pipeline.work import Extent, TaskPlan


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
