"""Signatures of documents, taken in the pass that makes them; everything deduplication ever reads of a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pydantic import Field

from operators.dedup.columns import Columns, open_columns, write_columns
from operators.dedup.order import date_keys, word_pairs
from operators.kernels.buffers import TextBuffers, text_buffers
from operators.kernels.fold import SHA256
from operators.kernels.minhash import band_keys, minhash, slots
from operators.kernels.shingles import shingle_hashes
from pipeline.documents import ID_TYPE
from pipeline.value import Value
from pipeline.work import Kind, Output, Result, Shard, Sink, StreamWork, Task

SKETCH, RUN, EXACT = ".sketch", ".run", ".exact"


class Bands(Value):
    """Word n-grams, and a signature of ``bands * rows`` slots: one bucket per band of ``rows`` slots."""

    ngram: int = Field(default=5, ge=1, le=1000)
    bands: int = Field(default=14, ge=1, le=1000)
    rows: int = Field(default=8, ge=1, le=1000)

    @property
    def num_perm(self) -> int:
        """Slots of the signature."""
        return self.bands * self.rows


class Signatures(StreamWork):
    """Per shard of documents: a sketch of every row, the bucket keys sorted, and the exact hashes sorted.

    ``.sketch``, in row order: ``id`` and ``hash`` (xxh3-128 of the text's bytes) as uint64 pairs, ``bytes`` of the
    text, ``date`` as a number, ``group`` (an index into the parameter ``groups`` of ``source|language``), ``text``
    (false where it is null), ``shingles`` (n-grams with repeats), ``slots`` (one byte per permutation).
    ``.run``: ``key`` and ``row``, sorted, one per band of every document that has a shingle; shorter ones have none,
    so that they only ever equal their exact copies. ``.exact``: ``hash`` and ``row``, sorted, texts that are null left out.
    Files of signatures that differ in n-gram, bands, rows, or the fold table do not mix. The threshold and the choice
    of the survivor are not in them, so moving those reads no text again.
    """

    kind: ClassVar[Kind] = "work"

    exact: bool = True
    bands: Bands | None = Bands()

    def open(self, task: Task) -> Sink:
        """A sink for one shard."""
        return _SignatureSink(self, task)

    @property
    def parameters(self) -> dict[str, Any]:
        """What files must have been made with to be read together."""
        if self.bands is None:
            return {"bands": 0}
        return {"fold": SHA256, "ngram": self.bands.ngram, "bands": self.bands.bands, "rows": self.bands.rows}

    def sketches(self, shards: Sequence[Shard]) -> Iterator[tuple[int, Columns]]:
        """The sketches of shards with their numbers, opened as they are asked for."""
        for shard in shards:
            yield shard.index, open_columns(shard.file(SKETCH), "sketch", self.parameters)


class _SignatureSink(Sink):
    """Collects some 350 bytes a document until the shard ends."""

    def __init__(self, work: Signatures, task: Task) -> None:
        self._work = work
        self._task = task
        self._parts: list[dict[str, npt.NDArray[Any]]] = []
        self._groups: list[pa.Array] = []

    def add(self, docs: pa.Table) -> pa.Table:
        texts = text_buffers(docs["text"])
        part: dict[str, npt.NDArray[Any]] = {
            "id": _ids(docs),
            "hash": word_pairs(_text_hashes(texts)),
            "bytes": np.diff(texts.offsets).astype(np.uint64),
            "date": _dates(docs),
            "text": texts.valid,
        }
        if (bands := self._work.bands) is not None:
            hashes, starts = shingle_hashes(docs["text"], bands.ngram)
            part["shingles"] = np.diff(starts).astype(np.uint32)
            part["slots"] = slots(minhash(hashes, starts, bands.num_perm))
        self._parts.append(part)
        self._groups.append(_group_names(docs))
        return docs

    def close(self) -> Result:
        work = self._work
        sketch = self._joined()
        names, sketch["group"] = _coded(pa.chunked_array(self._groups, pa.string()))
        outputs = [self._write(SKETCH, "sketch", sketch, {"groups": names})]
        records = 0
        if work.bands is not None:
            run = _sorted_run(sketch, work.bands)
            records = len(run["key"])
            outputs.append(self._write(RUN, "run", run, {}))
        if work.exact:
            outputs.append(self._write(EXACT, "exact", _sorted_hashes(sketch), {}))
        return Result(outputs, facts={"rows": len(sketch["group"]), "records": records})

    def _joined(self) -> dict[str, npt.NDArray[Any]]:
        if not self._parts:
            empty = pa.table({"id": pa.array([], ID_TYPE), "text": pa.array([], pa.large_string()), "source": pa.array([], pa.string())})
            self.add(empty)
        return {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}

    def _write(self, suffix: str, kind: str, arrays: Mapping[str, npt.NDArray[Any]], more: dict[str, Any]) -> Output:
        path = self._task.scratch / f"signatures{suffix}"
        write_columns(path, kind, {**self._work.parameters, **more}, arrays)
        return Output(path, suffix)


def _ids(docs: pa.Table) -> npt.NDArray[np.uint64]:
    column = docs["id"]
    if column.type != ID_TYPE or column.null_count:
        msg = f"dedup needs 16-byte ids without nulls, got {column.type} with {column.null_count} nulls; read them with a reader"
        raise TypeError(msg)
    array = column.combine_chunks()
    if len(array) == 0:
        return np.zeros((0, 2), np.uint64)
    return word_pairs(memoryview(array.buffers()[1])[array.offset * 16 : (array.offset + len(array)) * 16])


def _text_hashes(texts: TextBuffers) -> bytes:
    data, bounds = memoryview(texts.data), texts.offsets.tolist()
    digest = xxhash.xxh3_128_digest
    return b"".join([digest(data[bounds[k] : bounds[k + 1]]) for k in range(len(bounds) - 1)])


def _dates(docs: pa.Table) -> npt.NDArray[np.uint64]:
    dates = docs["date"].combine_chunks() if "date" in docs.column_names else pa.nulls(docs.num_rows, pa.string())
    return date_keys(dates)


def _group_names(docs: pa.Table) -> pa.Array:
    """``source|language`` of each row, as ledgers name their groups."""
    columns = []
    for name in ("source", "language.label"):
        column = docs[name].combine_chunks() if name in docs.column_names else pa.nulls(docs.num_rows, pa.string())
        columns.append(pc.fill_null(column.cast(pa.string()), "und"))
    return pc.binary_join_element_wise(*columns, "|")


def _coded(names: pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.uint32]]:
    """The distinct names, sorted, and the number of each row's."""
    encoded = names.combine_chunks().dictionary_encode()
    found = encoded.dictionary.to_pylist()
    rank = {name: position for position, name in enumerate(sorted(found))}
    codes = np.array([rank[name] for name in found], np.uint32)
    return sorted(found), codes[encoded.indices.to_numpy()]


def _sorted_run(sketch: Mapping[str, npt.NDArray[Any]], bands: Bands) -> dict[str, npt.NDArray[Any]]:
    rows = np.flatnonzero(sketch["shingles"]).astype(np.uint32)
    keys = band_keys(sketch["slots"][rows], bands.bands, bands.rows).ravel()
    order = np.argsort(keys, kind="stable")
    return {"key": keys[order], "row": np.repeat(rows, bands.bands)[order]}


def _sorted_hashes(sketch: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    rows = np.flatnonzero(sketch["text"]).astype(np.uint32)
    hashes = sketch["hash"][rows]
    order = np.lexsort((hashes[:, 1], hashes[:, 0]))
    return {"high": hashes[order, 0], "low": hashes[order, 1], "row": rows[order]}
