"""Near duplicates: who goes, for whom, at which similarity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from operators.dedup.columns import open_columns, write_columns
from operators.dedup.edges import EDGES
from operators.dedup.exact import Copies
from operators.dedup.order import Policy, content_order, gather
from operators.dedup.signatures import Signatures
from operators.kernels.forest import components
from operators.kernels.minhash import slots_needed
from operators.kernels.shingles import KeyArray
from operators.kernels.survivors import survivors
from pipeline.work import Extent, Kind, Output, Result, Shard, ShardWork, Task, TaskPlan

NEAR, SIZES = ".near", ".sizes"
_DOCS_AT_ONCE = 1 << 20  # 0.6 GB of slots, buckets and entries

Indices = npt.NDArray[np.int64]


class Clusters(ShardWork):
    """One task: components of the bucket graph, and in each the survivor rule in content order.

    A document goes only if one that stays, is earlier by (the policy's values, id), and shares a bucket with it, is
    estimated at ``threshold`` or more; see ``kernels.survivors``. Components only cut the work into parts that do not
    touch. ``.near``, sorted by ``row``: addresses of a removed row and its representative ``rep``, ``rep_id``, the
    number of ``equal`` slots, and the ``size`` of the cluster. ``.sizes``, sorted by ``row``: the survivors of such
    clusters. A cluster is a survivor, all that went for it, and the exact copies of each.
    Memory: some 150 bytes per document that shares a bucket with another, and 600 per document of the largest
    component, or of a million documents where that is more; nothing for all others.
    """

    kind: ClassVar[Kind] = "work"
    barrier: ClassVar[bool] = True

    signatures: Signatures
    keep: Policy
    threshold: float = Field(gt=0, le=1)

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """One."""
        return [TaskPlan(0, dict.fromkeys(shards))]

    def run(self, task: Task) -> Result:
        """Decide every document that shares a bucket."""
        shards = task.inputs["signatures"]
        files = [open_columns(s.file(EDGES), "edges", verify=True) for s in task.inputs["edges"]]
        none = np.empty(0, np.uint64)
        at, root = components(
            np.concatenate([none, *(file["left"] for file in files)]),
            np.concatenate([none, *(file["right"] for file in files)]),
        )
        names = ("id", "bytes", "date")
        columns = gather(self.signatures.sketches(shards), at, names) if len(at) else {"id": none.reshape(0, 2)}
        rep, equal = self._decide(shards, at, root, columns)
        gone = rep >= 0
        sizes = Copies(task.inputs.get("exact", ())).sizes(at)
        np.add.at(sizes, rep[gone], sizes[gone])
        near = {
            "row": at[gone],
            "rep": at[rep[gone]],
            "rep_id": columns["id"][rep[gone]],
            "equal": equal[gone].astype(np.uint32),
            "size": sizes[rep[gone]],
        }
        stays = np.unique(rep[gone])
        outputs = []
        for suffix, arrays in ((NEAR, near), (SIZES, {"row": at[stays], "size": sizes[stays]})):
            path = task.scratch / f"clusters{suffix}"
            write_columns(path, suffix[1:], {}, arrays)
            outputs.append(Output(path, suffix))
        largest = int(np.bincount(root).max(initial=0))
        facts = {"affected": len(at), "near": int(gone.sum()), "clusters": len(stays), "largest_component": largest}
        return Result(outputs, facts=facts)

    def _decide(
        self, shards: Sequence[Shard], at: KeyArray, root: Indices, columns: dict[str, npt.NDArray[Any]]
    ) -> tuple[Indices, Indices]:
        """For each affected row the position of its representative (-1: it stays) and the equal slots."""
        bands = self.signatures.bands
        rep, equal = np.full(len(at), -1, np.int64), np.zeros(len(at), np.int64)
        if bands is None or len(at) == 0:
            return rep, equal
        order = content_order(columns, at, self.keep)
        order = order[np.argsort(root[order], kind="stable")]
        needed = slots_needed(self.threshold, bands.num_perm)
        for batch in _whole_components(order, root):
            by_row = np.argsort(batch)
            slots = np.empty((len(batch), bands.num_perm), np.uint8)
            slots[by_row] = gather(self.signatures.sketches(shards), at[batch[by_row]], ("slots",))["slots"]
            found, equal[batch] = survivors(slots, bands=bands.bands, rows=bands.rows, needed=needed)
            rep[batch] = np.where(found >= 0, batch[found], -1)
        return rep, equal


def _whole_components(order: npt.NDArray[np.intp], root: Indices) -> Iterator[npt.NDArray[np.intp]]:
    """Cut rows, ordered by component, into batches of whole components."""
    ends = np.flatnonzero(np.diff(root[order], append=-1)) + 1
    start = 0
    while start < len(order):
        fits = int(np.searchsorted(ends, start + _DOCS_AT_ONCE, side="right"))
        # A component larger than a batch is a batch of its own.
        end = int(ends[fits - 1]) if fits and ends[fits - 1] > start else int(ends[fits])
        yield order[start:end]
        start = end
