"""The units that enough documents hold, over all shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from operators.dedup.columns import open_columns, write_columns
from operators.dedup.lines.counts import KIND, UNITS, Arrays, UnitCounts, counted, smallest_members
from operators.dedup.lookup import found_in
from operators.dedup.order import addresses
from operators.dedup.ranges import ALL, KeyRange, Partitioned, SortedFiles, num_partitions, own_range
from operators.kernels.shingles import KeyArray
from pipeline.work import Extent, Output, Result, Task, TaskPlan

FREQUENT = ".frequent"


class FrequentUnits(Partitioned):
    """One task per range of keys: sums the documents of each key over the shards, and keeps the frequent ones.

    ``.frequent``: ``key`` (uint64, sorted) and ``documents`` (uint32) of every key that at least ``min_documents``
    documents hold; with owners also ``at``, the address of the document with the smallest id among them (the address
    decides between rows of equal id only).
    The fact ``by_documents`` says how many distinct units 1, 2 to 3, 4 to 7, ... documents hold, which helps to choose
    ``min_documents``. Sums do not hang on the order of shards; neither partitions nor slices change what comes out.
    Memory: the records of one slice, at most ``memory_gib``, and the frequent keys of the range.
    """

    counts: UnitCounts
    min_documents: int = Field(default=4, ge=1)

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """A task per partition, each of which reads all shards."""
        count = num_partitions(shards["units"].count, self.partitions)
        return [TaskPlan(k, dict.fromkeys(shards)) for k in range(count)]

    def run(self, task: Task) -> Result:
        """Find the frequent units of one range of keys."""
        shards = task.inputs["units"]
        files = SortedFiles([(s.index, s.file(UNITS)) for s in shards], KIND, "key", self.counts.parameters)
        files.verify(task.index, self.partitions)
        parts, histogram = [], np.zeros(33, np.int64)
        for keys in files.slices(own_range(task.index, len(shards), self.partitions), self.memory_gib):
            part, documents = self._frequent(files, keys)
            parts.append(part)
            power = np.frexp(documents.astype(np.float64))[1] - 1
            histogram += np.bincount(power, minlength=33)[:33]
        found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        path = task.scratch / f"lines{FREQUENT}"
        write_columns(path, "frequent", self.counts.parameters, found)
        facts = {
            "distinct": int(histogram.sum()),
            "frequent": len(found["key"]),
            "by_documents": [int(number) for number in np.trim_zeros(histogram, "b")],
        }
        return Result([Output(path, FREQUENT)], facts=facts)

    def _frequent(self, files: SortedFiles, keys: KeyRange) -> tuple[Arrays, npt.NDArray[np.uint32]]:
        """The frequent keys of a slice, and the number of documents of every key in it."""
        columns: dict[str, list[npt.NDArray[Any]]] = {"key": [], "documents": [], "at": []}
        for shard, file in files.open():
            own = keys.within(file["key"])
            columns["key"].append(file["key"][own].copy())  # so that the file need not stay open
            columns["documents"].append(file["documents"][own].copy())
            if self.counts.owners:
                columns["at"].append(addresses(shard, file["row"][own]))
        key, documents = np.concatenate(columns["key"]), np.concatenate(columns["documents"])
        order = np.argsort(key, kind="stable")
        key, documents = key[order], documents[order]
        distinct, sums = counted(key, documents)
        often = sums >= self.min_documents
        found: Arrays = {"key": distinct[often], "documents": sums[often]}
        if self.counts.owners:
            at = np.concatenate(columns["at"])[order]
            first = np.searchsorted(key, found["key"])
            size = np.searchsorted(key, found["key"], side="right") - first
            members = at[np.repeat(first - np.cumsum(size) + size, size) + np.arange(int(size.sum()))]
            found["at"] = _owners(files, members, np.cumsum(size) - size)
        return found, sums


def _owners(files: SortedFiles, members: KeyArray, first: npt.NDArray[np.intp]) -> KeyArray:
    """The address of the member with the smallest id of each group; groups begin at ``first``."""
    ids = np.empty((len(members), 2), np.uint64)
    for shard, file in files.open():
        begin, end = addresses(shard, np.array([0, 0xFFFFFFFF]))
        mine = np.flatnonzero((members >= begin) & (members <= end))
        ids[mine] = file["id"][(members[mine] - begin).astype(np.int64)]
    return members[smallest_members(first, (ids[:, 0], ids[:, 1], members))]


class Frequencies:
    """The frequent units of all partitions, checked once per process, then checked once per process, then mapped."""

    def __init__(self, paths: Sequence[Path], parameters: Mapping[str, Any]) -> None:
        self._files = [open_columns(path, "frequent", parameters, verify=True) for path in paths]
        self._bounds = np.array([keys.first for keys in ALL.split(len(paths))], np.uint64)

    def look_up(self, keys: KeyArray) -> tuple[npt.NDArray[np.bool_], KeyArray]:
        """Which of M keys are frequent, and the address of each one's owner (0 where it is not, or none is known).

        Keys are looked up in ascending order, so that a batch goes through each file once from front to back.
        """
        order = np.argsort(keys)
        ascending = keys[order]
        hit, at = np.zeros(len(keys), np.bool_), np.zeros(len(keys), np.uint64)
        cuts = [*np.searchsorted(ascending, self._bounds), len(keys)]
        for number, file in enumerate(self._files):
            own = slice(cuts[number], cuts[number + 1])
            there, where = found_in(file["key"], ascending[own])
            rows = order[own][there]
            hit[rows] = True
            if "at" in file.arrays:
                at[rows] = file["at"][where]
        return hit, at
