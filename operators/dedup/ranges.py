"""Partitions of 64-bit keys: which keys a task owns, and its records out of the sorted files of all shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from operators.dedup.columns import Columns, open_columns
from operators.dedup.order import check_addressable
from pipeline.work import Epochs, Extent, Kind, Needs, ShardWork, TaskPlan

PER_SHARD = ("signatures", "runs")
"""Inputs with a shard per shard of documents; those of all other inputs belong to ranges of keys."""

_ALL_KEYS = 1 << 64
_SHARDS_PER_TASK = 8  # a task per 8 shards keeps the workers busy and the files few
_MOST_TASKS = 128  # every task opens every run, and holds four files of every partition
_BYTES_PER_RECORD = 128  # 66 measured: key, address, sort order, and copies; the rest is for what comes out


@dataclass(frozen=True)
class KeyRange:
    """Keys from ``first`` up to, not including, ``end``."""

    first: int
    end: int

    def split(self, parts: int) -> Iterator[KeyRange]:
        """Equal ranges that cover this one."""
        for k in range(parts):
            yield KeyRange(self.first + self.width * k // parts, self.first + self.width * (k + 1) // parts)

    @property
    def width(self) -> int:
        """How many keys it has."""
        return self.end - self.first

    def around(self, key: int) -> list[KeyRange]:
        """The keys before one of its keys, that key, and those after it."""
        parts = KeyRange(self.first, key), KeyRange(key, key + 1), KeyRange(key + 1, self.end)
        return [part for part in parts if part.width]

    def within(self, sorted_keys: npt.NDArray[np.uint64]) -> slice:
        """Where these keys lie."""
        first = np.searchsorted(sorted_keys, np.uint64(self.first))
        end = len(sorted_keys) if self.end == _ALL_KEYS else np.searchsorted(sorted_keys, np.uint64(self.end))
        return slice(int(first), int(end))


ALL = KeyRange(0, _ALL_KEYS)


@dataclass(frozen=True)
class SortedFiles:
    """Files sorted by a key column, one per shard."""

    shards: Sequence[tuple[int, Path]]
    kind: str
    key: str
    parameters: dict[str, Any]

    def open(self) -> Iterator[tuple[int, Columns]]:
        """Each shard's number and file, one open at a time."""
        for shard, path in self.shards:
            yield shard, open_columns(path, self.kind, self.parameters)

    def verify(self, task: int, partitions: int | None) -> None:
        """Read whole this task's share of the files and check them: all tasks together check each file once."""
        tasks = num_partitions(len(self.shards), partitions)
        for number, (_, path) in enumerate(self.shards):
            if number % tasks == task:
                open_columns(path, self.kind, self.parameters, verify=True)

    def slices(self, keys: KeyRange, memory_gib: float) -> list[KeyRange]:
        """The range cut so that the records of each part fit the memory; by the counts, not by a guess.

        Keys are hashes, so equal widths hold about equal numbers. What still does not fit is cut around its most
        frequent key, as the middle of the largest file has it; a part of one key alone may be too large.
        """
        limit = records_in(memory_gib)
        done: list[KeyRange] = []
        waiting, equal_parts = [keys], True
        while waiting:
            counts, middle = self._counts(waiting)
            small = [part for part, count in zip(waiting, counts, strict=True) if count <= limit or part.width == 1]
            large = [
                part.split(-(-count // limit)) if equal_parts else part.around(key)
                for part, count, key in zip(waiting, counts, middle, strict=True)
                if count > limit and part.width > 1
            ]
            done += small
            waiting, equal_parts = [part for parts in large for part in parts], False
        return sorted(done, key=lambda part: part.first)

    def _counts(self, parts: Sequence[KeyRange]) -> tuple[list[int], list[int]]:
        """How many records each range has, and the middle key of the file that has the most of them."""
        counts, most, middle = ([0] * len(parts) for _ in range(3))
        for _, file in self.open():
            column = file[self.key]
            for number, part in enumerate(parts):
                found = part.within(column)
                size = found.stop - found.start
                counts[number] += size
                if size > most[number]:
                    most[number], middle[number] = size, int(column[found.start + size // 2])
        return counts, middle


def records_in(memory_gib: float) -> int:
    """How many records are held in that much memory."""
    return max(1, int(memory_gib * 2**30) // _BYTES_PER_RECORD)


def num_partitions(num_shards: int, partitions: int | None) -> int:
    """How many tasks share the keys of that many shards: as asked, else one per 8 shards, 128 at most."""
    return 0 if num_shards == 0 else partitions or min(_MOST_TASKS, -(-num_shards // _SHARDS_PER_TASK))


class Partitioned(ShardWork):
    """A barrier whose tasks share the work of a whole input between them.

    partitions: how many tasks; default by the number of shards. memory_gib: bounds what a task holds, never what comes
    out. epoch: the label of the shards it is about; None: all.
    """

    kind: ClassVar[Kind] = "work"
    barrier: ClassVar[bool] = True
    runtime: ClassVar[tuple[str, ...]] = ("memory_gib",)

    partitions: int | None = Field(default=None, ge=1)
    memory_gib: float = Field(default=1.0, gt=0)
    epoch: str | None = None

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """A task per partition, each of which reads all of every input, or the epoch's shards where it has some."""
        counted = next(role for role in PER_SHARD if role in shards)
        count = num_partitions(len(shards[counted].shards(self.epoch)), self.partitions)
        own = None if self.epoch is None else Epochs((self.epoch,))
        needs: dict[str, Needs] = {role: own if role in PER_SHARD else None for role in shards}
        check_addressable(shards[counted].count)
        return [TaskPlan(k, needs) for k in range(count)]

    @property
    def memory_bytes(self) -> int:
        """What a task may hold."""
        return max(1, int(self.memory_gib * 2**30))


def own_range(task: int, num_shards: int, partitions: int | None) -> KeyRange:
    """The keys of one of those tasks."""
    return list(ALL.split(num_partitions(num_shards, partitions)))[task]
