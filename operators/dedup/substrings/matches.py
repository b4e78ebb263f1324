"""Which anchors stand twice: what is repeated with all that surrounds it, and what must be looked at word by word."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.dedup.order import addresses
from operators.dedup.ranges import KeyRange, SortedFiles
from operators.dedup.sketch import Arrays
from operators.dedup.substrings.anchors import ANCHORS
from operators.dedup.substrings.barrier import OverAnchors
from operators.dedup.substrings.places import (
    ASK_COLUMNS,
    ASKS,
    REPEAT_COLUMNS,
    REPEATS,
    Ranked,
    leaders,
    ranks,
    with_lead,
    write_places,
)
from operators.kernels.winnowing import TIED
from pipeline.work import Result, Task


class Matches(OverAnchors):
    """One task per range of anchor keys: decides the records that are whole copies, asks for the windows of the rest.

    Equal windows have equal keys, so only records of one key can hold equal windows. Records of one key with equal
    ``span`` are a class: all their windows are equal, one by one. The first of a class in content order leads it; the
    windows of the others are repeats, and need not be looked at again, since whatever they repeat the leader holds
    earlier. Two classes of one key may share some windows, so the leaders of keys with several classes are asked for
    the hash of each of their windows. That is linear, however many pages share an anchor: no record is compared with
    another. ``within_document`` false: the records of the class's first document all lead it, and only windows of an
    earlier document make a repeat.
    ``.repeats``: ``places.REPEAT_COLUMNS``; ``.asks``: ``places.ASK_COLUMNS``; both sorted by row and word.
    Memory: the records of one slice, at most ``memory_gib`` unless that many share one key, and what is found.
    """

    def run(self, task: Task) -> Result:
        """Compare the records in one range of keys."""
        repeats: list[Arrays] = []
        asks: list[Arrays] = []
        for files, keys in self.slices(task, "anchors", ANCHORS):
            records = _shared(files, keys)
            if len(records["key"]):
                ranked = ranks(self.anchors.cards(task.inputs["anchors"]), records["at"], self.order)
                repeated, asked = self._decide(records, ranked)
                repeats.append(repeated)
                asks.append(asked)
        parameters = self.anchors.parameters
        outputs = [
            write_places(task.scratch, REPEATS, REPEAT_COLUMNS, repeats, parameters),
            write_places(task.scratch, ASKS, ASK_COLUMNS, asks, parameters),
        ]
        facts = {
            "repeats": sum(len(part["at"]) for part in repeats),
            "asks": sum(len(part["at"]) for part in asks),
            "windows": sum(int(part["count"].sum()) for part in asks),
        }
        return Result(outputs, facts=facts)

    def _decide(self, records: Arrays, ranked: Ranked) -> tuple[Arrays, Arrays]:
        """Repeats and asks of records of keys that stand twice."""
        order = np.lexsort((records["start"], ranked.rank, records["span"], records["key"]))
        records = {name: column[order] for name, column in records.items()}
        rank, key, span = ranked.rank[order], records["key"], records["span"]
        new_key = np.append(True, key[1:] != key[:-1])
        new = new_key | np.append(True, span[1:] != span[:-1])
        lead = leaders(new)
        several = np.bincount(np.cumsum(new_key) - 1, weights=new)[np.cumsum(new_key) - 1] > 1
        if self.within_document:
            leads = np.arange(len(new)) == lead
            several |= records["tied"]
        else:
            leads = rank == rank[lead]
        gone, asked = ~leads, leads & several
        first = {name: records[name][lead[gone]] for name in ("at", "start")}
        own = {name: records[name][gone] for name in ("at", "start", "count")}
        repeats = with_lead(own, first, ranked.ids[order][lead[gone]])
        return repeats, {name: records[name][asked] for name in ASK_COLUMNS}


def _shared(files: SortedFiles, keys: KeyRange) -> Arrays:
    """Records whose key stands twice, or which may repeat themselves; in no particular order.

    Most keys stand once: of those nothing but the key is held.
    """
    ranges = [keys.within(file["key"]) for _, file in files.open()]
    both = zip(files.open(), ranges, strict=True)
    chosen = _standing_twice(np.concatenate([file["key"][own].copy() for (_, file), own in both]))
    parts: dict[str, list[npt.NDArray[np.generic]]] = {
        name: [] for name in ("key", "span", "at", "start", "count", "tied")
    }
    first = 0
    for (shard, file), own in zip(files.open(), ranges, strict=True):
        tied = (file["count"][own] & TIED) != 0
        mine = np.flatnonzero(chosen[first : first + len(tied)] | tied)
        first += len(tied)
        for name in ("key", "span", "start"):
            parts[name].append(file[name][own][mine])
        parts["at"].append(addresses(shard, file["row"][own][mine]))
        parts["count"].append(file["count"][own][mine] & np.uint16(TIED - 1))
        parts["tied"].append(tied[mine])
    return {name: np.concatenate(part) for name, part in parts.items()}


def _standing_twice(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Which of these have an equal among them."""
    order = np.argsort(keys, kind="stable")  # merges the sorted files
    same = np.diff(keys[order]) == 0
    twice = np.zeros(len(keys), np.bool_)
    twice[order[1:]] = same
    twice[order[:-1]] |= same
    return twice
