"""The tables of a run by which documents are found: columns of its files, and sources that nothing copied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.commit import Published
from pipeline.dataset import Dataset, Run
from pipeline.errors import UserError
from pipeline.report.reading import parquet
from pipeline.work import ARTIFACT_ROLE


def needs_reading(run: Run, step: str) -> bool:
    """True for a source that has to be read again: nothing copied it whole, or others count its rows."""
    consumers = [node for node in run.nodes.values() if step in node["inputs"].values()]
    copied = any(node["kind"] == "documents" and node["dataset"] is not None and not refers(node) for node in consumers)
    return not copied or any(node["kind"] != "documents" or refers(node) for node in consumers)


def refers(node: Mapping[str, Any]) -> bool:
    """True for documents and selections that were made by more than the rows before them, and may refer to their numbers."""
    roles = [role for role in node["inputs"] if not role.startswith(ARTIFACT_ROLE)]
    return node["kind"] == "selection" or (node["kind"] == "documents" and len(roles) > 1)


def read_again(dataset: Dataset, notes: list[str]) -> Iterator[pa.Table]:
    """The documents of a source that has to be read again; nothing of another dataset."""
    if dataset.kind == "source" and needs_reading(dataset.run, dataset.name):
        for index in sorted(dataset.commits):
            yield from source_shard(dataset, index, notes)


def source_shard(dataset: Dataset, index: int, notes: list[str]) -> Iterator[pa.Table]:
    """The documents of one shard of a source; where it cannot be read and need not be, a note instead.

    Raises:
        UserError: it cannot be read, and bitmaps count its rows.
    """
    shard = next(one for one in dataset.shards() if one.index == index)
    try:
        yield from shard.documents()
    except OSError as error:
        what = f"source {dataset.name!r} cannot be read any more: {error}"
        if any(
            node["kind"] == "selection" and node["inputs"].get("documents") == dataset.name
            for node in dataset.run.nodes.values()
        ):
            msg = f"{what}; a keep bitmap counts its rows, so bring the file back and take down again"
            raise UserError(msg) from error
        notes.append(f"{what}; it was not searched")


def row_tables(dataset: Dataset, names: Sequence[str]) -> Iterator[tuple[int, Published, pa.Table]]:
    """Columns of every Parquet file of a dataset that has an id: (shard, file, table)."""
    for index in sorted(dataset.commits):
        for output in dataset.commits[index].outputs:
            if not output.suffix.endswith(".parquet"):
                continue
            with parquet(dataset.run.storage, output.name) as opened:
                there = opened.schema_arrow.names
                if "id" in there:
                    yield index, output, opened.read([name for name in names if name in there])
