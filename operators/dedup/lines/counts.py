"""How many documents of a shard hold each unit, counted in the pass that makes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.dedup.columns import open_columns, write_columns
from operators.dedup.lines.units import Units
from operators.dedup.order import id_pairs
from operators.dedup.ranges import ALL
from operators.kernels.shingles import KeyArray
from operators.kernels.unit_hashes import LATER
from pipeline.work import Kind, Output, Result, Sink, StreamWork, Task

UNITS = ".units"
KIND = "units"

Arrays = dict[str, npt.NDArray[Any]]

RUN_KEYS = 2 << 20
"""Keys in memory before they are sorted and put aside: 16 MiB, and some 150 MiB while they are sorted and counted."""


class UnitCounts(StreamWork):
    """Per shard ``.units``: ``key`` (uint64, sorted), and ``documents`` (uint32), how many hold it.

    Counted are documents, not occurrences: a unit that one document holds often counts once. owners: also ``row``
    (uint32), that of the document with the smallest id, and ``id`` (uint64, a pair for every row of the shard), by which
    the first document of all shards is told. How often a unit must be there to go, and what then becomes of it, is not in
    the file, so changing that reads no text again.
    Memory: ``RUN_KEYS`` keys and the ids; what is more lies in scratch as sorted runs, merged when the shard ends.
    """

    kind: ClassVar[Kind] = "work"

    units: Units
    owners: bool = False

    def open(self, task: Task) -> Sink:
        """A sink for one shard."""
        self.units.prepare()
        return _CountSink(self, task)

    @property
    def parameters(self) -> dict[str, Any]:
        """What files must have been made with to be read together."""
        return {**self.units.parameters, "owners": self.owners}


class _CountSink(Sink):
    """Collects the keys of the documents of one shard."""

    def __init__(self, work: UnitCounts, task: Task) -> None:
        self._work = work
        self._scratch = task.scratch
        self._rows = self._keys_waiting = self._keys = 0
        self._waiting: list[Arrays] = []
        self._ids: list[KeyArray] = [np.empty((0, 2), np.uint64)]
        self._runs: list[Path] = []

    def add(self, docs: pa.Table) -> pa.Table:
        found = self._work.units.find(docs)
        once = (found.keys != 0) & (found.copies != LATER)
        part: Arrays = {"key": found.keys[once]}
        if self._work.owners:
            part["row"] = (found.documents()[once] + self._rows).astype(np.uint32)
            self._ids.append(id_pairs(docs, "dedup_lines with keep: first"))
        self._waiting.append(part)
        self._rows += docs.num_rows
        self._keys_waiting += len(part["key"])
        if self._keys_waiting >= RUN_KEYS:
            self._put_aside()
        return docs

    def close(self) -> Result:
        ids = np.concatenate(self._ids)
        arrays = self._counted(ids) if not self._runs else self._merged(ids)
        if self._work.owners:
            arrays["id"] = ids
        path = self._scratch / f"lines{UNITS}"
        write_columns(path, KIND, self._work.parameters, arrays)
        facts = {"rows": self._rows, "units": self._keys, "distinct": len(arrays["key"])}
        return Result([Output(path, UNITS)], facts=facts)

    def _counted(self, ids: KeyArray) -> Arrays:
        """The keys that wait, sorted and counted."""
        parts, self._waiting, self._keys_waiting = self._waiting, [], 0
        keys = np.concatenate([np.empty(0, np.uint64), *(part["key"] for part in parts)])
        self._keys += len(keys)
        if not self._work.owners:
            key, documents = counted(np.sort(keys))
            return {"key": key, "documents": documents}
        rows = np.concatenate([np.empty(0, np.uint32), *(part["row"] for part in parts)])
        order = np.argsort(keys, kind="stable")
        return first_rows(keys[order], np.ones(len(keys), np.uint32), rows[order], ids)

    def _put_aside(self) -> None:
        arrays = self._counted(np.concatenate(self._ids))
        path = self._scratch / f"run{len(self._runs)}"
        write_columns(path, KIND, {}, arrays)
        self._runs.append(path)

    def _merged(self, ids: KeyArray) -> Arrays:
        """All runs as one, a slice of keys at a time; the columns are files in scratch, mapped."""
        self._put_aside()
        runs = [open_columns(path, KIND, {}) for path in self._runs]
        names = list(runs[0].arrays)
        paths = {name: self._scratch / f"merged-{name}" for name in names}
        # Keys are hashes: equal widths hold about equal numbers, and each slice about as many as one run.
        for keys in ALL.split(len(runs)):
            parts = [(run, keys.within(run["key"])) for run in runs]
            joined = {name: np.concatenate([run[name][own] for run, own in parts]) for name in names}
            for name, array in merged(joined, ids).items():
                with paths[name].open("ab") as file:
                    array.tofile(file)
        kinds = {"key": np.uint64, "documents": np.uint32, "row": np.uint32}
        return {name: _mapped(paths[name], kinds[name]) for name in names}


def merged(joined: Arrays, ids: KeyArray) -> Arrays:
    """Counts of several runs, in any order, as those of one."""
    order = np.argsort(joined["key"], kind="stable")
    if "row" in joined:
        return first_rows(joined["key"][order], joined["documents"][order], joined["row"][order], ids)
    key, documents = counted(joined["key"][order], joined["documents"][order])
    return {"key": key, "documents": documents}


def counted(
    sorted_keys: KeyArray, documents: npt.NDArray[np.uint32] | None = None
) -> tuple[KeyArray, npt.NDArray[np.uint32]]:
    """Distinct keys, and the sum of each one's documents (1 each unless given)."""
    first = _firsts(sorted_keys)
    if documents is None:
        return sorted_keys[first], np.diff(first, append=len(sorted_keys)).astype(np.uint32)
    return sorted_keys[first], _sums(documents, first)


def first_rows(
    sorted_keys: KeyArray, documents: npt.NDArray[np.uint32], rows: npt.NDArray[np.uint32], ids: KeyArray
) -> Arrays:
    """``counted``, and of each key the row with the smallest id, of equal ids the smallest row. ids: of every row."""
    first = _firsts(sorted_keys)
    smallest = smallest_members(first, (ids[rows, 0], ids[rows, 1], rows))
    return {"key": sorted_keys[first], "documents": _sums(documents, first), "row": rows[smallest]}


def smallest_members(first: npt.NDArray[np.intp], order: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.intp]:
    """The position of the smallest member of each group, by the columns of ``order`` in turn.

    first: where the groups begin, of as many rows as each column has.
    """
    size = np.diff(first, append=len(order[0]))
    several = np.repeat(size > 1, size)  # most groups have one member, and need no sorting
    rows, group = np.flatnonzero(several), np.repeat(np.arange(len(first)), size)[several]
    by_order = np.lexsort([*(column[rows] for column in reversed(order)), group])
    smallest = first.copy()
    groups, position = np.unique(group[by_order], return_index=True)
    smallest[groups] = rows[by_order[position]]
    return smallest


def _firsts(sorted_keys: KeyArray) -> npt.NDArray[np.intp]:
    new = np.ones(len(sorted_keys), np.bool_)
    new[1:] = sorted_keys[1:] != sorted_keys[:-1]
    return np.flatnonzero(new)


def _sums(documents: npt.NDArray[np.uint32], first: npt.NDArray[np.intp]) -> npt.NDArray[np.uint32]:
    return np.add.reduceat(documents, first).astype(np.uint32) if len(first) else documents[:0]


def _mapped(path: Path, kind: Any) -> npt.NDArray[Any]:
    return np.asarray(np.memmap(path, kind, "r")) if path.stat().st_size else np.empty(0, kind)
