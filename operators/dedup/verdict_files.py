"""The files of a verdict: keep bitmap, removed rows, sizes of clusters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from operators.dedup.columns import Columns
from operators.dedup.order import levels_of, rows_of, shards_of
from operators.dedup.sketch import Arrays
from pipeline.documents import ID_TYPE
from pipeline.ledger import Count, Ledger
from pipeline.work import Output

Flags = npt.NDArray[np.bool_]

KEEP, REMOVED, CLUSTERS = ".keep", ".removed.parquet", ".clusters.parquet"

REMOVED_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("id", ID_TYPE, nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("rep_id", ID_TYPE, nullable=False),
        pa.field("rep_level", pa.int64(), nullable=False),
        pa.field("rep_shard", pa.int64(), nullable=False),
        pa.field("rep_row", pa.int64(), nullable=False),
        pa.field("estimate", pa.float64(), nullable=False),
        pa.field("similarity", pa.float64()),
        pa.field("cluster_size", pa.int64(), nullable=False),
    ]
)
"""The removed rows: ``kind`` is exact or near, ``rep`` the document that stays for it, ``estimate`` their Jaccard
similarity by the signatures, ``similarity`` what was counted where ``verify`` asks for it (Jaccard or containment; of an
exact copy, that of the text it is a copy of; else null), ``cluster_size`` the documents that one stands for, itself included, up to the epoch in
which the row was decided. ``rep_level`` is 0 where that document is of this run, else the number, from 1, of the entry
of ``against`` whose run has it at ``rep_shard`` and ``rep_row``."""

CLUSTERS_SCHEMA = pa.schema(
    [pa.field("row", pa.int64(), nullable=False), pa.field("cluster_size", pa.int64(), nullable=False)]
)
"""The kept rows that stand for more than themselves."""


def removed_table(removed: Arrays, sketch: Columns) -> pa.Table:
    """Removed rows in ``REMOVED_SCHEMA``."""
    columns = {
        "row": removed["row"],
        "id": id_array(sketch["id"][removed["row"]]),
        "kind": np.where(removed["exact"], "exact", "near").astype(object),
        "rep_id": id_array(removed["rep_id"]),
        "rep_level": levels_of(removed["rep"]),
        "rep_shard": shards_of(removed["rep"]),
        "rep_row": rows_of(removed["rep"]),
        "estimate": removed["estimate"],
        "similarity": pa.array(removed["similarity"], from_pandas=True),
        "cluster_size": removed["size"].astype(np.int64),
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in REMOVED_SCHEMA], schema=REMOVED_SCHEMA)


def account(sketch: Columns, keep: Flags, duplicates: Mapping[str, Flags], dropped: Mapping[str, Flags]) -> Ledger:
    """The ledger of a shard, from the lengths and groups in its sketch.

    duplicates, dropped: the rows that went for each reason, bool (N,); a reason without rows is left out.
    """
    size = sketch["bytes"].astype(np.int64)

    def count(rows: Flags) -> Count:
        return Count(int(rows.sum()), int(size[rows].sum()))

    ledger = Ledger(into=count(np.ones(len(keep), np.bool_)), kept=count(keep))
    ledger.duplicates = {name: count(rows) for name, rows in duplicates.items() if rows.any()}
    ledger.dropped = {name: count(rows) for name, rows in dropped.items() if rows.any()}
    for code, group in enumerate(sketch.parameters["groups"]):
        mine = sketch["group"] == code
        ledger.group_into[group], ledger.group_kept[group] = count(mine), count(mine & keep)
    return ledger


def id_array(ids: npt.NDArray[np.uint64]) -> pa.Array:
    """Ids uint64 (N, 2), as a sketch has them, as the 16 bytes that they are in tables."""
    raw = np.ascontiguousarray(ids, ">u8").tobytes()
    return pa.Array.from_buffers(ID_TYPE, len(ids), [None, pa.py_buffer(raw)])


def write_keep(path: Path, keep: npt.NDArray[np.bool_]) -> Output:
    """An uncompressed Arrow IPC file of one boolean column ``keep``."""
    table = pa.table({"keep": pa.array(keep, pa.bool_())})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return Output(path, KEEP)


def write_table(path: Path, suffix: str, table: pa.Table) -> Output:
    """A Parquet file."""
    pq.write_table(table, path, compression="zstd")
    return Output(path, suffix)
