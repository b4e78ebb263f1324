"""What was decided before: documents that stay in earlier epochs and in other runs, as their indexes hold them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import orjson

from operators.dedup.columns import Columns, open_columns
from operators.dedup.lookup import found_in
from operators.dedup.ranges import ALL
from operators.kernels.shingles import KeyArray
from operators.kernels.survivors import MOST_REPRESENTATIVES
from pipeline.commit import Commit
from pipeline.errors import RunFailedError
from pipeline.shards import CommittedShard, ShardSpec
from pipeline.storage import Storage
from pipeline.value import Strings, Value
from pipeline.work import Shard, Task

KEYS, HASHES, KEPT, ADDED = ".keys", ".hashes", ".kept", ".added"
"""The files of an index, see ``index.Index``."""

ROLE = "level:"
"""Inputs ``level:0``, ``level:1``, … of a node are the indexes of the epochs before its own, oldest first."""

SAME_TEXT = 65535
"""Stands for a number of equal slots where two texts are the same."""

LEVEL_SHIFT = np.uint64(56)
_SHARD_SHIFT = np.uint64(32)
_OWN = np.uint64((1 << 56) - 1)

Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]


class EarlierRun(Value):
    """The index of a dedup step of another run. What it holds is in a fingerprint, where it lies is not.

    run: the run's folder or URI. datasets: its index datasets, an epoch each, oldest first. manifests: the sha256 of
    the manifest of each.
    """

    runtime: ClassVar[tuple[str, ...]] = ("run", "datasets")

    run: str
    datasets: Strings
    manifests: Strings

    def shards(self) -> Iterator[list[CommittedShard]]:
        """The shards of each dataset.

        Raises:
            RunFailedError: an index is not there any more, or is another than when this run was planned.
        """
        storage = Storage(self.run)
        for folder, expected in zip(self.datasets, self.manifests, strict=True):
            name = f"{folder}/manifest.json"
            found = storage.read_bytes(name) if storage.exists(name) else b""
            if hashlib.sha256(found).hexdigest() != expected:
                state = "not the one that was there" if found else "gone that was there"
                msg = f"{self.run}/{name} is {state} when this run was planned; run the same command again"
                raise RunFailedError(msg)
            commits = [Commit.from_json(shard) for shard in orjson.loads(found)["shards"]]
            yield [CommittedShard(ShardSpec.of(commit, folder, "work"), storage) for commit in commits]


@dataclass(frozen=True)
class _Index:
    """One index. numbers: for each level in its addresses, the same level in ours, -1 where we do not have it."""

    shards: Sequence[Shard]
    numbers: npt.NDArray[np.int16]

    @property
    def level(self) -> int:
        """The level of its documents in our addresses."""
        return int(self.numbers[0])

    def overlapping(self, keys: KeyArray) -> Iterator[tuple[Shard, slice]]:
        """The shards whose range of keys or hashes holds some of these sorted ones, and which."""
        for shard, own in zip(self.shards, ALL.split(len(self.shards)), strict=True):
            part = own.within(keys)
            if part.stop > part.start:
                yield shard, part

    def added(self, at: KeyArray) -> KeyArray:
        """How many documents went for each of these, addressed as the index does, in its level."""
        added = np.zeros(len(at), np.uint64)
        for shard in self.shards:
            file = open_columns(shard.file(ADDED), "added")
            hit, where = found_in(file["row"], at)
            added[hit] += file["added"][where]
        return added

    def translated(self, at: KeyArray) -> tuple[Flags, KeyArray]:
        """Which addresses are of a level that we have, and those in ours."""
        level = self.numbers[at >> LEVEL_SHIFT]
        known = level >= 0
        return known, at[known] & _OWN | level[known].astype(np.uint64) << LEVEL_SHIFT


class Known(NamedTuple):
    """What earlier levels know of N texts: (N,) each, the ids (N, 2).

    hit: whether they know it. rep, rep_id: address and id of the document that stays for it. equal: the slots in which
    the signatures of the two agree, ``SAME_TEXT`` where that document has this very text. similarity: what was counted
    of the two, NaN where nothing was.
    """

    hit: Flags
    rep: KeyArray
    rep_id: KeyArray
    equal: npt.NDArray[np.uint16]
    similarity: npt.NDArray[np.float64]

    @classmethod
    def nothing(cls, count: int) -> Known:
        """So many texts that nobody knows."""
        rep, rep_id = np.zeros(count, np.uint64), np.zeros((count, 2), np.uint64)
        same = np.full(count, SAME_TEXT, np.uint16)
        return cls(np.zeros(count, np.bool_), rep, rep_id, same, np.full(count, np.nan))


class Levels:
    """The indexes of earlier levels, oldest first: other runs in the order given, then earlier epochs; false without any.

    Files are opened as they are asked for and searched in place.
    """

    def __init__(self, indexes: Sequence[_Index]) -> None:
        self._indexes = indexes
        entries = [
            (np.uint64(index.level << 24 | number), rank, position)
            for rank, index in enumerate(indexes)
            for position, shard in enumerate(index.shards)
            for number in shard.facts["shards"]
        ]
        self._place = np.array([entry[0] for entry in entries], np.uint64)
        order = np.argsort(self._place)
        self._place = self._place[order]
        self._holder = np.array([entry[1:] for entry in entries], np.int64).reshape(-1, 2)[order]

    @classmethod
    def of(cls, task: Task, against: Sequence[EarlierRun] = ()) -> Self:
        """The levels before a task: its inputs ``level:<n>``, and other runs before those."""
        runs = [
            _Index(shards, _numbers(position + 1, shards, against))
            for position, run in enumerate(against)
            for shards in run.shards()
        ]
        same = np.arange(256, dtype=np.int16)
        num_epochs = sum(role.startswith(ROLE) for role in task.inputs)
        return cls([*runs, *(_Index(task.inputs[f"{ROLE}{number}"], same) for number in range(num_epochs))])

    def __bool__(self) -> bool:
        return bool(self._indexes)

    def buckets(self, keys: KeyArray) -> tuple[Indices, KeyArray]:
        """The documents of earlier levels that share these sorted, distinct keys, the first 64 of each.

        Returns position in ``keys`` and address of each, by key, then by level and content order.
        """
        positions, found = [np.empty(0, np.intp)], [np.empty(0, np.uint64)]
        for index in self._indexes:
            for shard, part in index.overlapping(keys):
                file = open_columns(shard.file(KEYS), "keys")
                first = np.searchsorted(file["key"], keys[part], side="left")
                count = np.searchsorted(file["key"], keys[part], side="right") - first
                member = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
                positions.append(np.repeat(np.arange(part.start, part.stop), count))
                found.append(index.translated(file["at"][np.repeat(first, count) + member])[1])
        position, at = np.concatenate(positions), np.concatenate(found)
        order = np.argsort(position, kind="stable")
        position, at = position[order], at[order]
        few = np.arange(len(position)) - np.searchsorted(position, position) < MOST_REPRESENTATIVES
        return position[few], at[few]

    def originals(self, high: KeyArray, low: KeyArray) -> Known:
        """For text hashes, sorted: whether an earlier level knows that text, and what stays for it there.

        Where several levels know a text, the oldest says it.
        """
        known = Known.nothing(len(high))
        for index in self._indexes:
            for shard, part in index.overlapping(high):
                file = open_columns(shard.file(HASHES), "hashes")
                asked, row = _rows_of(file, high[part], low[part])
                ours, at = index.translated(file["rep"][row])
                asked, row = asked[ours] + part.start, row[ours]
                new = ~known.hit[asked]
                asked, row = asked[new], row[new]
                known.hit[asked], known.rep[asked] = True, at[new]
                for name in ("rep_id", "equal", "similarity"):
                    getattr(known, name)[asked] = file[name][row]
        return known

    def gather(self, at: KeyArray, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        """Sketch columns of documents that stay in earlier levels, at these sorted addresses.

        Raises:
            RunFailedError: there is no such document.
        """
        out: dict[str, npt.NDArray[Any]] = {}
        holder = self._holders(at)
        for rank, position in np.unique(holder, axis=0).tolist():
            mine = np.flatnonzero((holder == (rank, position)).all(axis=1))
            file = open_columns(self._indexes[rank].shards[position].file(KEPT), "kept")
            row = np.searchsorted(file["at"], at[mine] & _OWN)
            if len(mine) and (row[-1] >= len(file["at"]) or (file["at"][row] != at[mine] & _OWN).any()):
                msg = f"{file.path} lacks documents that its keys name; delete its dataset's folder and run again"
                raise RunFailedError(msg)
            for name in names:
                column = file[name]
                out.setdefault(name, np.empty((len(at), *column.shape[1:]), column.dtype))[mine] = column[row]
        return out if len(at) else {name: _EMPTY.get(name, np.empty(0, np.uint64)) for name in names}

    def is_earlier(self, at: KeyArray) -> Flags:
        """Which addresses are of earlier levels, and not of the shards now being decided."""
        return found_in(self._place, at >> _SHARD_SHIFT)[0]

    def rank(self, at: KeyArray) -> npt.NDArray[np.int64]:
        """The order of earlier levels, the oldest 0; as many as there are for all other addresses."""
        rank = np.full(len(at), len(self._indexes), np.int64)
        earlier = self.is_earlier(at)
        rank[earlier] = self._holders(at[earlier])[:, 0]
        return rank

    def sizes(self, at: KeyArray) -> KeyArray:
        """How many documents those at these addresses stand for so far, themselves included: 1 where not known."""
        sizes = np.ones(len(at), np.uint64)
        earlier = np.flatnonzero(self.is_earlier(at))
        for level in np.unique(at[earlier] >> LEVEL_SHIFT):
            mine = earlier[at[earlier] >> LEVEL_SHIFT == level]
            for index in self._indexes:
                for theirs in np.flatnonzero(index.numbers == level):
                    sizes[mine] += index.added(at[mine] & _OWN | np.uint64(theirs) << LEVEL_SHIFT)
        return sizes

    def verify(self, suffix: str, task: int, num_tasks: int) -> None:
        """Read a share of the files of one kind whole and check them; all tasks together check each once."""
        files = [shard for index in self._indexes for shard in index.shards]
        for shard in files[task::num_tasks]:
            open_columns(shard.file(suffix), suffix[1:], verify=True)

    def _holders(self, at: KeyArray) -> npt.NDArray[np.int64]:
        """(N, 2): the index, and which of its shards, that holds each of these addresses."""
        if not self.is_earlier(at).all():
            msg = "addresses that no earlier level has"
            raise ValueError(msg)
        return self._holder[np.searchsorted(self._place, at >> _SHARD_SHIFT)]


_EMPTY: Mapping[str, npt.NDArray[Any]] = {
    "id": np.empty((0, 2), np.uint64),
    "hash": np.empty((0, 2), np.uint64),
    "slots": np.empty((0, 0), np.uint8),
}


def _numbers(level: int, shards: Sequence[Shard], against: Sequence[EarlierRun]) -> npt.NDArray[np.int16]:
    """What another run calls its levels, in ours: by what those hold."""
    numbers = np.full(256, -1, np.int16)
    numbers[0] = level
    for theirs, manifests in enumerate(shards[0].facts["against"] if shards else ()):
        for ours, run in enumerate(against):
            if numbers[theirs + 1] < 0 and set(manifests) <= set(run.manifests):
                numbers[theirs + 1] = ours + 1
    return numbers


def _rows_of(file: Columns, high: KeyArray, low: KeyArray) -> tuple[Indices, Indices]:
    """Which of the sorted hashes a file has, and in which row."""
    row = np.searchsorted(file["high"], high)
    asked = np.arange(len(high))
    found_asked, found_row = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
    while len(asked):  # once more for each further row of an equal high half
        inside = row < len(file["high"])
        inside[inside] = file["high"][row[inside]] == high[asked[inside]]
        asked, row = asked[inside], row[inside]
        equal = file["low"][row] == low[asked]
        found_asked.append(asked[equal])
        found_row.append(row[equal])
        asked, row = asked[~equal], row[~equal] + 1
    return np.concatenate(found_asked), np.concatenate(found_row)
