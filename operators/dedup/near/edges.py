"""Which documents share a bucket: edges that connect them, as few as possible."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from operators.dedup.columns import write_columns
from operators.dedup.earlier.levels import KEYS, EarlierRun, Levels
from operators.dedup.exact import Copies
from operators.dedup.growing import GrowingColumns
from operators.dedup.near.external_components import Connector
from operators.dedup.near.runs import RUN, BandRuns
from operators.dedup.order import addresses
from operators.dedup.ranges import KeyRange, Partitioned, SortedFiles, num_partitions, own_range
from operators.kernels.shingles import KeyArray
from pipeline.work import Output, Result, Task

EDGES = ".edges"


class BandEdges(Partitioned):
    """One task per range of band keys: rows with equal keys become a star, the stars a forest.

    Exact copies are left out: their original stands for them. Documents that stay in earlier levels and have a key that
    a row has too, the first 64 of each key, belong to its bucket. ``.edges``: addresses ``left``, the smallest of a
    tree, and ``right``, each other one of it; sorted by both. Time and output are linear in the records, also where one
    bucket holds all of them. Memory: ``memory_gib`` for the records of a slice, of which one key's alone are taken
    shard by shard, and half of that for edges, of which more go through scratch files. Edges only say what to compare;
    neither the partitions nor the slices change a verdict.
    """

    runs: BandRuns
    against: tuple[EarlierRun, ...] = ()

    def run(self, task: Task) -> Result:
        """Connect what shares a bucket in one range of keys."""
        shards = task.inputs["runs"]
        levels = Levels.of(task, self.against)
        levels.verify(KEYS, task.index, num_partitions(len(shards), self.partitions))
        files = SortedFiles([(s.index, s.file(RUN)) for s in shards], "run", "key", self.runs.parameters)
        files.verify(task.index, self.partitions)
        buckets = _Buckets(files, Copies(task.inputs.get("exact", ())), levels)
        graph = Connector(task.scratch, self.memory_bytes // 2)
        for keys in files.slices(own_range(task.index, len(shards), self.partitions), self.memory_gib):
            for left, right in buckets.one(keys.first) if keys.width == 1 else buckets.stars(keys):
                graph.add(left, right)
        trees = GrowingColumns(task.scratch, "edges")
        num_edges = 0
        for label, at in graph.members():
            other = label != at
            trees.add({"left": label[other], "right": at[other]})
            num_edges += int(other.sum())
        path = task.scratch / f"band{EDGES}"
        write_columns(path, "edges", {}, trees.arrays())
        trees.remove()
        return Result([Output(path, EDGES)], facts={"edges": num_edges})


class _Buckets:
    """The rows of each key, without the exact copies."""

    def __init__(self, files: SortedFiles, copies: Copies, levels: Levels) -> None:
        self._files = files
        self._copies = copies
        self._levels = levels

    def _records(self, keys: KeyRange) -> Iterator[tuple[KeyArray, KeyArray]]:
        """Key and address of each record, shard by shard."""
        for shard, file in self._files.open():
            own = keys.within(file["key"])
            if own.stop > own.start:
                at = addresses(shard, file["row"][own])
                left_in = ~np.isin(at, self._copies.rows_of_shard(shard))
                yield file["key"][own][left_in], at[left_in]

    def stars(self, keys: KeyRange) -> Iterator[tuple[KeyArray, KeyArray]]:
        """An edge from the first row of each bucket to each other one, and to those of earlier levels."""
        none = np.empty(0, np.uint64)
        key_parts, row_parts = zip((none, none), *self._records(keys), strict=True)
        key, row = np.concatenate(key_parts), np.concatenate(row_parts)
        # Stable: the parts are sorted runs by shard, so equal keys stay in the order of their addresses.
        order = np.argsort(key, kind="stable")
        key, row = key[order], row[order]
        new = np.ones(len(key), np.bool_)
        new[1:] = key[1:] != key[:-1]
        first = row[new]
        yield np.repeat(first, np.diff(np.flatnonzero(new), append=len(key))), row
        if self._levels:
            position, at = self._levels.buckets(key[new])
            yield first[position], at

    def one(self, key: int) -> Iterator[tuple[KeyArray, KeyArray]]:
        """The star of a single bucket, however large."""
        first = None
        for _, row in self._records(KeyRange(key, key + 1)):
            if first is None and len(row):
                first = row[0]
                _, at = self._levels.buckets(np.array([key], np.uint64))
                yield np.full(len(at), first), at
            if first is not None:
                yield np.full(len(row), first), row
