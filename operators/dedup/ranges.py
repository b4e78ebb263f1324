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
from pipeline.work import Extent, Kind, ShardWork, TaskPlan

_ALL_KEYS = 1 << 64
_SHARDS_PER_TASK = 8  # a task per 8 shards keeps the workers busy and the files few
_MOST_TASKS = 128  # every task opens every run, and two files of every partition stay open together
_BYTES_PER_RECORD = 64  # key, address, sort order, and the copies that sorting makes


@dataclass(frozen=True)
class KeyRange:
    """Keys from ``first`` up to, not including, ``end``."""

    first: int
    end: int

    def split(self, parts: int) -> Iterator[KeyRange]:
        """Equal ranges that cover this one."""
        width = self.end - self.first
        for k in range(parts):
            yield KeyRange(self.first + width * k // parts, self.first + width * (k + 1) // parts)

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

        Keys are hashes, so equal widths hold about equal numbers; only equal keys cannot be parted.
        """
        records = 0
        for _, file in self.open():
            found = keys.within(file[self.key])
            records += found.stop - found.start
        parts = max(1, -(-records * _BYTES_PER_RECORD // int(memory_gib * 2**30)))
        return list(keys.split(parts))


def num_partitions(num_shards: int, partitions: int | None) -> int:
    """How many tasks share the keys of that many shards: as asked, else one per 8 shards, 128 at most."""
    return 0 if num_shards == 0 else partitions or min(_MOST_TASKS, -(-num_shards // _SHARDS_PER_TASK))


class Partitioned(ShardWork):
    """A barrier whose tasks each own a range of keys and read that range of every shard.

    partitions: how many; default by the number of shards. memory_gib: bounds a task's slices, never what comes out.
    """

    kind: ClassVar[Kind] = "work"
    barrier: ClassVar[bool] = True
    runtime: ClassVar[tuple[str, ...]] = ("memory_gib",)

    partitions: int | None = Field(default=None, ge=1)
    memory_gib: float = Field(default=1.0, gt=0)

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """A task per partition, each of which reads all shards of every input."""
        count = num_partitions(shards["signatures"].count, self.partitions)
        return [TaskPlan(k, dict.fromkeys(shards)) for k in range(count)]


def own_range(task: int, num_shards: int, partitions: int | None) -> KeyRange:
    """The keys of one of those tasks."""
    return list(ALL.split(num_partitions(num_shards, partitions)))[task]
