"""Hashes of the windows asked for, and which of them are repeats."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.dedup.columns import write_columns
from operators.dedup.order import addresses, rows_of
from operators.dedup.ranges import KeyRange, SortedFiles
from operators.dedup.sketch import Arrays
from operators.dedup.substrings.anchors import TakeAnchors
from operators.dedup.substrings.barrier import OverAnchors
from operators.dedup.substrings.places import (
    ASK_COLUMNS,
    ASKS,
    REPEAT_COLUMNS,
    REPEATS,
    Ranked,
    leaders,
    ranks,
    read_places,
    with_lead,
    write_places,
)
from operators.kernels.winnowing import window_hashes
from pipeline.work import Kind, Output, Result, Sink, StreamWork, Task

WINDOWS = ".windows"


class AskedWindows(StreamWork):
    """Per shard of documents: the hash of every window that was asked for. Only rows that have one are folded.

    ``.windows``, sorted by ``key``, then ``row`` and ``start``: ``key`` of the anchor, ``window``, the hash of all its
    words, ``row``, ``start``.
    """

    kind: ClassVar[Kind] = "work"
    barrier: ClassVar[bool] = True

    anchors: TakeAnchors

    def open(self, task: Task) -> Sink:
        """A sink for one shard."""
        return _WindowSink(self.anchors, task)


class _WindowSink(Sink):
    def __init__(self, anchors: TakeAnchors, task: Task) -> None:
        self._anchors = anchors
        self._task = task
        self._asks = read_places(task.inputs["matches"], ASKS, ASK_COLUMNS, task.index, anchors.parameters)
        self._rows = rows_of(self._asks["at"])
        self._num_rows = 0
        self._hashes = [np.empty(0, np.uint64)]

    def add(self, docs: pa.Table) -> pa.Table:
        first, end = np.searchsorted(self._rows, [self._num_rows, self._num_rows + docs.num_rows])
        if first < end:
            rows = self._rows[first:end] - self._num_rows
            start, count = (self._asks[name][first:end].astype(np.int64) for name in ("start", "count"))
            self._hashes.append(window_hashes(docs["text"], self._anchors.min_tokens, rows, start, count))
        self._num_rows += docs.num_rows
        return docs

    def close(self) -> Result:
        count = self._asks["count"].astype(np.int64)
        offset = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
        arrays = {
            "key": np.repeat(self._asks["key"], count),
            "window": np.concatenate(self._hashes),
            "row": np.repeat(self._rows, count).astype(np.uint32),
            "start": (np.repeat(self._asks["start"], count) + offset).astype(np.uint32),
        }
        order = np.argsort(arrays["key"], kind="stable")
        path = self._task.scratch / f"asked{WINDOWS}"
        write_columns(
            path, "windows", self._anchors.parameters, {name: column[order] for name, column in arrays.items()}
        )
        return Result([Output(path, WINDOWS)], facts={"windows": len(order)})


class Repeats(OverAnchors):
    """One task per range of anchor keys: of equal windows all but the first in content order are repeats.

    ``.repeats``: ``places.REPEAT_COLUMNS``, sorted; windows that follow each other here and where they stand before
    are one entry.
    Memory: the windows of one slice, at most ``memory_gib`` unless that many share one key, and what is found.
    """

    def run(self, task: Task) -> Result:
        """Compare the windows in one range of keys."""
        found: list[Arrays] = []
        for files, keys in self.slices(task, "windows", WINDOWS):
            windows = _windows(files, keys)
            if len(windows["key"]):
                ranked = ranks(self.anchors.cards(task.inputs["anchors"]), windows["at"], self.order)
                found.append(self._decide(windows, ranked))
        output = write_places(task.scratch, REPEATS, REPEAT_COLUMNS, found, self.anchors.parameters)
        return Result([output], facts={"repeats": sum(len(part["at"]) for part in found)})

    def _decide(self, windows: Arrays, ranked: Ranked) -> Arrays:
        order = np.lexsort((windows["start"], ranked.rank, windows["window"], windows["key"]))
        windows = {name: column[order] for name, column in windows.items()}
        rank, key, window = ranked.rank[order], windows["key"], windows["window"]
        new = np.append(True, (key[1:] != key[:-1]) | (window[1:] != window[:-1]))
        lead = leaders(new)
        gone = np.arange(len(new)) != lead if self.within_document else rank != rank[lead]
        own, first = ({name: windows[name][rows] for name in ("at", "start")} for rows in (gone, lead[gone]))
        return _runs(with_lead(own, first, ranked.ids[order][lead[gone]]))


def _windows(files: SortedFiles, keys: KeyRange) -> Arrays:
    """The windows of a range of keys."""
    parts: dict[str, list[npt.NDArray[np.generic]]] = {name: [] for name in ("key", "window", "at", "start")}
    for shard, file in files.open():
        own = keys.within(file["key"])
        for name in ("key", "window", "start"):
            parts[name].append(file[name][own].copy())  # so that the file need not stay open
        parts["at"].append(addresses(shard, file["row"][own]))
    return {name: np.concatenate(part) for name, part in parts.items()}


def _runs(found: Arrays) -> Arrays:
    """Windows that follow each other as one entry each."""
    order = np.lexsort((found["start"], found["at"]))
    found = {
        name: column[order] if column.dtype == np.uint64 else column[order].astype(np.int64)
        for name, column in found.items()
    }
    step = {name: np.diff(found[name]) for name in ("at", "rep", "start", "rep_start")}
    goes_on = (step["at"] == 0) & (step["rep"] == 0) & (step["start"] == 1) & (step["rep_start"] == 1)
    first = np.flatnonzero(np.append(True, ~goes_on)[: len(order)])
    runs = {name: column[first] for name, column in found.items()}
    return {**runs, "count": np.diff(first, append=len(order))}
