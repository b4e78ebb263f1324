"""Documents with the very same text: all but the first in content order are copies of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.dedup.columns import open_columns, write_columns
from operators.dedup.earlier.levels import ADDED, HASHES, EarlierRun, Known, Levels
from operators.dedup.external_sort import ExternalSort, summed
from operators.dedup.growing import GrowingColumns
from operators.dedup.lookup import found_in
from operators.dedup.order import Order, addresses, content_order, gather, shard_range
from operators.dedup.ranges import KeyRange, Partitioned, SortedFiles, num_partitions, own_range
from operators.dedup.signatures import EXACT, Signatures
from operators.kernels.shingles import KeyArray
from pipeline.work import Output, Result, Shard, Task

COPIES, ORIGINALS = ".copies", ".originals"

Arrays = dict[str, npt.NDArray[Any]]


class ExactCopies(Partitioned):
    """One task per range of text hashes: groups equal hashes and names the survivor of each group.

    A text that an earlier level knows goes for what stays for it there. Else the survivor is the smallest by (the
    policy's values, id); the address decides only between rows of equal id.
    ``.copies``, sorted by ``row``: addresses of a copy and of its original ``rep``, ``rep_id``, and ``equal`` and
    ``similarity`` as in ``levels.Known``: an earlier level may have removed that text as a near copy. ``.originals``,
    sorted by ``row``: the documents that copies of this range go for, how many those are (``added``), and how many it
    stood for ``before``: 1, itself, unless it is of an earlier level. A 128-bit hash stands for a text.
    Memory: the records of one slice, at most ``memory_gib`` unless that many rows hold one text; of the copies found
    another quarter of that, the others lie in scratch.
    """

    signatures: Signatures
    order: Order
    against: tuple[EarlierRun, ...] = ()

    def run(self, task: Task) -> Result:
        """Find the copies in one range of hashes."""
        shards = task.inputs["signatures"]
        levels = Levels.of(task, self.against)
        for suffix in (HASHES, ADDED):
            levels.verify(suffix, task.index, num_partitions(len(shards), self.partitions))
        files = SortedFiles([(s.index, s.file(EXACT)) for s in shards], "exact", "high", self.signatures.parameters)
        files.verify(task.index, self.partitions)
        found = _Found(task.scratch, self.memory_bytes // 4)
        for keys in files.slices(own_range(task.index, len(shards), self.partitions), self.memory_gib):
            at, group, known = _groups(files, keys, levels)
            found.add(known)
            if len(at):
                found.add(self._decide(shards, at, group))
        outputs, counts = found.write(levels)
        facts = {"copies": counts[COPIES], "groups": counts[ORIGINALS]}
        return Result(outputs, facts=facts)

    def _decide(self, shards: Sequence[Shard], at: KeyArray, group: npt.NDArray[np.int64]) -> Arrays:
        """Members of groups of equal texts, by address, to copies."""
        columns = gather(self.signatures.sketches(shards), at, self.order.columns)
        order = content_order(columns, at, self.order)
        order = order[np.argsort(group[order], kind="stable")]
        first = np.flatnonzero(np.diff(group[order], prepend=-1))
        original = np.repeat(order[first], np.diff(first, append=len(order)))
        is_copy = order != original
        rep = original[is_copy]
        same = Known.nothing(len(rep))
        parts = {"row": at[order[is_copy]], "rep": at[rep], "rep_id": columns["id"][rep]}
        return {**parts, "equal": same.equal, "similarity": same.similarity}


class _Found:
    """Collects copies; in scratch files what does not fit in ``memory_bytes``."""

    def __init__(self, scratch: Path, memory_bytes: int) -> None:
        self._scratch = scratch
        self._by_row = ExternalSort(scratch, "by_row", memory_bytes // 2)
        self._by_rep = ExternalSort(scratch, "by_rep", memory_bytes // 2)

    def add(self, copies: Arrays) -> None:
        """Take copies, in any order."""
        high, low = copies["rep_id"].T
        equal, similarity = copies["equal"].astype(np.uint64), copies["similarity"].view(np.uint64)
        self._by_row.add([copies["row"], copies["rep"], high, low, equal, similarity])
        self._by_rep.add([copies["rep"]])

    def write(self, levels: Levels) -> tuple[list[Output], dict[str, int]]:
        """The files ``.copies`` and ``.originals``, and how many rows each has."""
        outputs, counts = [], {}
        for suffix, parts in ((COPIES, self._copies()), (ORIGINALS, self._originals(levels))):
            growing = GrowingColumns(self._scratch, suffix[1:])
            for part in parts:
                growing.add(part)
            arrays = growing.arrays()
            path = self._scratch / f"exact{suffix}"
            write_columns(path, suffix[1:], {}, arrays)
            outputs.append(Output(path, suffix))
            counts[suffix] = len(arrays["row"])
            growing.remove()
        self._by_row.remove()
        self._by_rep.remove()
        return outputs, counts

    def _copies(self) -> Iterator[Arrays]:
        yield _NONE
        for row, rep, high, low, equal, similarity in self._by_row.chunks():
            ids = np.stack([high, low], axis=1)
            alike = {"equal": equal.astype(np.uint16), "similarity": similarity.view(np.float64)}
            yield {"row": row, "rep": rep, "rep_id": ids, **alike}

    def _originals(self, levels: Levels) -> Iterator[Arrays]:
        for rep, added in summed((rep, np.ones(len(rep), np.uint64)) for (rep,) in self._by_rep.chunks()):
            yield {"row": rep, "before": levels.sizes(rep), "added": added}


class Copies:
    """The copies and originals of all partitions, of one shard at a time.

    The files are checked and stay mapped, without file descriptors; what is asked for is read.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._copies = [open_columns(shard.file(COPIES), "copies", verify=True) for shard in shards]
        self._originals = [open_columns(shard.file(ORIGINALS), "originals", verify=True) for shard in shards]

    def of_shard(self, shard: int) -> Arrays:
        """``row``, ``rep``, ``rep_id``, ``equal``, ``similarity`` and ``size`` of a shard's copies, sorted by row."""
        parts = [(file, shard_range(file["row"], shard)) for file in self._copies]
        copies = _sorted_by_row([{name: file[name][own] for name in _NONE} for file, own in parts])
        return {**copies, "size": self.sizes(copies["rep"])}

    def rows_of_shard(self, shard: int) -> KeyArray:
        """The addresses of a shard's copies, in no order."""
        parts = [file["row"][shard_range(file["row"], shard)] for file in self._copies]
        return np.concatenate([_NONE["row"], *parts])

    def originals_of_shard(self, shard: int) -> Arrays:
        """``row`` and ``size`` of a shard's originals that have copies, sorted by row."""
        parts = [file["row"][shard_range(file["row"], shard)] for file in self._originals]
        rows = np.sort(np.concatenate([_NONE["row"], *parts]))
        return {"row": rows, "size": self.sizes(rows)}

    def added(self, at: KeyArray) -> KeyArray:
        """How many copies went for each of these rows."""
        return self._counted(at)[1]

    def sizes(self, at: KeyArray) -> KeyArray:
        """How many rows hold the text of each of these rows, which are not copies: 1 where it has no copy.

        Of a row of an earlier level that copies went for: how many documents it stands for, these copies included.
        """
        before, added = self._counted(at)
        return before + added

    def _counted(self, at: KeyArray) -> tuple[KeyArray, KeyArray]:
        before, added = np.ones(len(at), np.uint64), np.zeros(len(at), np.uint64)
        for file in self._originals:
            hit, where = found_in(file["row"], at)
            before[hit] = file["before"][where]
            added[hit] += file["added"][where]
        return before, added


def _groups(files: SortedFiles, keys: KeyRange, levels: Levels) -> tuple[KeyArray, npt.NDArray[np.int64], Arrays]:
    """What is to be decided about the texts in a range of hashes.

    Returns addresses, ascending, of the rows whose text another row has too and no earlier level, the number of each
    one's group, and the copies of texts that an earlier level has.
    """
    high, low, at = [_NONE["row"]], [_NONE["row"]], [_NONE["row"]]
    for shard, file in files.open():
        own = keys.within(file["high"])
        high.append(file["high"][own].copy())  # so that the file need not stay open
        low.append(file["low"][own].copy())
        at.append(addresses(shard, file["row"][own]))
    highs, lows, rows = np.concatenate(high), np.concatenate(low), np.concatenate(at)
    order = np.lexsort((rows, lows, highs))
    highs, lows, rows = highs[order], lows[order], rows[order]
    new = np.ones(len(rows), np.bool_)
    new[1:] = (highs[1:] != highs[:-1]) | (lows[1:] != lows[:-1])
    group = np.cumsum(new) - 1
    found = levels.originals(highs[new], lows[new])
    known = found.hit[group]
    copies = {"row": rows[known]}
    for name in ("rep", "rep_id", "equal", "similarity"):
        copies[name] = getattr(found, name)[group[known]]
    several = ~known
    several &= np.bincount(group)[group] > 1 if len(group) else new
    rows, group = rows[several], group[several]
    by_row = np.argsort(rows)
    return rows[by_row], group[by_row], copies


_NONE: Arrays = {
    "row": np.empty(0, np.uint64),
    "rep": np.empty(0, np.uint64),
    "rep_id": np.empty((0, 2), np.uint64),
    "equal": np.empty(0, np.uint16),
    "similarity": np.empty(0),
}
"""No copies."""


def _sorted_by_row(found: Sequence[Arrays]) -> Arrays:
    joined = {name: np.concatenate([none, *(part[name] for part in found)]) for name, none in _NONE.items()}
    order = np.argsort(joined["row"])
    return {name: array[order] for name, array in joined.items()}
