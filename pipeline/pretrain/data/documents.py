"""The files of one token shard as training reads them: the table of its documents, their strata, the payload."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.pretrain.config import TokenFiles
from pipeline.pretrain.data.mixture import Mixture

Int64s = NDArray[np.int64]


@dataclass(frozen=True)
class Documents:
    """The documents of a shard, in payload order."""

    ids: NDArray[np.uint8]
    start: Int64s
    num_tokens: Int64s
    num_bytes: Int64s


def read_documents(files: TokenFiles) -> Documents:
    """The table of a shard's documents.

    Raises:
        UserError: it is not one, or the documents do not stand back to back.
    """
    # Less than half the time of ``read_table``, which sets threads and a dataset up for each file.
    with pq.ParquetFile(files.documents, memory_map=True) as file:
        table = file.read(columns=["id", "num_tokens", "num_bytes", "start"], use_threads=False).combine_chunks()
    if table.schema.field("id").type != pa.binary(16):
        msg = f"{files.documents}: column 'id' must hold 16 bytes a row, got {table.schema.field('id').type}"
        raise UserError(msg)
    column = table["id"].combine_chunks()
    buffers: list[Any] = column.buffers()
    ids = np.frombuffer(
        buffers[1] if len(column) else b"", np.uint8, count=16 * len(column), offset=16 * column.offset
    ).reshape(-1, 16)
    start, num_tokens, num_bytes = (
        table[name].to_numpy().astype(np.int64) for name in ("start", "num_tokens", "num_bytes")
    )
    if not np.array_equal(start, np.cumsum(num_tokens) - num_tokens):
        msg = f"{files.documents}: documents do not stand back to back; tokenize again"
        raise UserError(msg)
    return Documents(ids, start, num_tokens, num_bytes)


def strata_of(files: TokenFiles, mixture: Mixture) -> Int64s:
    """Number of each document's stratum in a mixture; -1 where the mixture never draws from it.

    Raises:
        UserError: a document is of no stratum that the mixture knows.
    """
    codes, labels = mixture.rule.labels(files.documents)
    known = {
        label: number if drawn else -1
        for number, (label, drawn) in enumerate(zip(mixture.labels, mixture.drawn_from, strict=True))
    }
    strange = [label for label in labels if label not in known]
    if strange:
        msg = f"{files.documents} has documents of {strange[0]!r}, a stratum the mixture does not know; mix again"
        raise UserError(msg)
    return np.array([known[label] for label in labels], np.int64)[codes]


def map_payload(files: TokenFiles, dtype: str, num_tokens: int) -> NDArray[np.unsignedinteger]:
    """The tokens of a shard, over its file.

    Raises:
        UserError: the file has another size than its documents.
    """
    kind = np.dtype(dtype).newbyteorder("<")
    size = Path(files.tokens).stat().st_size
    if size != num_tokens * kind.itemsize:
        msg = (
            f"{files.tokens} has {size} bytes, but {files.documents} counts {num_tokens} tokens of {kind.itemsize}: "
            f"tokenize again"
        )
        raise UserError(msg)
    return mapped(files.tokens, kind, count=num_tokens)


def mapped(path: str, dtype: np.dtype[Any], *, count: int, start: int = 0) -> NDArray[Any]:
    """``count`` values of a file from byte ``start`` on, over the file.

    Unlike numpy's, Arrow's map keeps no file descriptor, of which a process may have but 1,024.
    """
    if not count:
        return np.empty(0, dtype)
    with pa.memory_map(path) as file:
        return np.frombuffer(memoryview(file.read_buffer()), dtype, count=count, offset=start)
