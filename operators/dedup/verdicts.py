"""What became of every row: a keep bitmap, the duplicates with their representatives, the sizes of clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.dedup.clusters import NEAR, SIZES
from operators.dedup.columns import Columns, open_columns
from operators.dedup.exact import Copies
from operators.dedup.order import ROW_MASK, shard_range
from operators.dedup.signatures import SKETCH, Signatures
from operators.dedup.sketch import Arrays
from operators.dedup.verdict_files import (
    CLUSTERS,
    CLUSTERS_SCHEMA,
    REMOVED,
    account,
    removed_table,
    write_keep,
    write_table,
)
from operators.kernels.minhash import estimate
from operators.kernels.shingles import KeyArray
from pipeline.work import Extent, Kind, Result, Shard, ShardWork, Task, TaskPlan


class Verdicts(ShardWork):
    """Per shard of documents: ``.keep``, ``.removed.parquet``, ``.clusters.parquet`` and the account.

    ``.keep`` is an uncompressed Arrow IPC file of one boolean column ``keep``, a value per row of the shard. Texts are
    not read; lengths, sources and languages are in the sketch. An exact copy whose original went as a near
    duplicate is pointed to the document that stays, and still counts as exact.
    """

    kind: ClassVar[Kind] = "selection"
    barrier: ClassVar[bool] = True

    signatures: Signatures

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """One per shard of documents."""
        whole = {role: None for role in shards if role not in ("documents", "signatures")}
        return [TaskPlan(k, {"documents": (k,), "signatures": (k,), **whole}) for k in range(shards["documents"].count)]

    def run(self, task: Task) -> Result:
        """Write one shard's verdicts."""
        (shard,) = task.inputs["signatures"]
        sketch = open_columns(shard.file(SKETCH), "sketch", self.signatures.parameters, verify=True)
        first = shard.index == 0  # one task checks what all of them share
        near = _Near(task.inputs.get("clusters", ()), verify=first)
        copies = Copies(task.inputs.get("exact", ()), verify=first)
        num_perm = self.signatures.bands.num_perm if self.signatures.bands else 1
        removed = _removed(shard.index, near, copies, num_perm)
        keep = np.ones(len(sketch["bytes"]), np.bool_)
        keep[removed["row"]] = False
        outputs = [
            write_keep(task.scratch / "keep", keep),
            write_table(task.scratch / "removed", REMOVED, removed_table(removed, sketch)),
            write_table(task.scratch / "clusters", CLUSTERS, _cluster_table(shard.index, near, copies, keep)),
        ]
        exact = int(removed["exact"].sum())
        facts = {"rows": len(keep), "exact": exact, "near": len(removed["row"]) - exact}
        return Result(outputs, account(sketch, keep, removed), facts)


class _Near:
    """The near duplicates of all shards; an empty list where none were looked for."""

    def __init__(self, shards: Sequence[Shard], *, verify: bool) -> None:
        empty = np.empty(0, np.uint64)
        none = dict.fromkeys(("row", "rep", "equal", "size"), empty)
        self.removed: Mapping[str, Any] | Columns = {**none, "rep_id": empty.reshape(0, 2)}
        self.sizes: Mapping[str, Any] | Columns = none
        for shard in shards:
            self.removed = open_columns(shard.file(NEAR), "near", verify=verify)
            self.sizes = open_columns(shard.file(SIZES), "sizes", verify=verify)


def _found(sorted_rows: KeyArray, rows: KeyArray) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
    """Which rows are among the sorted ones, and where those are."""
    position = np.searchsorted(sorted_rows, rows)
    hit = position < len(sorted_rows)
    hit[hit] = sorted_rows[position[hit]] == rows[hit]
    return hit, position[hit]


def _removed(shard: int, near: _Near, copies: Copies, num_perm: int) -> Arrays:
    """The removed rows of a shard, by row, each with the document that stays."""
    own = shard_range(near.removed["row"], shard)
    copy = copies.of_shard(shard)
    rep, rep_id, size = copy["rep"], copy["rep_id"], copy["size"]
    share = np.ones(len(rep))
    hit, where = _found(near.removed["row"], rep)
    rep[hit], rep_id[hit] = near.removed["rep"][where], near.removed["rep_id"][where]
    share[hit] = _estimates(near.removed["equal"][where], num_perm)
    hit, where = _found(near.sizes["row"], rep)
    size[hit] = near.sizes["size"][where]
    parts: dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]] = {
        "row": ((copy["row"] & ROW_MASK).astype(np.int64), (near.removed["row"][own] & ROW_MASK).astype(np.int64)),
        "rep": (rep, near.removed["rep"][own]),
        "rep_id": (rep_id, near.removed["rep_id"][own]),
        "size": (size, near.removed["size"][own]),
        "estimate": (share, _estimates(near.removed["equal"][own], num_perm)),
        "exact": (np.ones(len(rep), np.bool_), np.zeros(own.stop - own.start, np.bool_)),
    }
    joined = {name: np.concatenate(both) for name, both in parts.items()}
    order = np.argsort(joined["row"])
    return {name: array[order] for name, array in joined.items()}


def _estimates(equal: npt.NDArray[Any], num_perm: int) -> npt.NDArray[np.float64]:
    return np.array([estimate(count, num_perm) for count in range(num_perm + 1)])[equal]


def _cluster_table(shard: int, near: _Near, copies: Copies, keep: npt.NDArray[np.bool_]) -> pa.Table:
    sizes = np.ones(len(keep), np.int64)
    originals = copies.originals_of_shard(shard)
    sizes[originals["row"] & ROW_MASK] = originals["size"]
    own = shard_range(near.sizes["row"], shard)
    sizes[near.sizes["row"][own] & ROW_MASK] = near.sizes["size"][own]
    rows = np.flatnonzero(keep & (sizes > 1))
    return pa.table([pa.array(rows, pa.int64()), pa.array(sizes[rows], pa.int64())], schema=CLUSTERS_SCHEMA)
