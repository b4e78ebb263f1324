"""Token shards as others read them: tokens by document, documents by id, and the document at a token."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.documents import ID_TYPE
from pipeline.errors import RunFailedError
from pipeline.work import Shard

Tokens = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
Int64s = npt.NDArray[np.int64]

DTYPES = {8: np.dtype("<u2"), 4: np.dtype("<u4")}
"""Megatron's number of a type -> the type, of those that token shards have."""
ID_BYTES = 16
_HEADER_BYTES = 34


@dataclass(frozen=True)
class TokenShard:
    """One committed token shard, opened by memory map: no payload is read before it is asked for.

    payload, table: its ``.bin`` and ``.docs.parquet``. dtype: little-endian type of a token. offsets: int64
    (documents + 1,), where each document starts in tokens, then the total. eos: the end mark after each document; None
    where the shard has no document to tell it and was opened by its path.
    """

    payload: Path
    table: Path
    dtype: np.dtype
    offsets: Int64s
    eos: int | None

    @classmethod
    def of(cls, shard: Shard) -> Self:
        """A committed shard of a dataset of kind tokens."""
        dtype = np.dtype(shard.facts["dtype"]).newbyteorder("<")
        offsets = np.load(shard.file(".offsets.npy"), mmap_mode="r")
        return cls(shard.file(".bin"), shard.file(".docs.parquet"), dtype, offsets, int(shard.facts["eos_id"]))

    @classmethod
    def at(cls, payload: str | Path) -> Self:
        """The shard whose ``.bin`` lies there, with its other files beside it.

        Raises:
            RunFailedError: its ``.idx`` is none of a token shard.
        """
        path = Path(payload)
        dtype = index_dtype(path.with_suffix(".idx"))
        offsets = np.load(path.with_suffix(".offsets.npy"), mmap_mode="r")
        last = np.fromfile(path, dtype, 1, offset=(int(offsets[1]) - 1) * dtype.itemsize) if len(offsets) > 1 else []
        return cls(path, path.with_suffix(".docs.parquet"), dtype, offsets, int(last[0]) if len(last) else None)

    @property
    def num_documents(self) -> int:
        """Documents."""
        return len(self.offsets) - 1

    @property
    def num_tokens(self) -> int:
        """Tokens, end marks included."""
        return int(self.offsets[-1])

    @cached_property
    def tokens(self) -> Tokens:
        """(num_tokens,) The payload, read-only, over its file."""
        if not self.num_tokens:
            return np.zeros(0, self.dtype)  # an empty file cannot be mapped
        return np.memmap(self.payload, self.dtype, "r", shape=(self.num_tokens,))

    @cached_property
    def lengths(self) -> Int64s:
        """(num_documents,) Tokens of each document, end mark included."""
        return np.diff(self.offsets)

    @cached_property
    def ids(self) -> npt.NDArray[np.uint8]:
        """(num_documents, 16) The id of each document."""
        return id_bytes(self.columns(["id"])["id"])

    def columns(self, names: Sequence[str] | None = None) -> pa.Table:
        """``docs.parquet``, or some columns of it, a row a document."""
        return pq.read_table(self.table, columns=None if names is None else list(names), memory_map=True)

    def row(self, document: int) -> dict[str, Any]:
        """What ``docs.parquet`` says of one document, reading its row group alone."""
        with pq.ParquetFile(self.table) as file:
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if document < rows:
                    return file.read_row_group(group).slice(document, 1).to_pylist()[0]
                document -= rows
        msg = f"{self.table} has no row for document {document} past its end"
        raise IndexError(msg)

    def document(self, number: int, *, eos: bool = True) -> Tokens:
        """Token ids of a document, with its end mark or without: a view, not a copy."""
        start, end = self.span(number)
        return self.tokens[start : end if eos else end - 1]

    def span(self, number: int) -> tuple[int, int]:
        """(start, end) of a document in tokens, end mark included."""
        return int(self.offsets[number]), int(self.offsets[number + 1])

    def span_of(self, key: bytes | str) -> tuple[int, int] | None:
        """(start, end) of the first document with an id (16 bytes, or hex); None where there is none.

        Records equal in everything share an id and tokens; ``numbers_of`` gives them all.
        """
        found = self.numbers_of([key])
        return self.span(int(found[0])) if len(found) else None

    def numbers_of(self, keys: Sequence[bytes | str]) -> Int64s:
        """Numbers of the documents whose id is one of these (16 bytes, or hex), ascending."""
        wanted = pa.array([bytes.fromhex(key) if isinstance(key, str) else key for key in keys], ID_TYPE)
        found = pc.is_in(self.columns(["id"])["id"].combine_chunks(), value_set=wanted)
        return np.flatnonzero(found.to_numpy(zero_copy_only=False))

    def document_at(self, position: int) -> int:
        """Number of the document that the token at a position is of.

        Raises:
            IndexError: the shard has no such token.
        """
        if not 0 <= position < self.num_tokens:
            msg = f"token {position} of {self.num_tokens} in {self.payload}"
            raise IndexError(msg)
        return int(np.searchsorted(self.offsets, position, side="right")) - 1

    def documents_at(self, positions: Int64s) -> Int64s:
        """``document_at`` of many positions, each within the shard."""
        return np.searchsorted(self.offsets, positions, side="right") - 1


def id_bytes(column: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """(N, 16) The bytes of a column of ids."""
    array = column.combine_chunks()
    data = array.buffers()[1]
    if data is None or not len(array):
        return np.zeros((0, ID_BYTES), np.uint8)
    flat = np.frombuffer(memoryview(data), np.uint8)
    return flat[array.offset * ID_BYTES :][: len(array) * ID_BYTES].reshape(-1, ID_BYTES)


def index_dtype(path: Path) -> np.dtype:
    """The type of a token that a Megatron ``.idx`` names.

    Raises:
        RunFailedError: it is no such index, or one of another type.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    magic, version, code = struct.unpack("<9sQB", head[:18]) if len(head) == _HEADER_BYTES else (b"", 0, 0)
    if magic != b"MMIDIDX\0\0" or version != 1 or code not in DTYPES:
        msg = f"{path} is not a Megatron index of uint16 or int32 tokens"
        raise RunFailedError(msg)
    return DTYPES[code]
