"""Which documents share a bucket: edges that connect them, as few as possible."""

from __future__ import annotations

import numpy as np

from operators.dedup.columns import write_columns
from operators.dedup.exact import Copies
from operators.dedup.order import addresses
from operators.dedup.ranges import KeyRange, Partitioned, SortedFiles, own_range
from operators.dedup.signatures import RUN, Signatures
from operators.kernels.forest import forest
from operators.kernels.shingles import KeyArray
from pipeline.work import Output, Result, Task

EDGES = ".edges"


class BandEdges(Partitioned):
    """One task per range of band keys: rows with equal keys become a star, the stars a forest.

    Exact copies are left out: their original stands for them. ``.edges``: addresses ``left`` and ``right``, one pair
    per row that is not the smallest of its tree. Time and output are linear in the records, also where one bucket
    holds all of them. Memory: the records of one slice, at most ``memory_gib`` unless that many share one key, and
    the rows that share any. Edges only say what to compare; neither the partitions nor the slices change a verdict.
    """

    signatures: Signatures

    def run(self, task: Task) -> Result:
        """Connect what shares a bucket in one range of keys."""
        shards = task.inputs["signatures"]
        files = SortedFiles([(s.index, s.file(RUN)) for s in shards], "run", "key", self.signatures.parameters)
        files.verify(task.index, self.partitions)
        copies = Copies(task.inputs.get("exact", ()))
        left = right = np.empty(0, np.uint64)
        for keys in files.slices(own_range(task.index, len(shards), self.partitions), self.memory_gib):
            more_left, more_right = _stars(files, keys, copies)
            left, right = forest(np.concatenate([left, more_left]), np.concatenate([right, more_right]))
        path = task.scratch / f"band{EDGES}"
        write_columns(path, "edges", {}, {"left": left, "right": right})
        return Result([Output(path, EDGES)], facts={"edges": len(left)})


def _stars(files: SortedFiles, keys: KeyRange, copies: Copies) -> tuple[KeyArray, KeyArray]:
    """An edge from the first row of each bucket to each other one."""
    key_parts, row_parts = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    for shard, file in files.open():
        own = keys.within(file["key"])
        at = addresses(shard, file["row"][own])
        left_in = ~np.isin(at, copies.of_shard(shard)["row"])
        key_parts.append(file["key"][own][left_in])
        row_parts.append(at[left_in])
    key, row = np.concatenate(key_parts), np.concatenate(row_parts)
    # Stable: the parts are sorted runs by shard, so equal keys stay in the order of their addresses.
    order = np.argsort(key, kind="stable")
    key, row = key[order], row[order]
    new = np.ones(len(key), np.bool_)
    new[1:] = key[1:] != key[:-1]
    first = row[np.flatnonzero(new)[np.cumsum(new) - 1]] if len(row) else row
    return first[~new], row[~new]
