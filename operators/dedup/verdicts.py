"""What became of every row: a keep bitmap, the duplicates with their representatives, the sizes of clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.dedup.columns import open_columns
from operators.dedup.earlier.levels import SAME_TEXT
from operators.dedup.exact import Copies
from operators.dedup.near.duplicates import NOT_REDIRECTED, Near
from operators.dedup.order import rows_of
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
from pipeline.errors import UserError
from pipeline.work import Extent, Kind, Result, Shard, ShardWork, Task, TaskPlan


class Verdicts(ShardWork):
    """Per shard of documents: ``.keep``, ``.removed.parquet``, ``.clusters.parquet`` and the account.

    ``.keep`` is an uncompressed Arrow IPC file of one boolean column ``keep``, a value per row of the shard. Texts are
    not read; lengths, sources and languages are in the sketch. An exact copy whose original went as a near
    duplicate is pointed to the document that stays, and still counts as exact.
    Memory: some 60 bytes a row of the shard, and 100 more for each that goes; what was decided of others is mapped.
    """

    kind: ClassVar[Kind] = "selection"
    barrier: ClassVar[bool] = True

    signatures: Signatures

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """One per shard of documents, which waits for its own epoch only.

        Raises:
            UserError: there are epochs, and a shard is of none.
        """
        plans = []
        label_of = {k: label for label, own in shards["documents"].epochs.items() for k in own}
        for k in range(shards["documents"].count):
            if k not in label_of and any(":" in role for role in shards):
                msg = f"shard {k} is of no epoch: a step between read and this one does not work shard by shard"
                raise UserError(msg)
            decided = [role for role in shards if role.partition(":")[2] in ("", label_of.get(k))]
            whole = {role: None for role in decided if role not in ("documents", "signatures")}
            plans.append(TaskPlan(k, {"documents": (k,), "signatures": (k,), **whole}))
        return plans

    def run(self, task: Task) -> Result:
        """Write one shard's verdicts."""
        (shard,) = task.inputs["signatures"]
        sketch = open_columns(shard.file(SKETCH), "sketch", self.signatures.parameters, verify=True)
        near, copies = Near(_decided(task, "clusters")), Copies(_decided(task, "exact"))
        removed = _removed(shard.index, near, copies, max(1, self.signatures.num_perm))
        keep = np.ones(len(sketch["bytes"]), np.bool_)
        keep[removed["row"]] = False
        outputs = [
            write_keep(task.scratch / "keep", keep),
            write_table(task.scratch / "removed", REMOVED, removed_table(removed, sketch)),
            write_table(task.scratch / "clusters", CLUSTERS, _cluster_table(shard.index, near, copies, keep)),
        ]
        gone = {"exact": np.zeros(len(keep), np.bool_), "near": np.zeros(len(keep), np.bool_)}
        gone["exact"][removed["row"][removed["exact"]]] = True
        gone["near"][removed["row"][~removed["exact"]]] = True
        exact = int(removed["exact"].sum())
        facts = {"rows": len(keep), "exact": exact, "near": len(removed["row"]) - exact}
        return Result(outputs, account(sketch, keep, gone, {}), facts)


def _decided(task: Task, role: str) -> Sequence[Shard]:
    """What was decided of the shard's epoch: the input of that role, ``<role>:<label>`` where there are epochs."""
    return [shard for name, shards in task.inputs.items() if name.partition(":")[0] == role for shard in shards]


def _removed(shard: int, near: Near, copies: Copies, num_perm: int) -> Arrays:
    """The removed rows of a shard, by row, each with the document that stays."""
    gone = near.of_shard(shard)
    copy = copies.of_shard(shard)
    counted = near.similarities(copy["rep"])
    equal = near.redirect(copy["rep"], copy["rep_id"])
    near.resize(copy["rep"], copy["size"])
    stays = equal == NOT_REDIRECTED  # in its own epoch; an earlier one may have removed that text as a near copy
    equal[stays] = np.where(copy["equal"][stays] == SAME_TEXT, num_perm, copy["equal"][stays])
    counted[stays] = copy["similarity"][stays]
    exact = np.repeat([True, False], [len(copy["row"]), len(gone["row"])])
    joined = {name: np.concatenate([copy[name], gone[name]]) for name in ("row", "rep", "rep_id", "size")}
    joined["estimate"] = _estimates(np.concatenate([equal, gone["equal"]]), num_perm)
    joined["similarity"] = np.concatenate([counted, gone["similarity"]])
    joined["exact"] = exact
    joined["row"] = rows_of(joined["row"])
    order = np.argsort(joined["row"])
    return {name: array[order] for name, array in joined.items()}


def _estimates(equal: npt.NDArray[Any], num_perm: int) -> npt.NDArray[np.float64]:
    return np.array([estimate(count, num_perm) for count in range(num_perm + 1)])[equal.astype(np.intp)]


def _cluster_table(shard: int, near: Near, copies: Copies, keep: npt.NDArray[np.bool_]) -> pa.Table:
    sizes = np.ones(len(keep), np.int64)
    for found in (copies.originals_of_shard(shard), near.sizes_of_shard(shard)):
        sizes[rows_of(found["row"])] = found["size"]
    rows = np.flatnonzero(keep & (sizes > 1))
    return pa.table([pa.array(rows, pa.int64()), pa.array(sizes[rows], pa.int64())], schema=CLUSTERS_SCHEMA)
