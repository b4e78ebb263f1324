"""The small files beside a payload of tokens, byte for byte as each trainer reads them."""

from __future__ import annotations

import gzip
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_MEGATRON_CODE = {2: 8, 4: 4}  # bytes a token -> Megatron's number for uint16, int32 (the same bytes below 2**31)
_UNITS = ("", "k", "M", "G", "T", "P")
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_ROWS_TOGETHER = 1 << 18  # lines of text made at once, some 15 MB


def megatron_index(lengths: npt.NDArray[np.int64], itemsize: int, starts: npt.NDArray[np.int64] | None = None) -> bytes:
    """Megatron-LM's ``.idx``, one sequence a document: 34 bytes of header, then 20 a document and 8 more.

    starts: where each document lies in the payload, in tokens; back to back where not given.
    """
    starts = (np.cumsum(lengths) - lengths if starts is None else starts) * itemsize
    header = struct.pack("<9sQBQQ", b"MMIDIDX\0\0", 1, _MEGATRON_CODE[itemsize], len(lengths), len(lengths) + 1)
    bounds = np.arange(len(lengths) + 1)
    return header + lengths.astype("<i4").tobytes() + starts.astype("<i8").tobytes() + bounds.astype("<i8").tobytes()


def datatrove_index(lengths: npt.NDArray[np.int64]) -> bytes:
    """For datatrove, its ``.ds.index``: where each document ends, in tokens."""
    return np.cumsum(lengths).astype("<u8").tobytes()


def datatrove_metadata(name: str, itemsize: int, num_tokens: int) -> str:
    """For datatrove, its ``.ds.metadata``: tokenizer and bytes a token, the number of tokens, and that for human eyes."""
    mantissa, exponent = f"{num_tokens:.2e}".split("e")  # three digits, rounded before the unit is chosen
    thousands, tens = divmod(int(exponent), 3)
    return f"{name}|{itemsize}\n{num_tokens}\n{float(mantissa) * 10**tens:.{2 - tens}f} {_UNITS[thousands]}T"


def olmo_index(lengths: npt.NDArray[np.int64], ids: npt.NDArray[np.uint8]) -> bytes:
    """OLMo's ``.csv.gz``: start, end (exclusive) and id in hex of each document; no time stamp.

    ids: uint8 (documents, 16).
    """
    return gzip.compress(olmo_lines(lengths, ids), compresslevel=1, mtime=0)


def olmo_lines(lengths: npt.NDArray[np.int64], ids: npt.NDArray[np.uint8]) -> bytes:
    """The text of OLMo's index, a line a document."""
    ends = np.cumsum(lengths)
    starts = ends - lengths
    parts = []
    for first in range(0, len(ends), _ROWS_TOGETHER):
        rows = slice(first, first + _ROWS_TOGETHER)
        digits = np.stack([_HEX[ids[rows] >> 4], _HEX[ids[rows] & 15]], axis=-1)
        columns = [pa.array(bounds[rows]).cast(pa.string()) for bounds in (starts, ends)]
        columns.append(_strings(digits.reshape(len(digits), -1)))
        lines = pc.binary_join_element_wise(*columns, ",")
        parts.append(pc.binary_join_element_wise(lines, "", "\n").buffers()[2].to_pybytes())
    return b"".join(parts)


def _strings(letters: npt.NDArray[np.uint8]) -> pa.Array:
    """(N, width) ASCII letters as N strings."""
    offsets: Any = np.arange(len(letters) + 1, dtype=np.int32) * np.int32(letters.shape[1])
    flat: Any = np.ascontiguousarray(letters)
    return pa.StringArray.from_buffers(len(letters), pa.py_buffer(offsets), pa.py_buffer(flat))
