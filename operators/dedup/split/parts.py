"""The documents of one held-out set, or those that are left to train on: a keep bitmap per shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.dedup.columns import Columns, open_columns
from operators.dedup.exact import Copies
from operators.dedup.lookup import found_in
from operators.dedup.order import addresses, rows_of
from operators.dedup.signatures import SKETCH, Signatures
from operators.dedup.split.draw import TRAINING, SetArray, Shares, drawn
from operators.dedup.split.sets import SETS
from operators.dedup.verdict_files import account, id_array, write_keep, write_table
from operators.kernels.shingles import KeyArray
from pipeline.documents import ID_TYPE
from pipeline.work import Extent, Kind, Result, Shard, ShardWork, Task, TaskPlan

HELD_OUT = ".held_out.parquet"

HELD_OUT_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("id", ID_TYPE, nullable=False),
        pa.field("set", pa.string(), nullable=False),
        pa.field("cluster_size", pa.int64(), nullable=False),
    ]
)
"""Held-out rows: their set, and how many documents, exact copies included, are in the cluster that went there."""


class Part(ShardWork):
    """Per shard of documents: ``.keep``, ``.held_out.parquet`` and the account.

    part: the name of a held-out set, whose rows are kept; None keeps the rows of none, the training side. The training
    side's ``.held_out.parquet`` has the rows of all sets, a set's own its rows. Rows of the other sets are accounted for
    as dropped, ``split:<set>``. Texts are not read. Facts: ``clusters``, of which one document each lies in this shard,
    ``largest_cluster``, and ``oversized``, documents that train because their cluster is too large.
    """

    kind: ClassVar[Kind] = "selection"
    barrier: ClassVar[bool] = True

    signatures: Signatures
    held_out: Shares
    part: str | None
    seed: int
    max_cluster: int

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """One per shard of documents."""
        whole = {role: None for role in shards if role not in ("documents", "signatures")}
        return [TaskPlan(k, {"documents": (k,), "signatures": (k,), **whole}) for k in range(shards["documents"].count)]

    def run(self, task: Task) -> Result:
        """Write one shard's bitmap."""
        (shard,) = task.inputs["signatures"]
        sketch = open_columns(shard.file(SKETCH), "sketch", self.signatures.parameters, verify=True)
        rows = _Rows(shard.index, sketch, task)
        chosen = drawn(rows.ids, self.held_out, self.seed)
        chosen[rows.size > self.max_cluster] = TRAINING
        known = rows.chosen != _UNKNOWN
        chosen[known] = rows.chosen[known]
        names = [name for name, _ in self.held_out]
        own = TRAINING if self.part is None else names.index(self.part)
        keep = chosen == own
        shown = np.flatnonzero(chosen != TRAINING if self.part is None else keep)
        outputs = [
            write_keep(task.scratch / "keep", keep),
            write_table(
                task.scratch / "held_out", HELD_OUT, _table(sketch, shown, [names[k] for k in chosen[shown]], rows.size)
            ),
        ]
        others = {f"split:{name}": chosen == k for k, name in [*enumerate(names), (TRAINING, "training")] if k != own}
        facts = {
            "rows": len(keep),
            "clusters": int((rows.head & keep).sum()),
            "largest_cluster": int(rows.size[keep].max(initial=0)),
            "oversized": int((keep & (rows.size > self.max_cluster)).sum()),
        }
        return Result(outputs, account(sketch, keep, {}, others), facts)


_UNKNOWN = TRAINING - 1


class _Rows:
    """What a shard's rows are to the split: id of the document that a row stands with, size of its cluster, set.

    ids: of the row itself, or of the original of a copy. head: one row of each cluster. chosen: the set of the row's
    component where it shares a bucket with another document, else ``_UNKNOWN``.
    """

    def __init__(self, shard: int, sketch: Columns, task: Task) -> None:
        copies = Copies(task.inputs["exact"])
        mine = addresses(shard, np.arange(len(sketch["bytes"])))
        at = mine.copy()
        self.ids: npt.NDArray[np.uint64] = sketch["id"].copy()
        copied = copies.of_shard(shard)
        where = rows_of(copied["row"])
        at[where], self.ids[where] = copied["rep"], copied["rep_id"]
        self.size: KeyArray = copies.sizes(at)
        self.head: npt.NDArray[np.bool_] = at == mine
        self.chosen: SetArray = np.full(len(at), _UNKNOWN, np.uint8)
        for file in _files(task.inputs["sets"]):
            hit, found = found_in(file["at"], at)
            self.chosen[hit], self.size[hit] = file["set"][found], file["size"][found]
            self.head[hit] &= file["head"][found]


def _files(shards: Sequence[Shard]) -> list[Columns]:
    return [open_columns(shard.file(SETS), "sets", verify=True) for shard in shards]


def _table(sketch: Columns, rows: npt.NDArray[np.intp], names: list[str], size: KeyArray) -> pa.Table:
    columns: list[Any] = [
        pa.array(rows, pa.int64()),
        id_array(sketch["id"][rows]),
        pa.array(names, pa.string()),
        pa.array(size[rows].astype(np.int64)),
    ]
    return pa.table(columns, schema=HELD_OUT_SCHEMA)
