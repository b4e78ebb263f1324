"""The documents a tokenizer is judged on: files as they lie, or what a step of a run holds, up to a limit of bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dataset import Run
from pipeline.errors import UserError
from pipeline.inputs import freeze
from pipeline.readers.batch import ReadBatch
from pipeline.readers.options import Format, Read
from pipeline.readers.read import read_shard
from pipeline.readers.schema import open_parquet

_FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "text",
    ".md": "text",
}
_PACKED = (".zst", ".gz", ".bz2", ".xz")
_COLUMNS = ("text", "source", "language", "lang")
_NOT_READ = tuple((name, None) for name in ("id", "url", "date", "license", "label"))
_READ_BYTES = 8 << 20

Part = Callable[[], Iterator[pa.Table]]
"""A file or a shard: called, it is read from its beginning."""


def bounded(parts: Sequence[Part], max_bytes: int | None) -> Iterator[pa.Table]:
    """The first documents of every part, ``max_bytes`` of text in all.

    Every part gives an equal share; what a small one leaves goes to those after it. The document that passes a part's
    share is its last.
    """
    left = max_bytes
    for number, part in enumerate(parts):
        share = None if left is None else left // (len(parts) - number)
        taken = 0
        for table in part():
            head, size = _head(table, None if share is None else share - taken)
            taken += size
            yield head
            if share is not None and taken >= share:
                break
        left = None if left is None else max(0, left - taken)


def of_step(uri: str, step: str) -> list[Part]:
    """The shards of a step that holds documents, bitmaps applied.

    Raises:
        UserError: no such run or step, or it holds something else.
    """
    dataset = Run.open(uri)[step]
    if dataset.kind not in ("source", "documents", "selection"):
        msg = f"step {step!r} holds {dataset.kind}, not documents; name the step before it"
        raise UserError(msg)
    return [shard.documents for shard in dataset.shards()]


def of_files(paths: Sequence[Path]) -> list[Part]:
    """Files of JSON lines, Parquet, or plain text (one document a file), compressed or not.

    Text is in the field ``text``; source in ``source``, else it is the file's name; language in ``language`` or ``lang``.

    Raises:
        UserError: a file is not there, or its name does not tell what it is.
    """
    return [part for path in paths for part in _of_file(path)]


def _of_file(path: Path) -> list[Part]:
    suffixes = [suffix for suffix in path.suffixes if suffix not in _PACKED]
    kind = _FORMATS.get(suffixes[-1].lower()) if suffixes else None
    if not path.is_file() or kind is None:
        known = " ".join(sorted(_FORMATS))
        msg = f"{path} is not there" if not path.is_file() else f"{path}: take a file that ends in one of {known}"
        raise UserError(msg)
    columns: tuple[tuple[str, str | None], ...] = ()
    if kind == "jsonl":
        columns = (*((name, name) for name in _COLUMNS), *_NOT_READ)
    if kind == "parquet":
        with open_parquet(str(path)) as file:
            there = set(file.schema_arrow.names)
        columns = (*((name, name) for name in _COLUMNS if name in there or name == "text"), *_NOT_READ)
    name = path.name.partition(".")[0]
    options = Read(format=kind, paths=(str(path.resolve()),), source=name, columns=columns)
    shards = freeze(options, Path()).shards

    def part(number: int) -> Part:
        return lambda: map(_of_batch, read_shard(options, shards[number], batch_bytes=_READ_BYTES))

    return [part(number) for number in range(len(shards))]


def _of_batch(batch: ReadBatch) -> pa.Table:
    return _one_language(batch.documents)


def _one_language(docs: pa.Table) -> pa.Table:
    """``language`` holds what ``lang`` tells where it tells nothing itself."""
    if not {"language", "lang"} <= set(docs.column_names):
        return docs
    both = pc.coalesce(docs["language"], docs["lang"])
    return docs.set_column(docs.column_names.index("language"), "language", both).drop_columns(["lang"])


def _head(table: pa.Table, max_bytes: int | None) -> tuple[pa.Table, int]:
    """The first documents, up to the one that passes a number of bytes of text; and their bytes."""
    ends = np.cumsum(pc.fill_null(pc.binary_length(table["text"]), 0).to_numpy().astype(np.int64))
    rows = len(ends) if max_bytes is None else int(np.searchsorted(ends, max_bytes, side="left")) + 1
    rows = min(rows, len(ends))
    return table.slice(0, rows), int(ends[rows - 1]) if rows else 0
