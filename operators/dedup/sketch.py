"""What deduplication reads of documents, once: identity, exact hash, length, date, signature."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from operators.dedup.order import date_keys, id_pairs, source_keys, value_column, word_pairs
from operators.kernels.buffers import OffsetArray, TextBuffers, text_buffers
from operators.kernels.minhash import minhash, slots
from operators.kernels.shingles import HashArray
from pipeline.documents import SCHEMA
from pipeline.errors import UserError
from pipeline.rejects import languages, sources

Arrays = dict[str, npt.NDArray[Any]]
Shingled = tuple[HashArray, OffsetArray]
"""What ``shingle_hashes`` gives: hashes of all n-grams, and where those of each document begin."""


@contextmanager
def naming_step(node: str) -> Iterator[None]:
    """A user's mistake that shows only in the documents names the step."""
    try:
        yield
    except UserError as error:
        msg = f"step {node.partition('.')[0]!r}: {error}"
        raise UserError(msg) from error


def sketch(docs: pa.Table, shingled: Shingled | None, num_perm: int, values: Sequence[str] = ()) -> Arrays:
    """The columns of a sketch of N documents, but for ``group``.

    ``id`` and ``hash`` (xxh3-128 of the text's bytes): uint64 (N, 2). ``bytes`` of the text and ``date`` (see
    ``order.date_keys``): uint64 (N,). ``text``: bool (N,), false where it is null. ``source`` (see
    ``order.source_keys``): uint64 (N,). For each of ``values``, columns of the documents, ``value.<column>``: float64
    (N,), NaN where there is no number. With shingles, those of ``shingle_hashes``: ``shingles``: uint32 (N,), n-grams
    with repeats, and ``slots``: uint8 (N, num_perm).

    Raises:
        UserError: the ids are not 16 bytes each, or a column of ``values`` is missing or holds no numbers.
    """
    texts = text_buffers(docs["text"])
    columns: Arrays = {
        "id": id_pairs(docs, "dedup"),
        "hash": word_pairs(_text_hashes(texts)),
        "bytes": np.diff(texts.offsets).astype(np.uint64),
        "date": _dates(docs),
        "text": texts.valid,
        "source": _sources(docs),
        **{value_column(name): _numbers(docs, name) for name in values},
    }
    if shingled is not None:
        hashes, starts = shingled
        columns["shingles"] = np.diff(starts).astype(np.uint32)
        columns["slots"] = slots(minhash(hashes, starts, num_perm))
    return columns


def _text_hashes(texts: TextBuffers) -> bytes:
    data, bounds = texts.data.data, texts.offsets.tolist()
    digest = xxhash.xxh3_128_digest
    return b"".join([digest(data[bounds[k] : bounds[k + 1]]) for k in range(len(bounds) - 1)])


def _dates(docs: pa.Table) -> npt.NDArray[np.uint64]:
    dates = docs["date"].combine_chunks() if "date" in docs.column_names else pa.nulls(docs.num_rows, pa.string())
    return date_keys(dates)


def _sources(docs: pa.Table) -> npt.NDArray[np.uint64]:
    names, codes = coded(pa.chunked_array([sources(docs)]))
    return source_keys(names)[codes]


def _numbers(docs: pa.Table, name: str) -> npt.NDArray[np.float64]:
    """A column as numbers; NaN where it is null. Whole numbers beyond 2**53 are rounded."""
    if docs.num_rows == 0:
        return np.empty(0)  # a shard in which nothing was read has no schema
    if name not in docs.column_names:
        near = difflib.get_close_matches(name, docs.column_names, n=1)
        meant = f", did you mean {near[0]!r}?" if near else ""
        columns = ", ".join(docs.column_names)
        msg = f"keep: the documents have no column {name!r} to choose by{meant}; they have {columns}"
        raise UserError(msg)
    column = docs[name].combine_chunks()
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)):
        typed = f" (column_types: {{{name}: float}} on the read step reads one)" if name not in SCHEMA.names else ""
        msg = f"keep: column {name!r} holds {column.type}, not numbers; choose by a column of numbers{typed}"
        raise UserError(msg)
    column = column.cast(pa.uint8()) if pa.types.is_boolean(column.type) else column
    return pc.fill_null(column.cast(pa.float64(), safe=False), float("nan")).to_numpy(zero_copy_only=False)


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


def sorted_hashes(columns: Arrays) -> Arrays:
    """The text hashes of every row that has a text: ``high``, ``low`` and ``row``, by all three."""
    rows = np.flatnonzero(columns["text"]).astype(np.uint32)
    hashes = columns["hash"][rows]
    order = np.lexsort((hashes[:, 1], hashes[:, 0]))
    return {"high": hashes[order, 0], "low": hashes[order, 1], "row": rows[order]}
