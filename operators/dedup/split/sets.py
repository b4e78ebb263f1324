"""Which set every cluster of similar documents goes to."""

from __future__ import annotations

import numpy as np

from operators.dedup.columns import open_columns, write_columns
from operators.dedup.exact import Copies
from operators.dedup.near.clusters import own_components
from operators.dedup.near.components import MEMBERS
from operators.dedup.order import gather
from operators.dedup.ranges import Partitioned, num_partitions
from operators.dedup.signatures import Signatures
from operators.dedup.split.draw import TRAINING, Shares, drawn
from pipeline.work import Output, Result, Task

SETS = ".sets"


class ClusterSets(Partitioned):
    """A share of the components of the bucket graph per task: all documents of one go to the set that it draws.

    What it draws hangs on the smallest id in it and on the seed, so not on the order, number or names of shards. One
    of more than ``max_cluster`` documents, exact copies included, goes to training.
    ``.sets``, sorted by ``at``: the address, ``set``, the ``size`` of the component with its exact copies, and ``head``,
    true of one document of each.
    Memory: 80 bytes per document that shares a bucket with another, of the task's share of those.
    """

    signatures: Signatures
    held_out: Shares
    seed: int
    max_cluster: int

    def run(self, task: Task) -> Result:
        """Decide some components."""
        shards = task.inputs["signatures"]
        (members,) = (open_columns(s.file(MEMBERS), "members", verify=True) for s in task.inputs["components"])
        own = own_components(members["label"], task.index, num_partitions(len(shards), self.partitions))
        label, at = members["label"][own], members["at"][own]
        first = np.flatnonzero(np.append(True, label[1:] != label[:-1])) if len(label) else np.empty(0, np.int64)
        count = np.diff(first, append=len(label))
        sizes = np.add.reduceat(Copies(task.inputs["exact"]).sizes(at), first) if len(label) else np.empty(0, np.uint64)
        small = sizes <= np.uint64(self.max_cluster)
        chosen = np.full(len(first), TRAINING, np.uint8)
        if small.any():
            part = np.repeat(small, count)
            chosen[small] = self._drawn(task, at[part], count[small])
        columns = {
            "at": at,
            "set": np.repeat(chosen, count),
            "size": np.repeat(sizes, count),
            "head": at == label,
        }
        by_row = np.argsort(at)
        path = task.scratch / f"clusters{SETS}"
        write_columns(path, "sets", {}, {name: array[by_row] for name, array in columns.items()})
        facts = {
            "components": len(first),
            "largest_component": int(sizes.max(initial=0)),
            "oversized_components": int((~small).sum()),
        }
        return Result([Output(path, SETS)], facts=facts)

    def _drawn(self, task: Task, at: np.ndarray, count: np.ndarray) -> np.ndarray:
        """The set of each of some components, whose members stand together, ``count`` of each."""
        by_row = np.argsort(at)
        ids = np.empty((len(at), 2), np.uint64)
        ids[by_row] = gather(self.signatures.sketches(task.inputs["signatures"]), at[by_row], ("id",))["id"]
        component = np.repeat(np.arange(len(count)), count)
        order = np.lexsort((ids[:, 1], ids[:, 0], component))
        smallest = order[np.cumsum(count) - count]
        return drawn(ids[smallest], self.held_out, self.seed)
