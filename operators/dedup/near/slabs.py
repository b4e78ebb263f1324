"""The survivor rule for a component that does not fit in memory: slab by slab, in content order.

The fate of a document hangs only on those before it that stay and share a bucket with it, the first 64 of each bucket.
So a slab of the order is decided by itself, with those of earlier slabs put before it; where the cuts lie changes
nothing. What stays goes into scratch files: the keys of each slab as a sorted run, and the signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from operators.dedup.external_sort import ExternalSort, Rows, merged, write_run
from operators.dedup.near.removals import Decided
from operators.dedup.near.rows import SketchRows
from operators.dedup.near.runs import Bands
from operators.kernels.buffers import ByteArray
from operators.kernels.minhash import band_keys
from operators.kernels.shingles import KeyArray
from operators.kernels.survivors import MOST_REPRESENTATIVES

Decide = Callable[[KeyArray, ByteArray, int], Decided]
"""Decides documents in content order by their addresses and slots; the first so many stay whatever they are like."""

_ENTRY_BYTES = 64  # of a key and the document it leads to, while they are looked up


def bytes_per_document(bands: int, num_perm: int) -> int:
    """What deciding a document takes: its slots twice, keys, buckets and entries, identity and order."""
    return 2 * num_perm + 48 * bands + 160


class Slabs:
    """Decides one component, however large.

    Memory: ``memory_bytes``, as long as one document and those of its buckets (64 a band at most) fit. Scratch: the
    order, some 50 bytes a document, and ``num_perm + 16 * bands`` bytes for each that stays.
    """

    def __init__(self, rows: SketchRows, bands: Bands, decide: Decide, scratch: Path, memory_bytes: int) -> None:
        self._rows = rows
        self._bands = bands
        self._decide = decide
        self._scratch = scratch
        self._memory = memory_bytes // 2
        self._sort_memory = memory_bytes // 4
        self._kept = _Kept(scratch, memory_bytes // 4)

    def run(self, at: KeyArray) -> Iterator[tuple[KeyArray, Decided]]:
        """Decide the documents at these sorted addresses, which may be mapped from a file; one slab at a time."""
        per_document = bytes_per_document(self._bands.bands, self._rows.signatures.num_perm)
        most = max(1, self._memory // per_document)
        order = ExternalSort(self._scratch, "order", self._sort_memory)
        for first in range(0, len(at), most):
            part = np.array(at[first : first + most])
            order.add(self._rows.keys(part))
        for rows in order.chunks():
            ordered, start = rows[-1], 0
            while start < len(ordered):
                slab, slots, earlier = self._fitting(ordered[start : start + most], per_document)
                yield self._decided(slab, slots, earlier)
                start += len(slab)
        order.remove()
        self._kept.remove()

    def _fitting(self, slab: KeyArray, per_document: int) -> tuple[KeyArray, ByteArray, tuple[KeyArray, KeyArray]]:
        """As many documents as fit with those that stay in their buckets: addresses, slots, (keys, kept documents)."""
        while True:
            slots = self._slots(slab)
            keys = np.unique(band_keys(slots, self._bands.bands, self._bands.rows))
            free = self._memory - len(slab) * per_document
            if len(slab) == 1 or self._kept.count(keys) * _ENTRY_BYTES <= max(free, self._memory // 2):
                found = self._kept.find(keys)
                if len(slab) == 1 or len(np.unique(found[1])) * per_document <= max(free, self._memory // 2):
                    return slab, slots, found
            slab = slab[: len(slab) // 2]

    def _slots(self, at: KeyArray) -> ByteArray:
        by_row = np.argsort(at)
        gathered = self._rows.gather(at[by_row], ("slots",))["slots"]
        slots = np.empty_like(gathered)
        slots[by_row] = gathered
        return slots

    def _decided(self, slab: KeyArray, slots: ByteArray, found: tuple[KeyArray, KeyArray]) -> tuple[KeyArray, Decided]:
        keys, numbers = found
        kept = np.unique(numbers)
        before, before_slots = self._kept.documents(kept)
        at = np.concatenate([before, slab])
        num_kept = len(before) + self._rows.num_earlier(slab)
        decided = self._decide(at, np.concatenate([before_slots, slots]) if len(before) else slots, num_kept)
        stays = np.flatnonzero(decided.rep[len(before) :] < 0)
        self._kept.add(slab[stays], slots[stays], self._new_entries(slots[stays], keys))
        return at, decided

    def _new_entries(self, slots: ByteArray, keys: KeyArray) -> tuple[KeyArray, KeyArray]:
        """Keys and positions of documents that stay, those that their bucket still takes; sorted by both."""
        own = band_keys(slots, self._bands.bands, self._bands.rows).ravel()
        doc = np.repeat(np.arange(len(slots), dtype=np.uint64), self._bands.bands)
        order = np.argsort(own, kind="stable")
        own, doc = own[order], doc[order]
        there = np.searchsorted(keys, own, side="right") - np.searchsorted(keys, own, side="left")
        place = there + np.arange(len(own)) - np.searchsorted(own, own)
        taken = place < MOST_REPRESENTATIVES
        return own[taken], doc[taken]


class _Kept:
    """Documents that stay, numbered in content order: their keys in sorted runs, addresses and slots in files.

    Two runs of which the older is less than twice as long become one, so that there are few: at most the logarithm of
    the entries.
    """

    def __init__(self, scratch: Path, memory_bytes: int) -> None:
        self._scratch = scratch
        self._limit = max(2, memory_bytes // 80)
        self._runs: list[tuple[Path, Rows]] = []
        self._num_runs = 0
        self._num_documents = 0
        self._at = scratch / "kept.at"
        self._slots = scratch / "kept.slots"

    def count(self, keys: KeyArray) -> int:
        """How many entries these sorted keys have."""
        return sum(int((_end(run, keys) - _begin(run, keys)).sum()) for _, run in self._runs)

    def find(self, keys: KeyArray) -> tuple[KeyArray, KeyArray]:
        """The entries of these sorted keys: key and document number, sorted by both."""
        parts = [np.empty((2, 0), np.uint64)]
        for _, run in self._runs:
            first, end = _begin(run, keys), _end(run, keys)
            size = end - first
            place = np.repeat(first - np.cumsum(size) + size, size) + np.arange(size.sum())
            parts.append(np.stack([run[0][place], run[1][place]]))
        key, number = np.concatenate(parts, axis=1)
        order = np.lexsort((number, key))
        return key[order], number[order]

    def documents(self, numbers: KeyArray) -> tuple[KeyArray, ByteArray]:
        """Addresses and slots of documents by number."""
        if len(numbers) == 0:
            return np.empty(0, np.uint64), np.empty((0, 0), np.uint8)
        slots = np.memmap(self._slots, np.uint8, "r").reshape(self._num_documents, -1)
        return np.memmap(self._at, np.uint64, "r")[numbers], np.asarray(slots[numbers])

    def add(self, at: KeyArray, slots: ByteArray, entries: tuple[KeyArray, KeyArray]) -> None:
        """Take documents that stay, after all taken before, and their entries."""
        if len(at) == 0:
            return
        for path, array in ((self._at, at), (self._slots, slots)):
            with path.open("ab") as file:
                np.ascontiguousarray(array).tofile(file)
        key, position = entries
        if len(key):
            self._write([[key, position + np.uint64(self._num_documents)]], len(key))
        self._num_documents += len(at)
        while len(self._runs) > 1 and _length(self._runs[-2]) < 2 * _length(self._runs[-1]):
            pair = [self._runs.pop(), self._runs.pop()]
            self._write(merged([run for _, run in pair], self._limit), sum(map(_length, pair)))
            for path, _ in pair:
                path.unlink()

    def _write(self, parts: Iterator[Rows] | list[Rows], size: int) -> None:
        path = self._scratch / f"kept.{self._num_runs}.keys"
        self._runs.append((path, write_run(path, parts, size)))
        self._num_runs += 1

    def remove(self) -> None:
        """Delete the files."""
        for path in (self._at, self._slots, *(path for path, _ in self._runs)):
            path.unlink(missing_ok=True)
        self._runs, self._num_documents = [], 0


def _length(run: tuple[Path, Rows]) -> int:
    return len(run[1][0])


def _begin(run: Rows, keys: KeyArray) -> npt.NDArray[np.int64]:
    return np.searchsorted(run[0], keys, side="left").astype(np.int64)


def _end(run: Rows, keys: KeyArray) -> npt.NDArray[np.int64]:
    return np.searchsorted(run[0], keys, side="right").astype(np.int64)
