"""The near duplicates of a task, collected and written: who goes, for whom, and how large clusters are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from operators.dedup.columns import write_columns
from operators.dedup.exact import Copies
from operators.dedup.external_sort import ExternalSort, summed
from operators.dedup.growing import GrowingColumns
from operators.dedup.near.rows import SketchRows
from operators.kernels.shingles import KeyArray
from pipeline.work import Output

NEAR, SIZES = ".near", ".sizes"


class Decided(NamedTuple):
    """For each of N documents the position of its representative (-1: it stays), and how alike the two are.

    equal: slots with the same byte. similarity: counted from the texts, NaN where it was not.
    """

    rep: npt.NDArray[np.int64]
    equal: npt.NDArray[np.int64]
    similarity: npt.NDArray[np.float64]


class Removals:
    """Collects removed rows; in scratch files what does not fit in ``memory_bytes``."""

    def __init__(self, scratch: Path, memory_bytes: int) -> None:
        self._scratch = scratch
        self._by_rep = ExternalSort(scratch, "by_rep", memory_bytes // 2)
        self._by_row = ExternalSort(scratch, "by_row", memory_bytes // 2)

    def add(self, at: KeyArray, decided: Decided) -> None:
        """Take what was decided of the rows at these addresses, to which the representatives' positions refer."""
        gone = np.flatnonzero(decided.rep >= 0)
        similarity = decided.similarity[gone].view(np.uint64)
        equal = decided.equal[gone].astype(np.uint64)
        self._by_rep.add([at[decided.rep[gone]], at[gone], equal, similarity])

    def write(self, rows: SketchRows, copies: Copies) -> tuple[list[Output], dict[str, int]]:
        """The files ``.near`` and ``.sizes``, and how many rows each has."""
        near, sizes = GrowingColumns(self._scratch, "near"), GrowingColumns(self._scratch, "sizes")
        none = np.empty(0, np.uint64)
        sizes.add({"row": none, "size": none})
        for rep, members in self._clusters(copies):
            sizes.add({"row": rep, "size": rows.levels.sizes(rep) + copies.added(rep) + members})
        kept = sizes.arrays()
        for rep, row, equal, similarity in self._by_rep.chunks():
            size = kept["size"][np.searchsorted(kept["row"], rep)]
            reps, which = np.unique(rep, return_inverse=True)
            rep_id = rows.gather(reps, ("id",))["id"][which]
            self._by_row.add([row, rep, rep_id[:, 0], rep_id[:, 1], equal, size, similarity])
        near.add(_near([none] * 7))
        for part in self._by_row.chunks():
            near.add(_near(part))
        outputs, counts = [], {}
        for suffix, growing in ((NEAR, near), (SIZES, sizes)):
            arrays = growing.arrays()
            path = self._scratch / f"clusters{suffix}"
            write_columns(path, suffix[1:], {}, arrays)
            outputs.append(Output(path, suffix))
            counts[suffix] = len(arrays["row"])
            growing.remove()
        self._by_rep.remove()
        self._by_row.remove()
        return outputs, counts

    def _clusters(self, copies: Copies) -> Iterator[tuple[KeyArray, KeyArray]]:
        """Each representative, ascending, and how many went for it, with the exact copies of those."""
        return summed((rep, copies.sizes(row)) for rep, row, _, _ in self._by_rep.chunks())


def _near(part: list[KeyArray]) -> dict[str, npt.NDArray[np.generic]]:
    row, rep, high, low, equal, size, similarity = part
    return {
        "row": row,
        "rep": rep,
        "rep_id": np.stack([high, low], axis=1),
        "equal": equal.astype(np.uint32),
        "size": size,
        "similarity": similarity.view(np.float64),
    }
