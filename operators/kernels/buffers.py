"""Arrow text as the flat arrays a kernel reads: bytes and offsets, no Python strings."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

ByteArray = npt.NDArray[np.uint8]
OffsetArray = npt.NDArray[np.int64]
IntArray = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float64]
FlagArray = npt.NDArray[np.uint16]
"""Unicode flags, one entry a code point."""


class TextBuffers(NamedTuple):
    """N texts as UTF-8: text i is ``data[offsets[i]:offsets[i + 1]]``; views, nothing is copied."""

    data: ByteArray
    offsets: OffsetArray
    """int64 (N + 1,), absolute positions in ``data``."""
    valid: npt.NDArray[np.bool_]
    """bool (N,), False where the text is null (its length is then 0)."""


def text_buffers(column: pa.Array | pa.ChunkedArray) -> TextBuffers:
    """Flat views of a large_string column.

    Raises:
        TypeError: another type; cast it with ``pipeline.documents.as_documents`` before.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not pa.types.is_large_string(array.type):
        msg = f"kernels read large_string columns, got {array.type}; cast it with as_documents"
        raise TypeError(msg)
    _, offsets, data = array.buffers()
    length = len(array)
    flat = np.frombuffer(memoryview(b"" if data is None else data), np.uint8)
    if offsets is None or length == 0:
        starts = np.zeros(length + 1, np.int64)
    else:
        starts = np.frombuffer(memoryview(offsets), np.int64, count=length + 1, offset=array.offset * 8)
    valid = np.ones(length, np.bool_) if array.null_count == 0 else array.is_valid().to_numpy(zero_copy_only=False)
    for view in (flat, starts, valid):  # one type for the kernels, whatever the column was made of
        view.setflags(write=False)
    return TextBuffers(flat, starts, valid)


def large_strings(data: ByteArray, offsets: OffsetArray, valid: npt.NDArray[np.bool_]) -> pa.Array:
    """A large_string column over what a kernel wrote: the opposite of ``text_buffers``; nothing but ``valid`` is copied."""
    bitmap = np.packbits(valid, bitorder="little")
    columns: list[Any] = [offsets, data, bitmap]
    return pa.Array.from_buffers(
        pa.large_string(), len(valid), [pa.py_buffer(one) for one in (columns[2], *columns[:2])]
    )
