"""Token shards: one raw payload and small indexes, byte for byte as the common trainers read them."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from operators.kernels.append_eos import append_eos
from operators.tokenize.engines import Ids
from pipeline.documents import ID_TYPE
from pipeline.errors import RunFailedError
from pipeline.parquet_shard import ParquetShard
from pipeline.rejects import languages, sources
from pipeline.work import Output

_MEGATRON_CODE = {2: 8, 4: 4}  # bytes a token -> Megatron's number for uint16, int32 (the same bytes below 2**31)
_UNITS = ("", "k", "M", "G", "T", "P")
_NAMES = ("id", "source", "language", "url", "num_tokens", "num_bytes", "start", "origin")


class ShardWriter:
    """Writes one shard: ``.bin`` as it comes, the rest at the end.

    dtype: little-endian type of a token. eos: id written after each document. name: of the tokenizer, for datatrove.
    """

    def __init__(self, folder: Path, *, dtype: np.dtype, eos: int, name: str) -> None:
        self._folder = folder
        self._dtype = dtype
        self._eos = eos
        self._name = name
        self._payload = (folder / "tokens.bin").open("wb")
        self._docs = ParquetShard(folder / "docs.parquet")
        none = np.zeros(0, np.int64)
        self._docs.add(_rows(pa.table({"id": pa.array([], ID_TYPE)}), none, none, none))
        self._lengths = [none]
        self._ids: list[pa.Array] = []
        self.num_tokens = 0
        self.num_docs = 0

    def add(
        self, docs: pa.Table, ids: Ids, *, ends: npt.NDArray[np.int64], num_bytes: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Append documents; returns their lengths in tokens, end mark included.

        ids: tokens back to back. ends: int64 (rows,), where each document ends in them; none may be empty.
        num_bytes: int64 (rows,), UTF-8 bytes of each text.

        Raises:
            RunFailedError: a text gave the end mark itself, so trainers would cut the document there.
        """
        out = np.empty(len(ids) + len(ends), self._dtype)
        found = append_eos(ids, ends, self._eos, out)
        if found >= 0:
            key = docs["id"][found].as_py()
            msg = f"document {key.hex()} encodes to the end mark {self._eos}; take a token that no text can give"
            raise RunFailedError(msg)
        lengths = np.diff(ends, prepend=np.int64(0)) + 1
        self._payload.write(out.data)
        self._docs.add(_rows(docs, self.num_tokens + np.cumsum(lengths) - lengths, lengths, num_bytes))
        self._lengths.append(lengths)
        self._ids.append(docs["id"].combine_chunks())
        self.num_tokens += len(out)
        self.num_docs += len(ends)
        return lengths

    def close(self) -> list[Output]:
        """Write the indexes; the payload is the first output."""
        self._payload.close()
        self._docs.close()
        lengths = np.concatenate(self._lengths)
        if len(lengths) and int(lengths.max()) >= 1 << 31:
            msg = f"a document of {int(lengths.max())} tokens: no reader takes 2**31 or more; split it before"
            raise RunFailedError(msg)
        ends = np.cumsum(lengths)
        parts = {
            ".idx": megatron_index(lengths, self._dtype.itemsize),
            ".ds.index": ends.astype("<u8").tobytes(),
            ".ds.metadata": datatrove_metadata(self._name, self._dtype.itemsize, self.num_tokens).encode(),
            ".csv.gz": olmo_index(ends, [key or b"" for chunk in self._ids for key in chunk.to_pylist()]),
        }
        outputs = [Output(self._folder / "tokens.bin", ".bin")]
        for suffix, content in parts.items():
            path = self._folder / f"tokens{suffix}"
            path.write_bytes(content)
            outputs.append(Output(path, suffix))
        offsets = self._folder / "tokens.offsets.npy"
        np.save(offsets, np.concatenate([np.zeros(1, "<i8"), ends.astype("<i8")]))
        return [*outputs, Output(offsets, ".offsets.npy"), Output(self._folder / "docs.parquet", ".docs.parquet")]


def megatron_index(lengths: npt.NDArray[np.int64], itemsize: int) -> bytes:
    """Megatron-LM's ``.idx``, one sequence a document: 34 bytes of header, then 20 a document and 8 more."""
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)[:-1]])[: len(lengths)] * itemsize
    header = struct.pack("<9sQBQQ", b"MMIDIDX\0\0", 1, _MEGATRON_CODE[itemsize], len(lengths), len(lengths) + 1)
    bounds = np.arange(len(lengths) + 1)
    return header + lengths.astype("<i4").tobytes() + starts.astype("<i8").tobytes() + bounds.astype("<i8").tobytes()


def olmo_index(ends: npt.NDArray[np.int64], ids: list[bytes]) -> bytes:
    """OLMo's ``.csv.gz``: start, end (exclusive) and id in hex of each document; no time stamp."""
    starts = [0, *ends[:-1].tolist()]
    lines = (f"{s},{e},{i.hex()}\n" for s, e, i in zip(starts[: len(ids)], ends.tolist(), ids, strict=True))
    return gzip.compress("".join(lines).encode(), compresslevel=1, mtime=0)


def datatrove_metadata(name: str, itemsize: int, num_tokens: int) -> str:
    """For datatrove, its ``.ds.metadata``: tokenizer and bytes a token, the number of tokens, and that for human eyes."""
    mantissa, exponent = f"{num_tokens:.2e}".split("e")  # three digits, rounded before the unit is chosen
    thousands, tens = divmod(int(exponent), 3)
    return f"{name}|{itemsize}\n{num_tokens}\n{float(mantissa) * 10**tens:.{2 - tens}f} {_UNITS[thousands]}T"


def _rows(
    docs: pa.Table, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], num_bytes: npt.NDArray[np.int64]
) -> pa.Table:
    def strings(name: str) -> pa.Array:
        if name not in docs.column_names:
            return pa.nulls(docs.num_rows, pa.string())
        return docs[name].combine_chunks().cast(pa.string())

    columns = [
        docs["id"].combine_chunks(), sources(docs), pc.cast(languages(docs), pa.string()), strings("url"),
        *(pa.array(numbers, pa.int64()) for numbers in (lengths, num_bytes, starts)), strings("origin"),
    ]  # fmt: skip
    return pa.Table.from_arrays(columns, names=list(_NAMES))
