"""Check committed token shards against what every reader relies on."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from operators.tokenize.shards.writer import megatron_index

_TYPES = {8: np.dtype("<u2"), 4: np.dtype("<u4")}
_HEADER_BYTES = 34
_SUFFIXES = (".bin", ".idx", ".ds.index", ".csv.gz", ".offsets.npy", ".docs.parquet")
_BLOCK = 1 << 24  # tokens looked at together


def verify(paths: Iterable[str | Path]) -> list[str]:
    """What is wrong with shards, given their ``.bin`` files; empty where nothing is.

    (a) each document ends in the same token, which stands nowhere else; (b) the lengths add up to the payload;
    (c) no document is empty; and all indexes beside the payload tell the same bounds.
    """
    return [f"{Path(path).name}: {problem}" for path in paths for problem in _problems(Path(path))]


def _problems(payload: Path) -> list[str]:
    stem = payload.with_suffix("")
    missing = [suffix for suffix in _SUFFIXES if not _beside(stem, suffix).is_file()]
    if missing:
        return [f"no {', '.join(missing)} beside it"]
    index = _beside(stem, ".idx").read_bytes()
    dtype = _TYPES.get(index[17]) if len(index) >= _HEADER_BYTES else None
    if dtype is None or index[:9] != b"MMIDIDX\0\0":
        return ["its .idx is not a Megatron index of uint16 or int32 tokens"]
    offsets = np.load(_beside(stem, ".offsets.npy"))
    lengths = np.diff(offsets)
    problems = [] if index == megatron_index(lengths, dtype.itemsize) else ["its .idx and .offsets.npy differ"]
    problems += _other_indexes(stem, offsets)
    if num_empty := int((lengths <= 1).sum()):  # an end mark and nothing before it
        problems.append(f"{num_empty} documents are empty")
    size = payload.stat().st_size
    if offsets[0] != 0 or int(offsets[-1]) * dtype.itemsize != size:
        return [*problems, f"documents add up to {int(offsets[-1]) * dtype.itemsize} bytes, the payload has {size}"]
    return problems if not size or problems else _end_marks(np.memmap(payload, dtype, "r"), offsets)


def _beside(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def _other_indexes(stem: Path, offsets: npt.NDArray[np.int64]) -> list[str]:
    problems = []
    if _beside(stem, ".ds.index").read_bytes() != offsets[1:].astype("<u8").tobytes():
        problems.append("its .ds.index and .offsets.npy differ")
    rows = [
        line.split(",")[:2] for line in gzip.decompress(_beside(stem, ".csv.gz").read_bytes()).decode().splitlines()
    ]
    if [(int(s), int(e)) for s, e in rows] != list(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        problems.append("its .csv.gz and .offsets.npy differ")
    docs = pq.read_table(_beside(stem, ".docs.parquet"), columns=["start", "num_tokens"])
    starts, lengths = docs["start"].to_numpy(), docs["num_tokens"].to_numpy()
    if not np.array_equal(starts, offsets[:-1]) or not np.array_equal(starts + lengths, offsets[1:]):
        problems.append("its .docs.parquet and .offsets.npy differ")
    return problems


def _end_marks(tokens: npt.NDArray, offsets: npt.NDArray[np.int64]) -> list[str]:
    last = np.asarray(tokens[offsets[1:] - 1])
    if (last != last[0]).any():
        return [f"documents end in different tokens: {np.unique(last)[:5].tolist()}"]
    marks = sum(int((tokens[k : k + _BLOCK] == last[0]).sum()) for k in range(0, len(tokens), _BLOCK))
    if marks != len(last):
        return [f"end mark {int(last[0])} stands {marks} times in {len(last)} documents"]
    return []
