"""The index of what stays: all that later crawls are compared with, so that no text is read again for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.dedup.columns import open_columns, write_columns
from operators.dedup.earlier.levels import ADDED, HASHES, KEPT, KEYS, SAME_TEXT, EarlierRun
from operators.dedup.exact import ORIGINALS, Copies
from operators.dedup.external_sort import ExternalSort, summed
from operators.dedup.growing import GrowingColumns
from operators.dedup.near.duplicates import Near
from operators.dedup.near.runs import RUN, BandRuns
from operators.dedup.order import Order, addresses, content_order, gather, rows_of
from operators.dedup.ranges import KeyRange, Partitioned, SortedFiles, num_partitions, own_range, records_in
from operators.dedup.signatures import EXACT, SKETCH, Signatures
from operators.dedup.sketch import Arrays
from operators.kernels.shingles import KeyArray
from operators.kernels.survivors import MOST_REPRESENTATIVES
from pipeline.work import Output, Result, Shard, Task

_LEFT_OUT = ("hash", "text", "group")
"""Columns of a sketch that an index needs not: hashes have a file of their own, groups are numbered by shard."""

_NO_KEYS: Arrays = {name: np.empty(0, np.uint64) for name in ("key", "at")}
_NO_HASHES: Arrays = {name: np.empty(0, np.uint64) for name in ("high", "low", "at")}

Flags = npt.NDArray[np.bool_]


class Index(Partitioned):
    """One task per range of keys and hashes and per block of shards; see ``levels`` for who reads it.

    ``.keys``: ``key`` and ``at``, the address, of the documents that stay, by key and under a key in content order, the
    first 64 of each: more are never compared with. ``.hashes``: ``high`` and ``low`` half of the hash of every text
    that no earlier level knows, whether it stays or not, sorted, with the address ``rep`` and the ``rep_id`` of the
    document that stays for it, and ``equal`` and ``similarity`` of the two as in ``levels.Known``. ``.kept``: ``at``, sorted, and the sketch of each document that stays.
    ``.added``: how many documents went for each document ``row`` here, a part of them in each file.
    Near duplicates are missing from its inputs where nothing is removed; exact copies stand behind their original then
    too, whose signature is theirs. Memory: one slice of records, at most ``memory_gib`` and one shard's more, unless that
    many rows share a text; and one shard's sketch.
    """

    signatures: Signatures
    runs: BandRuns | None = None
    order: Order = Order()
    against: tuple[EarlierRun, ...] = ()

    @property
    def parameters(self) -> dict[str, Any]:
        """What must agree for another run to be compared with it."""
        made_by = self.runs.parameters if self.runs else self.signatures.parameters
        return {**made_by, "exact": self.signatures.exact}

    def run(self, task: Task) -> Result:
        """Write a share of the index."""
        making = _Making(self, task)
        names = [KEPT, *([KEYS] if self.runs else []), *([HASHES] if self.signatures.exact else []), ADDED]
        parts = {KEPT: making.kept, KEYS: making.keys, HASHES: making.hashes, ADDED: making.added}
        outputs, counts = [], {}
        for suffix in names:
            growing = GrowingColumns(task.scratch, suffix[1:])
            for part in parts[suffix]():
                growing.add(part)
            arrays = growing.arrays()
            path = task.scratch / f"index{suffix}"
            write_columns(path, suffix[1:], self.parameters, arrays)
            counts[suffix[1:]] = len(next(iter(arrays.values())))
            growing.remove()
            outputs.append(Output(path, suffix))
        facts = {
            "parameters": self.parameters,
            "columns": making.columns,
            "shards": [shard.index for shard in making.block],
            "against": [list(run.manifests) for run in self.against],
            **counts,
        }
        return Result(outputs, facts=facts)


class _Making:
    """One task of an index."""

    def __init__(self, work: Index, task: Task) -> None:
        self._work = work
        self._task = task
        self._shards = task.inputs["signatures"]
        self._copies = Copies(task.inputs.get("exact", ()))
        self._near = Near(task.inputs.get("clusters", ()))
        count = num_partitions(len(self._shards), work.partitions)
        first, end = (len(self._shards) * k // count for k in (task.index, task.index + 1))
        self.block: Sequence[Shard] = self._shards[first:end]
        self.columns: list[str] = []
        self._own = own_range(task.index, len(self._shards), work.partitions)
        self._mine = slice(task.index, None, count)

    def kept(self) -> Iterator[Arrays]:
        """The sketches of what stays, shard by shard."""
        for shard in self.block:
            sketch = open_columns(shard.file(SKETCH), "sketch", self._work.signatures.parameters, verify=True)
            rows = np.flatnonzero(~self._gone(shard.index, len(sketch["bytes"])))
            self.columns = [name for name in sketch.arrays if name not in _LEFT_OUT]
            yield {"at": addresses(shard.index, rows), **{name: sketch[name][rows] for name in self.columns}}
        if not self.block:  # fewer shards than tasks
            yield {"at": np.empty(0, np.uint64)}

    def keys(self) -> Iterator[Arrays]:
        """The keys of what stays, slice by slice of the range."""
        files = self._files("runs", RUN, "key")
        for keys in files.slices(self._own, self._work.memory_gib):
            held, waiting = [_NO_KEYS], 0
            for part in self._records(files, keys, ("key",)):
                held.append(part)
                waiting += len(part["at"])
                if waiting > records_in(self._work.memory_gib):  # one key alone, which more rows have than fit
                    held, waiting = [self._first_of_each(held)], 0
            yield self._first_of_each(held)

    def _first_of_each(self, parts: Sequence[Arrays]) -> Arrays:
        """The first records of each key, in content order, as many as are compared with."""
        key, at = (np.concatenate([part[name] for part in parts]) for name in ("key", "at"))
        order = np.argsort(key, kind="stable")
        key, at = key[order], at[order]
        at = at[self._content_order_within(key, at)]
        few = np.arange(len(key)) - np.searchsorted(key, key) < MOST_REPRESENTATIVES
        return {"key": key[few], "at": at[few]}

    def hashes(self) -> Iterator[Arrays]:
        """The texts first seen here and what stays for them, slice by slice of the range."""
        files = self._files("signatures", EXACT, "high")
        for keys in files.slices(self._own, self._work.memory_gib):
            parts = [_NO_HASHES, *self._records(files, keys, ("high", "low"), near=False)]
            found = {name: np.concatenate([part[name] for part in parts]) for name in _NO_HASHES}
            order = np.lexsort((found["at"], found["low"], found["high"]))
            found = {name: column[order] for name, column in found.items()}
            by_row = np.argsort(found["at"])
            rep, rep_id = found.pop("at"), np.empty((len(order), 2), np.uint64)
            rep_id[by_row] = gather(self._sketches(), rep[by_row], ("id",))["id"]
            similarity = self._near.similarities(rep)
            equal = self._near.redirect(rep, rep_id)
            equal = np.minimum(equal, SAME_TEXT).astype(np.uint16)
            yield {**found, "rep": rep, "rep_id": rep_id, "equal": equal, "similarity": similarity}

    def added(self) -> Iterator[Arrays]:
        """How many documents went for each, by this task's share of the files that say so."""
        by_rep = ExternalSort(self._task.scratch, "by_rep", self._work.memory_bytes // 2)
        for shard in self._task.inputs.get("exact", ())[self._mine]:
            file = open_columns(shard.file(ORIGINALS), "originals", verify=True)
            rep = np.array(file["row"])
            self._near.redirect(rep, np.empty((len(rep), 2), np.uint64))
            by_rep.add([rep, file["added"]])
        for shard in self._task.inputs.get("clusters", ())[self._mine]:
            for rep in Near([shard]).reps():
                by_rep.add([rep, np.ones(len(rep), np.uint64)])
        for row, added in summed((row, added) for row, added in by_rep.chunks()):
            yield {"row": row, "added": added}
        by_rep.remove()

    def _files(self, role: str, suffix: str, key: str) -> SortedFiles:
        shards = [(shard.index, shard.file(suffix)) for shard in self._task.inputs[role]]
        work = self._work
        made_by = work.runs.parameters if suffix == RUN and work.runs else work.signatures.parameters
        files = SortedFiles(shards, suffix[1:], key, made_by)
        files.verify(self._task.index, work.partitions)
        return files

    def _sketches(self) -> Iterator[Any]:
        return self._work.signatures.sketches(self._shards)

    def _records(
        self, files: SortedFiles, keys: KeyRange, names: Sequence[str], *, near: bool = True
    ) -> Iterator[Arrays]:
        """The records of a range whose rows stay, shard by shard; ``near`` false: those that went as near duplicates too."""
        for shard, file in files.open():
            own = keys.within(file[names[0]])
            rows = file["row"][own]
            stays = ~self._gone(shard, int(rows.max(initial=0)) + 1, near=near)[rows]
            part = {name: file[name][own][stays] for name in names}
            yield {**part, "at": addresses(shard, rows[stays])}

    def _gone(self, shard: int, num_rows: int, *, near: bool = True) -> Flags:
        """Which of the first rows of a shard went."""
        gone = np.zeros(num_rows, np.bool_)
        parts = [self._copies.rows_of_shard(shard), *([self._near.rows_of_shard(shard)] if near else [])]
        for part in parts:
            rows = rows_of(part)
            gone[rows[rows < num_rows]] = True
        return gone

    def _content_order_within(self, key: KeyArray, at: KeyArray) -> npt.NDArray[np.intp]:
        """The permutation that puts records, sorted by key, in content order under each key."""
        order = np.arange(len(key))
        equal = key[1:] == key[:-1]
        several = np.flatnonzero(np.append(equal, False) | np.append(False, equal)) if len(key) else order
        if len(several) == 0:
            return order  # nothing to look up
        rows, row = np.unique(at[several], return_inverse=True)
        columns = gather(self._sketches(), rows, self._work.order.columns)
        position = np.empty(len(rows), np.intp)
        position[content_order(columns, rows, self._work.order)] = np.arange(len(rows))
        order[several] = several[np.lexsort((position[row], key[several]))]
        return order
