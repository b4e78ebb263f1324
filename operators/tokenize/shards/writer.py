"""Token shards: one raw payload and small indexes, byte for byte as the common trainers read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from operators.kernels.append_eos import append_eos
from operators.tokenize.engines import Ids
from operators.tokenize.shards.indexes import datatrove_index, datatrove_metadata, megatron_index, olmo_index
from operators.tokenize.shards.reader import id_bytes
from pipeline.documents import ID_TYPE
from pipeline.errors import RunFailedError, UserError
from pipeline.parquet_shard import ParquetShard
from pipeline.rejects import languages, sources
from pipeline.work import Output

COLUMNS = ("id", "source", "language", "url", "num_tokens", "num_bytes", "start", "origin")
"""Columns of ``docs.parquet``; those that were asked for follow."""

MAX_DOCUMENT_TOKENS = (1 << 31) - 1
"""Tokens of one document, end mark included: Megatron's index holds lengths in 32 bits with a sign."""


class ShardWriter:
    """Writes one shard: ``.bin`` as it comes, the rest at the end.

    dtype: little-endian type of a token. eos: id written after each document. name: of the tokenizer, for datatrove.
    keep: further columns of the documents that ``docs.parquet`` holds. Without name nothing is written but what
    ``TokenShard`` reads.
    """

    def __init__(self, folder: Path, *, dtype: np.dtype, eos: int, name: str | None, keep: Sequence[str] = ()) -> None:
        self._folder = folder
        self._dtype = dtype
        self._eos = eos
        self._name = name
        self._keep = tuple(keep)
        self._payload = (folder / "tokens.bin").open("wb")
        self._docs = ParquetShard(folder / "docs.parquet")
        self._lengths = [np.zeros(0, np.int64)]
        self._ids = [np.zeros((0, 16), np.uint8)]
        self.num_tokens = 0
        self.num_docs = 0

    def add(
        self, docs: pa.Table, ids: Ids, *, ends: npt.NDArray[np.int64], num_bytes: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Append documents; returns their lengths in tokens, end mark included.

        ids: tokens back to back. ends: int64 (rows,), where each document ends in them; none may be empty.
        num_bytes: int64 (rows,), UTF-8 bytes of each text.

        Raises:
            RunFailedError: a text gave the end mark itself, so trainers would cut the document there; or a document has
                more tokens than any reader takes.
            UserError: a column that ``docs.parquet`` is to hold is not there, or is no number or string.
        """
        out = np.empty(len(ids) + len(ends), self._dtype)
        found = append_eos(ids, ends, self._eos, out)
        if found >= 0:
            key = docs["id"][found].as_py()
            msg = f"document {key.hex()} encodes to the end mark {self._eos}; take a token that no text can give"
            raise RunFailedError(msg)
        lengths = np.diff(ends, prepend=np.int64(0)) + 1
        self._write(_rows(docs, lengths, num_bytes, self._keep), out)
        return lengths

    def copy(self, rows: pa.Table, tokens: npt.NDArray[np.unsignedinteger]) -> None:
        """Append documents of other shards: their rows of ``docs.parquet``, and their tokens with end marks."""
        self._write(rows, tokens)

    def close(self) -> list[Output]:
        """Write the indexes; the payload is the first output."""
        if not self.num_docs:
            self._docs.add(_no_rows())
        self._payload.close()
        self._docs.close()
        lengths = np.concatenate(self._lengths)
        outputs = [Output(self._folder / "tokens.bin", ".bin")]
        for suffix, content in self._indexes(lengths).items():
            path = self._folder / f"tokens{suffix}"
            path.write_bytes(content)
            outputs.append(Output(path, suffix))
        offsets = self._folder / "tokens.offsets.npy"
        np.save(offsets, np.concatenate([np.zeros(1, "<i8"), np.cumsum(lengths).astype("<i8")]))
        return [*outputs, Output(offsets, ".offsets.npy"), Output(self._folder / "docs.parquet", ".docs.parquet")]

    def abandon(self) -> None:
        """Close the files; nothing of them counts."""
        self._payload.close()
        self._docs.abandon()

    def _indexes(self, lengths: npt.NDArray[np.int64]) -> dict[str, bytes]:
        if self._name is None:
            return {}
        return {
            ".idx": megatron_index(lengths, self._dtype.itemsize),
            ".ds.index": datatrove_index(lengths),
            ".ds.metadata": datatrove_metadata(self._name, self._dtype.itemsize, self.num_tokens).encode(),
            ".csv.gz": olmo_index(lengths, np.concatenate(self._ids)),
        }

    def _write(self, rows: pa.Table, tokens: npt.NDArray[np.unsignedinteger]) -> None:
        if not rows.num_rows:
            return
        lengths = rows["num_tokens"].to_numpy()
        if int(lengths.max()) > MAX_DOCUMENT_TOKENS:
            key = rows["id"][int(lengths.argmax())].as_py()
            msg = (
                f"document {key.hex()} has {int(lengths.max()):,} tokens, and readers take {MAX_DOCUMENT_TOKENS:,} at "
                f"most; drop or split such documents before tokenizing"
            )
            raise RunFailedError(msg)
        starts = pa.array(self.num_tokens + np.cumsum(lengths) - lengths)
        self._payload.write(np.ascontiguousarray(tokens).data)
        self._docs.add(rows.set_column(rows.column_names.index("start"), "start", starts))
        self._lengths.append(lengths)
        self._ids.append(id_bytes(rows["id"]))
        self.num_tokens += len(tokens)
        self.num_docs += rows.num_rows


def _rows(
    docs: pa.Table, lengths: npt.NDArray[np.int64], num_bytes: npt.NDArray[np.int64], keep: Sequence[str]
) -> pa.Table:
    """Rows of ``docs.parquet``; the starts are filled in where they are known."""

    def strings(name: str) -> pa.Array:
        if name not in docs.column_names:
            return pa.nulls(docs.num_rows, pa.string())
        return docs[name].combine_chunks().cast(pa.string())

    columns = [
        docs["id"].combine_chunks(), sources(docs), pc.cast(languages(docs), pa.string()), strings("url"),
        *(pa.array(numbers, pa.int64()) for numbers in (lengths, num_bytes, lengths)), strings("origin"),
        *(_kept(docs, name) for name in keep),
    ]  # fmt: skip
    return pa.Table.from_arrays(columns, names=[*COLUMNS, *keep])


def _kept(docs: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in docs.column_names:
        there = ", ".join(one for one in docs.column_names if one not in (*COLUMNS, "text"))
        msg = f"documents have no column {name!r} that docs.parquet could keep; there are: {there or 'none'}"
        raise UserError(msg)
    kind = docs[name].type
    if not any(of(kind) for of in (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string)):
        msg = f"column {name!r} is {kind}; docs.parquet keeps numbers, booleans and strings"
        raise UserError(msg)
    return docs[name]


def _no_rows() -> pa.Table:
    none = np.zeros(0, np.int64)
    return _rows(pa.table({"id": pa.array([], ID_TYPE)}), none, none, ())
