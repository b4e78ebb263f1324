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
from operators.dedup.near.removals import NEAR, SIZES
from operators.dedup.order import rows_of, shard_range
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
from pipeline.errors import UserError
from pipeline.work import Extent, Kind, Result, Shard, ShardWork, Task, TaskPlan

_NEAR_COLUMNS = ("row", "rep", "rep_id", "equal", "size", "similarity")
_ALL_EQUAL = np.uint64((1 << 64) - 1)


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
        near = Near(_decided(task, "clusters"), verify=_checks(shard.index, _decided(task, "clusters")))
        copies = Copies(_decided(task, "exact"), verify=_checks(shard.index, _decided(task, "exact")))
        removed = _removed(shard.index, near, copies, max(1, self.signatures.num_perm))
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


def _decided(task: Task, role: str) -> Sequence[Shard]:
    """What was decided of the shard's epoch: the input of that role, ``<role>:<label>`` where there are epochs."""
    return [shard for name, shards in task.inputs.items() if name.partition(":")[0] == role for shard in shards]


def _checks(shard: int, decided: Sequence[Shard]) -> bool:
    """Whether this task reads what all of its epoch share whole and checks it: that of the epoch's first shard does."""
    return any(made.facts["first_shard"] == shard for made in decided)


class Near:
    """The near duplicates and the survivors of all tasks; none where none were looked for."""

    def __init__(self, shards: Sequence[Shard], *, verify: bool) -> None:
        self._removed = [open_columns(shard.file(NEAR), "near", verify=verify) for shard in shards]
        self._sizes = [open_columns(shard.file(SIZES), "sizes", verify=verify) for shard in shards]

    def of_shard(self, shard: int) -> Arrays:
        """The near duplicates of a shard, by row."""
        parts = [(file, shard_range(file["row"], shard)) for file in self._removed]
        return _joined([{name: file[name][own] for name in _NEAR_COLUMNS} for file, own in parts])

    def rows_of_shard(self, shard: int) -> KeyArray:
        """The addresses of a shard's near duplicates, in no order."""
        parts = [file["row"][shard_range(file["row"], shard)] for file in self._removed]
        return np.concatenate([np.empty(0, np.uint64), *parts])

    def reps(self) -> KeyArray:
        """The document that stays, for each near duplicate."""
        return np.concatenate([np.empty(0, np.uint64), *(file["rep"] for file in self._removed)])

    def sizes_of_shard(self, shard: int) -> Arrays:
        """The survivors of a shard and the sizes of their clusters."""
        parts = [(file, shard_range(file["row"], shard)) for file in self._sizes]
        return _joined([{name: file[name][own] for name in ("row", "size")} for file, own in parts])

    def redirect(self, rep: KeyArray, rep_id: KeyArray) -> KeyArray:
        """Put for each of these rows, if it went, the one that stays for it; returns the equal slots, or all ones."""
        equal = np.full(len(rep), _ALL_EQUAL)
        at = rep.copy()
        for file in self._removed:
            hit, where = _found(file["row"], at)
            rep[hit], rep_id[hit], equal[hit] = file["rep"][where], file["rep_id"][where], file["equal"][where]
        return equal

    def similarities(self, at: KeyArray) -> npt.NDArray[np.float64]:
        """What was counted of each of these rows and the one that stays for it; NaN where nothing was."""
        found = np.full(len(at), np.nan)
        for file in self._removed:
            hit, where = _found(file["row"], at)
            found[hit] = file["similarity"][where]
        return found

    def resize(self, rep: KeyArray, size: KeyArray) -> None:
        """Put the sizes of the clusters of these survivors where they have one."""
        for file in self._sizes:
            hit, where = _found(file["row"], rep)
            size[hit] = file["size"][where]


def _joined(parts: Sequence[Arrays]) -> Arrays:
    """Parts of the columns, by row."""
    none = np.empty(0, np.uint64)
    empty: Arrays = {
        "row": none,
        "rep": none,
        "rep_id": none.reshape(0, 2),
        "equal": none.astype(np.uint32),
        "size": none,
    }
    empty["similarity"] = none.astype(np.float64)
    names = parts[0] if parts else empty
    joined = {name: np.concatenate([empty[name], *(part[name] for part in parts)]) for name in names}
    order = np.argsort(joined["row"])
    return {name: array[order] for name, array in joined.items()}


def _found(sorted_rows: KeyArray, rows: KeyArray) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
    """Which rows are among the sorted ones, and where those are."""
    position = np.searchsorted(sorted_rows, rows)
    hit = position < len(sorted_rows)
    hit[hit] = sorted_rows[position[hit]] == rows[hit]
    return hit, position[hit]


def _removed(shard: int, near: Near, copies: Copies, num_perm: int) -> Arrays:
    """The removed rows of a shard, by row, each with the document that stays."""
    gone = near.of_shard(shard)
    copy = copies.of_shard(shard)
    counted = near.similarities(copy["rep"])
    equal = near.redirect(copy["rep"], copy["rep_id"])
    near.resize(copy["rep"], copy["size"])
    stays = equal == _ALL_EQUAL  # in its own epoch; an earlier one may have removed that text as a near copy
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
