"""Sorting what does not fit in memory: sorted runs in scratch files, merged range by range."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from operators.kernels.shingles import KeyArray

Rows = list[KeyArray]
"""Records as columns of equal length, uint64 (N,) each, the one that decides first first."""

_COPIES = 5  # a record being sorted stands in its part, the joined parts, the permutation, the result, a reader's copy


class ExternalSort:
    """Records of some uint64 columns, sorted by all of them.

    They stay in memory as long as they fit, else sorted runs go to ``folder``. The records that come out, and their
    order, are the same either way. Memory: ``memory_bytes``, unless that many records are equal in every column.
    """

    def __init__(self, folder: Path, stem: str, memory_bytes: int) -> None:
        self._folder = folder
        self._stem = stem
        self._memory = memory_bytes
        self._pending: list[Rows] = []
        self._num_pending = 0
        self._runs: list[Rows] = []

    def add(self, rows: Rows) -> None:
        """Take records, in any order."""
        limit = self._limit(len(rows))
        for first in range(0, len(rows[0]), limit):
            part = [column[first : first + limit] for column in rows]
            if self._num_pending + len(part[0]) > limit:
                self._spill()
            self._pending.append(part)
            self._num_pending += len(part[0])

    def chunks(self) -> Iterator[Rows]:
        """All records in order, in parts that fit the memory; may be called again."""
        if not self._runs:
            self._pending = [_sorted(self._pending)] if self._pending else []
            yield from self._pending
            return
        self._spill()
        yield from merged(self._runs, self._limit(len(self._runs[0])))

    def remove(self) -> None:
        """Delete the scratch files and forget the records."""
        for number in range(len(self._runs)):
            self._path(number).unlink()
        self._pending, self._num_pending, self._runs = [], 0, []

    def _limit(self, num_columns: int) -> int:
        return max(2, self._memory // (8 * num_columns * _COPIES))

    def _spill(self) -> None:
        if self._pending:
            rows = _sorted(self._pending)
            self._runs.append(write_run(self._path(len(self._runs)), [rows], len(rows[0])))
        self._pending, self._num_pending = [], 0

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._stem}.{number}.sorted"


def summed(parts: Iterable[tuple[KeyArray, KeyArray]]) -> Iterator[tuple[KeyArray, KeyArray]]:
    """Distinct keys and the sum of each one's numbers; parts: keys, ascending through all of them, and numbers."""
    last, total = np.empty(0, np.uint64), np.empty(0, np.uint64)
    for keys, numbers in parts:
        if not len(keys):
            continue
        first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
        distinct, sums = keys[first], np.add.reduceat(numbers, first)
        if len(last) and last[0] == distinct[0]:  # the key goes on in this part
            sums[0] += total[0]
        else:
            yield last, total
        yield distinct[:-1], sums[:-1]
        last, total = distinct[-1:], sums[-1:]
    yield last, total


def write_run(path: Path, parts: Iterator[Rows] | Sequence[Rows], num_rows: int) -> Rows:
    """Write sorted records of that number, given part by part, to a file; returns them mapped."""
    written, done = None, 0
    for part in parts:
        if written is None:
            written = np.memmap(path, np.uint64, "w+", shape=(len(part), num_rows))
        for column, values in enumerate(part):
            written[column, done : done + len(values)] = values
        done += len(part[0])
    if written is None or done != num_rows:
        msg = f"{done} records for a run of {num_rows}"
        raise ValueError(msg)
    return list(np.asarray(np.memmap(path, np.uint64, "r", shape=written.shape)))


def merged(runs: Sequence[Rows], limit: int) -> Iterator[Rows]:
    """Sorted runs as one, in parts of at most ``limit`` records, or twice their number of runs where that is more.

    Every ``step``-th record of each run is a sample. Between two samples, ``len(runs)`` apart in the order of all, lie
    at most ``2 * len(runs) * step`` records: that many of sampled runs, and the remainder of each run.
    """
    step = max(1, limit // (2 * len(runs)))
    samples = _sorted([[column[::step] for column in run] for run in runs])
    begin = [0] * len(runs)
    for cut in range(len(runs), len(samples[0]), len(runs)):
        end = [_position(run, [column[cut] for column in samples]) for run in runs]
        yield from _joined(runs, begin, end)
        begin = end
    yield from _joined(runs, begin, [len(run[0]) for run in runs])


def _joined(runs: Sequence[Rows], begin: Sequence[int], end: Sequence[int]) -> Iterator[Rows]:
    parts = [[column[a:b] for column in run] for run, a, b in zip(runs, begin, end, strict=True) if a < b]
    if parts:
        yield _sorted(parts)


def _position(run: Rows, record: Sequence[np.uint64]) -> int:
    """Where a record stands, or would stand, in a sorted run."""
    first, end = 0, len(run[0])
    for column, value in zip(run, record, strict=True):
        part = column[first:end]
        first, end = (
            first + int(np.searchsorted(part, value, side="left")),
            first + int(np.searchsorted(part, value, side="right")),
        )
    return first


def _sorted(parts: Sequence[Rows]) -> Rows:
    rows = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    order = np.lexsort(rows[::-1])
    return [column[order] for column in rows]
