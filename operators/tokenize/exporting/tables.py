"""Tables: token shards as Parquet, documents as Parquet or JSON lines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from operators.dedup.split.draw import Shares
from operators.tokenize.exporting.folder import ExportFolder
from operators.tokenize.exporting.parts import TRAIN, Part, choose
from pipeline.parquet_shard import ParquetShard
from pipeline.shards import CommittedShard

_ZSTD_LEVEL = 3
_ROWS = 256  # documents turned into Python values at once


def token_parquet(folder: ExportFolder, parts: Sequence[Part], prefix: str, name: str) -> None:
    """``tokens-00000.parquet``: the columns of ``.docs.parquet`` without ``start``, and ``tokens``, end mark included."""
    del name
    for part in parts:
        file = f"{prefix}tokens-{part.index:05d}.parquet"
        shard = ParquetShard(folder.path(file))
        for table in _token_rows(part):
            shard.add(table)
        shard.close()
        folder.add(file)


def _token_rows(part: Part) -> Iterator[pa.Table]:
    """A row group of documents at a time."""
    shard, first = part.shard, 0
    tokens, offsets = shard.tokens, shard.offsets
    with pq.ParquetFile(shard.table) as file:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group)
            after = first + rows.num_rows
            bounds = np.asarray(offsets[first : after + 1])
            values = np.asarray(tokens[int(bounds[0]) : int(bounds[-1])])
            lists = pa.LargeListArray.from_arrays(pa.array(bounds - bounds[0]), pa.array(values))
            table = rows.drop_columns(["start"]).append_column("tokens", lists)
            yield table if part.chosen is None else table.filter(pa.array(part.chosen[first:after]))
            first = after


def documents(
    folder: ExportFolder, shards: Sequence[CommittedShard], form: str, held_out: Shares | None, seed: int
) -> Mapping[str, int]:
    """The documents of a step, a file a shard and set: ``documents-00000`` with ``.parquet``, ``.jsonl`` or ``.jsonl.zst``.

    Files of a step that holds its documents itself are linked. Returns the documents of each set.
    """
    counts = {TRAIN: 0} | {name: 0 for name, _ in held_out or ()}
    for shard in shards:
        whole = _own_file(shard) if form == "parquet" and held_out is None else None
        if whole is not None:
            folder.link(shard.file(".parquet"), whole, f"documents-{shard.index:05d}.parquet")
            with pq.ParquetFile(shard.file(".parquet")) as file:
                counts[TRAIN] += file.metadata.num_rows
            continue
        with _Files(folder, shard.index, form, split=held_out is not None) as files:
            for table in shard.documents():
                for name, chosen in choose(_ids(table), held_out, seed).items():
                    rows = table if chosen is None else table.filter(pa.array(chosen))
                    counts[name] += rows.num_rows
                    files.add(name, rows)
    return counts


def _own_file(shard: CommittedShard) -> str | None:
    """sha256 of the shard's own Parquet file; None where it selects from another's, or holds nothing."""
    found = (o.sha256 for o in shard.spec.outputs if o.suffix == ".parquet" and o.folder == "shards")
    return next(found, None) if shard.spec.kind == "documents" else None


def _ids(table: pa.Table) -> npt.NDArray[np.uint8]:
    column: Any = table["id"].combine_chunks()
    data = np.frombuffer(memoryview(column.buffers()[1]), np.uint8) if len(column) else np.zeros(0, np.uint8)
    return data[16 * column.offset :][: 16 * len(column)].reshape(-1, 16)


class _Files(contextlib.ExitStack):
    """The files of one shard, one a set, each begun with the first row it gets."""

    def __init__(self, folder: ExportFolder, index: int, form: str, *, split: bool) -> None:
        super().__init__()
        self._folder, self._index, self._form, self._split = folder, index, form, split
        self._sinks: dict[str, ParquetShard | _Lines] = {}

    def add(self, name: str, rows: pa.Table) -> None:
        """Append rows to the file of a set."""
        if not rows.num_rows:
            return
        if name not in self._sinks:
            file = f"{name}/" * self._split + f"documents-{self._index:05d}.{self._form}"
            path = self._folder.path(file)
            self._sinks[name] = sink = ParquetShard(path) if self._form == "parquet" else _Lines(path, self._form)
            self.callback(self._folder.add, file)
            self.callback(sink.close)
        self._sinks[name].add(rows)


class _Lines:
    """JSON lines, an object a document: ids and other bytes as hex, null where there is nothing."""

    def __init__(self, path: Any, form: str) -> None:
        self._file = path.open("wb")
        packed = form.endswith(".zst")
        self._out = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).stream_writer(self._file) if packed else self._file

    def add(self, rows: pa.Table) -> None:
        """Append documents."""
        for batch in rows.to_batches(max_chunksize=_ROWS):
            for row in batch.to_pylist():
                self._out.write(_line(row))

    def close(self) -> None:
        """Finish the file."""
        self._out.close()
        self._file.close()


def _line(row: Mapping[str, Any]) -> bytes:
    return orjson.dumps(row, default=_plain, option=orjson.OPT_APPEND_NEWLINE)


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else str(value)
