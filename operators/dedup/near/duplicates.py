"""The near duplicates of all tasks of the clusters, looked up by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from operators.dedup.columns import open_columns
from operators.dedup.lookup import found_in
from operators.dedup.near.removals import NEAR, SIZES
from operators.dedup.order import shard_range, shards_of
from operators.dedup.sketch import Arrays
from operators.kernels.shingles import KeyArray
from pipeline.work import Shard

NOT_REDIRECTED = np.uint64((1 << 64) - 1)
"""Number of equal slots of a row that stays, see ``Near.redirect``."""

_NO_ROWS = np.empty(0, np.uint64)
_NO_NEAR: Arrays = {
    "row": _NO_ROWS,
    "rep": _NO_ROWS,
    "rep_id": _NO_ROWS.reshape(0, 2),
    "equal": _NO_ROWS.astype(np.uint32),
    "size": _NO_ROWS,
    "similarity": np.empty(0),
}
_NO_SIZES: Arrays = {"row": _NO_ROWS, "size": _NO_ROWS}


class Near:
    """The near duplicates and the survivors of all tasks; none where none were looked for.

    The files are checked and stay mapped, without file descriptors; what is asked for is read.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._removed = [open_columns(shard.file(NEAR), "near", verify=True) for shard in shards]
        self._sizes = [open_columns(shard.file(SIZES), "sizes", verify=True) for shard in shards]

    def shards(self) -> set[int]:
        """The shards that have near duplicates."""
        return {shard for file in self._removed for shard in np.unique(shards_of(file["row"])).tolist()}

    def of_shard(self, shard: int) -> Arrays:
        """The near duplicates of a shard, by row."""
        parts = [(file, shard_range(file["row"], shard)) for file in self._removed]
        return _joined(_NO_NEAR, [{name: file[name][own] for name in _NO_NEAR} for file, own in parts])

    def rows_of_shard(self, shard: int) -> KeyArray:
        """The addresses of a shard's near duplicates, in no order."""
        parts = [file["row"][shard_range(file["row"], shard)] for file in self._removed]
        return np.concatenate([_NO_ROWS, *parts])

    def reps(self) -> Iterator[KeyArray]:
        """The document that stays, for each near duplicate; task by task."""
        for file in self._removed:
            yield file["rep"]

    def sizes_of_shard(self, shard: int) -> Arrays:
        """The survivors of a shard and the sizes of their clusters."""
        parts = [(file, shard_range(file["row"], shard)) for file in self._sizes]
        return _joined(_NO_SIZES, [{name: file[name][own] for name in _NO_SIZES} for file, own in parts])

    def redirect(self, rep: KeyArray, rep_id: KeyArray) -> KeyArray:
        """Put for each of these rows, if it went, the one that stays for it.

        Returns the equal slots of the two, ``NOT_REDIRECTED`` where the row stays.
        """
        equal = np.full(len(rep), NOT_REDIRECTED)
        at = rep.copy()
        for file in self._removed:
            hit, where = found_in(file["row"], at)
            rep[hit], rep_id[hit], equal[hit] = file["rep"][where], file["rep_id"][where], file["equal"][where]
        return equal

    def similarities(self, at: KeyArray) -> npt.NDArray[np.float64]:
        """What was counted of each of these rows and the one that stays for it; NaN where nothing was."""
        similarity = np.full(len(at), np.nan)
        for file in self._removed:
            hit, where = found_in(file["row"], at)
            similarity[hit] = file["similarity"][where]
        return similarity

    def resize(self, rep: KeyArray, size: KeyArray) -> None:
        """Put the sizes of the clusters of these survivors where they have one."""
        for file in self._sizes:
            hit, where = found_in(file["row"], rep)
            size[hit] = file["size"][where]


def _joined(empty: Arrays, parts: Sequence[Arrays]) -> Arrays:
    """Parts of the columns, by row."""
    joined = {name: np.concatenate([none, *(part[name] for part in parts)]) for name, none in empty.items()}
    order = np.argsort(joined["row"])
    return {name: array[order] for name, array in joined.items()}
