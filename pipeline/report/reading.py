"""Reads what a run wrote, a few columns at a time, and no more shards than a page needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.commit import Published
from pipeline.dataset import Dataset
from pipeline.storage import Storage
from pipeline.stores import open_input

MAX_SHARDS = 32
"""Shards of a step that examples and histograms look at, spread evenly over it: a page must not reread a corpus."""


def chosen(dataset: Dataset) -> list[int]:
    """Numbers of the committed shards a page looks at."""
    numbers = sorted(dataset.commits)
    if len(numbers) <= MAX_SHARDS:
        return numbers
    return [numbers[k * len(numbers) // MAX_SHARDS] for k in range(MAX_SHARDS)]


def files(
    dataset: Dataset, folder: str, suffix: str, shards: Sequence[int] | None = None
) -> Iterator[tuple[int, Published]]:
    """Committed files of a folder whose names end so: (shard, file)."""
    for k in sorted(dataset.commits) if shards is None else shards:
        for output in dataset.commits[k].outputs:
            if output.folder == folder and output.suffix.endswith(suffix):
                yield k, output


def parquet(storage: Storage, name: str) -> pq.ParquetFile:
    """A Parquet file of a run; from an object store only the parts asked for are fetched."""
    return pq.ParquetFile(storage.local_path(name) if storage.is_local else open_input(f"{storage.uri}/{name}"))


def columns(dataset: Dataset, file: Published, names: Sequence[str]) -> pa.Table:
    """The columns of these names that a file has."""
    with parquet(dataset.run.storage, file.name) as opened:
        return opened.read([name for name in names if name in opened.schema_arrow.names])


def fields(dataset: Dataset, file: Published) -> pa.Schema:
    """The schema of a Parquet file."""
    with parquet(dataset.run.storage, file.name) as opened:
        return opened.schema_arrow


def smallest_ids(tables: Iterable[pa.Table], limit: int) -> list[dict[str, Any]]:
    """Rows with the smallest ids: a fixed random sample, since ids are hashes."""
    best: list[dict[str, Any]] = []
    for table in tables:
        ids: list[Any] = table["id"].to_pylist()
        first = sorted(range(len(ids)), key=lambda row: ids[row])[:limit]
        found = table.take(pa.array(first, pa.int64())).to_pylist()
        best = sorted([*best, *found], key=lambda row: row["id"])[:limit]
    return best
