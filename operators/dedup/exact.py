"""Documents with the very same text: all but the first in content order are copies of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.dedup.columns import Columns, open_columns, write_columns
from operators.dedup.order import Policy, addresses, content_order, gather, shard_range
from operators.dedup.ranges import KeyRange, Partitioned, SortedFiles, own_range
from operators.dedup.signatures import EXACT, Signatures
from operators.kernels.shingles import KeyArray
from pipeline.work import Output, Result, Shard, Task

COPIES, ORIGINALS = ".copies", ".originals"

Arrays = dict[str, npt.NDArray[Any]]


class ExactCopies(Partitioned):
    """One task per range of text hashes: groups equal hashes and names the survivor of each group.

    The survivor is the smallest by (the policy's values, id); the address decides only between rows of equal id.
    ``.copies``, sorted by ``row``: addresses of a copy and of its original ``rep``, ``rep_id``, and the group's
    ``size``. ``.originals``, sorted by ``row``: the survivors and their group's ``size``. A 128-bit hash stands for a
    text.
    Memory: the records of one slice, at most ``memory_gib`` unless that many rows hold one text, and the copies found.
    """

    signatures: Signatures
    keep: Policy

    def run(self, task: Task) -> Result:
        """Find the copies in one range of hashes."""
        shards = task.inputs["signatures"]
        files = SortedFiles([(s.index, s.file(EXACT)) for s in shards], "exact", "high", self.signatures.parameters)
        files.verify(task.index, self.partitions)
        found: list[Arrays] = []
        for keys in files.slices(own_range(task.index, len(shards), self.partitions), self.memory_gib):
            at, group = _groups(files, keys)
            if len(at):
                found.append(self._decide(shards, at, group))
        copies = _sorted_by_row(found, "copy", ("row", "rep", "rep_id", "size"))
        originals = _sorted_by_row(found, "original", ("row", "size"))
        outputs = []
        for suffix, arrays in ((COPIES, copies), (ORIGINALS, originals)):
            path = task.scratch / f"exact{suffix}"
            write_columns(path, suffix[1:], {}, arrays)
            outputs.append(Output(path, suffix))
        return Result(outputs, facts={"copies": len(copies["row"]), "groups": len(originals["row"])})

    def _decide(self, shards: Sequence[Shard], at: KeyArray, group: npt.NDArray[np.int64]) -> Arrays:
        """Members of groups of equal texts, by address, to copies and originals."""
        columns = gather(self.signatures.sketches(shards), at, ("id", "bytes", "date"))
        order = content_order(columns, at, self.keep)
        order = order[np.argsort(group[order], kind="stable")]
        first = np.flatnonzero(np.diff(group[order], prepend=-1))
        size = np.diff(first, append=len(order))
        original = np.repeat(order[first], size)
        is_copy = order != original
        copy, rep = order[is_copy], original[is_copy]
        return {
            "copy.row": at[copy],
            "copy.rep": at[rep],
            "copy.rep_id": columns["id"][rep],
            "copy.size": np.repeat(size, size)[is_copy].astype(np.uint64),
            "original.row": at[order[first]],
            "original.size": size.astype(np.uint64),
        }


class Copies:
    """The copies and originals of all partitions, of one shard at a time."""

    def __init__(self, shards: Sequence[Shard], *, verify: bool = False) -> None:
        self._copies = [open_columns(shard.file(COPIES), "copies", verify=verify) for shard in shards]
        self._originals = [open_columns(shard.file(ORIGINALS), "originals", verify=verify) for shard in shards]

    def of_shard(self, shard: int) -> Arrays:
        """``row``, ``rep``, ``rep_id`` and ``size`` of a shard's copies, sorted by row."""
        return _of_shard(self._copies, shard, ("row", "rep", "rep_id", "size"))

    def originals_of_shard(self, shard: int) -> Arrays:
        """``row`` and ``size`` of a shard's originals that have copies, sorted by row."""
        return _of_shard(self._originals, shard, ("row", "size"))

    def sizes(self, at: KeyArray) -> KeyArray:
        """How many rows hold the text of each of these rows, which are not copies: 1 where it has no copy."""
        sizes = np.ones(len(at), np.uint64)
        for file in self._originals:
            position = np.searchsorted(file["row"], at)
            hit = position < len(file["row"])
            hit[hit] = file["row"][position[hit]] == at[hit]
            sizes[hit] = file["size"][position[hit]]
        return sizes


def _groups(files: SortedFiles, keys: KeyRange) -> tuple[KeyArray, npt.NDArray[np.int64]]:
    """Addresses, ascending, of the rows whose hash another row has too, and the number of each one's group."""
    high, low, at = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    for shard, file in files.open():
        own = keys.within(file["high"])
        high.append(file["high"][own])
        low.append(file["low"][own])
        at.append(addresses(shard, file["row"][own]))
    highs, lows, rows = np.concatenate(high), np.concatenate(low), np.concatenate(at)
    order = np.lexsort((rows, lows, highs))
    highs, lows, rows = highs[order], lows[order], rows[order]
    new = np.ones(len(rows), np.bool_)
    new[1:] = (highs[1:] != highs[:-1]) | (lows[1:] != lows[:-1])
    group = np.cumsum(new) - 1
    several = np.bincount(group)[group] > 1 if len(group) else new
    rows, group = rows[several], group[several]
    by_row = np.argsort(rows)
    return rows[by_row], group[by_row]


def _sorted_by_row(found: Sequence[Arrays], kind: str, names: Sequence[str]) -> Arrays:
    empty = {"row": np.empty(0, np.uint64), "rep_id": np.empty((0, 2), np.uint64)}
    joined = {
        name: np.concatenate([empty.get(name, empty["row"]), *(part[f"{kind}.{name}"] for part in found)])
        for name in names
    }
    order = np.argsort(joined["row"])
    return {name: array[order] for name, array in joined.items()}


def _of_shard(files: Sequence[Columns], shard: int, names: Sequence[str]) -> Arrays:
    parts = [(file, shard_range(file["row"], shard)) for file in files]
    return _sorted_by_row([{f"_.{name}": file[name][own] for name in names} for file, own in parts], "_", names)
