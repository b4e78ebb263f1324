"""Whole signatures in a file that other programs read, where a recipe asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from operators.kernels.minhash import SEED, minhash
from operators.kernels.shingles import HashArray, OffsetArray
from pipeline.parquet_shard import ParquetShard

MINHASH = ".minhash.parquet"
SCHEME = "affine32"
"""datasketch's name for how the slots are made."""


class FullWriter:
    """Writes ``.minhash.parquet``: a row per document with its ``id`` and ``minhash``, a fixed number of uint32 slots.

    A text without a shingle has null: its slots would all be 0xFFFFFFFF, as those of every other such text. The field
    ``minhash`` carries as metadata ``scheme``, ``seed``, ``num_perm``, ``ngram`` and ``fold``, the hash of the table
    that folds characters. 450 bytes a document at 112 slots, which do not compress.
    """

    def __init__(self, path: Path, parameters: Mapping[str, Any]) -> None:
        self._file = ParquetShard(path)
        self._num_perm: int = parameters["num_perm"]
        metadata = {"scheme": SCHEME, "seed": str(SEED), **{name: str(value) for name, value in parameters.items()}}
        self._field = pa.field("minhash", pa.list_(pa.uint32(), self._num_perm), metadata=metadata)

    def add(self, ids: pa.ChunkedArray, hashes: HashArray, starts: OffsetArray) -> None:
        """Append documents: their ids, and what ``shingle_hashes`` gave for their texts."""
        signed = minhash(hashes, starts, self._num_perm)
        without = pa.array(np.diff(starts) == 0)
        slots = pa.FixedSizeListArray.from_arrays(pa.array(signed.ravel()), type=self._field.type, mask=without)
        schema = pa.schema([pa.field("id", ids.type, nullable=False), self._field])
        self._file.add(pa.table([ids.combine_chunks(), slots], schema=schema))

    def close(self) -> Path:
        """Write what is left; returns the file."""
        self._file.close()
        return self._file.path

    def abandon(self) -> None:
        """Close the file, which will not be used."""
        self._file.abandon()
