"""What deduplication reads of documents, once: identity, exact hash, length, date, signature."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pydantic import Field

from operators.dedup.order import date_keys, word_pairs
from operators.kernels.buffers import TextBuffers, text_buffers
from operators.kernels.minhash import band_keys, minhash, slots
from operators.kernels.shingles import shingle_hashes
from pipeline.documents import ID_TYPE
from pipeline.rejects import languages, sources
from pipeline.value import Value

Arrays = dict[str, npt.NDArray[Any]]


class Bands(Value):
    """Word n-grams, and a signature of ``bands * rows`` slots: one bucket per band of ``rows`` slots."""

    ngram: int = Field(default=5, ge=1, le=1000)
    bands: int = Field(default=14, ge=1, le=1000)
    rows: int = Field(default=8, ge=1, le=1000)

    @property
    def num_perm(self) -> int:
        """Slots of the signature."""
        return self.bands * self.rows


def sketch(docs: pa.Table, bands: Bands | None) -> Arrays:
    """The columns of a sketch of N documents, but for ``group``.

    ``id`` and ``hash`` (xxh3-128 of the text's bytes): uint64 (N, 2). ``bytes`` of the text and ``date`` (see
    ``order.date_keys``): uint64 (N,). ``text``: bool (N,), false where it is null. With bands ``shingles``: uint32
    (N,), n-grams with repeats, and ``slots``: uint8 (N, P).

    Raises:
        TypeError: the ids are not 16 bytes each; they come from a read step.
    """
    texts = text_buffers(docs["text"])
    columns: Arrays = {
        "id": _ids(docs),
        "hash": word_pairs(_text_hashes(texts)),
        "bytes": np.diff(texts.offsets).astype(np.uint64),
        "date": _dates(docs),
        "text": texts.valid,
    }
    if bands is not None:
        hashes, starts = shingle_hashes(docs["text"], bands.ngram)
        columns["shingles"] = np.diff(starts).astype(np.uint32)
        columns["slots"] = slots(minhash(hashes, starts, bands.num_perm))
    return columns


def _ids(docs: pa.Table) -> npt.NDArray[np.uint64]:
    column = docs["id"]
    if column.type != ID_TYPE or column.null_count:
        found = f"{column.type} with {column.null_count} nulls"
        msg = f"dedup needs 16-byte ids without nulls, got {found}; let a read step give them"
        raise TypeError(msg)
    array = column.combine_chunks()
    if len(array) == 0:
        return np.zeros((0, 2), np.uint64)
    buffers: list[Any] = array.buffers()
    return word_pairs(memoryview(buffers[1])[array.offset * 16 : (array.offset + len(array)) * 16])


def _text_hashes(texts: TextBuffers) -> bytes:
    data, bounds = texts.data.data, texts.offsets.tolist()
    digest = xxhash.xxh3_128_digest
    return b"".join([digest(data[bounds[k] : bounds[k + 1]]) for k in range(len(bounds) - 1)])


def _dates(docs: pa.Table) -> npt.NDArray[np.uint64]:
    dates = docs["date"].combine_chunks() if "date" in docs.column_names else pa.nulls(docs.num_rows, pa.string())
    return date_keys(dates)


def group_names(docs: pa.Table) -> pa.Array:
    """``source|language`` of each row, as ledgers name their groups."""
    names: Any = pc.binary_join_element_wise(sources(docs), languages(docs), pa.scalar("|"))
    return names


def coded(names: pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.uint32]]:
    """The distinct names, sorted, and the number of each row's."""
    encoded = names.combine_chunks().dictionary_encode()
    found: list[Any] = encoded.dictionary.to_pylist()
    rank = {name: position for position, name in enumerate(sorted(found))}
    codes = np.array([rank[name] for name in found], np.uint32)
    return sorted(found), codes[encoded.indices.to_numpy()]


def sorted_run(columns: Arrays, bands: Bands) -> Arrays:
    """The bucket keys of every row that has a shingle: ``key`` and ``row``, by both."""
    rows = np.flatnonzero(columns["shingles"]).astype(np.uint32)
    keys = band_keys(columns["slots"][rows], bands.bands, bands.rows).ravel()
    order = np.argsort(keys, kind="stable")
    return {"key": keys[order], "row": np.repeat(rows, bands.bands)[order]}


def sorted_hashes(columns: Arrays) -> Arrays:
    """The text hashes of every row that has a text: ``high``, ``low`` and ``row``, by all three."""
    rows = np.flatnonzero(columns["text"]).astype(np.uint32)
    hashes = columns["hash"][rows]
    order = np.lexsort((hashes[:, 1], hashes[:, 0]))
    return {"high": hashes[order, 0], "low": hashes[order, 1], "row": rows[order]}
