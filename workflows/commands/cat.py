"""``sluice cat``: what a step holds, as text or as JSON lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from pipeline.dataset import Dataset, Run
from pipeline.trace import TOKENIZED

_EXCERPT_CHARS = 200


def print_step(uri: str, step: str, limit: int | None, *, as_json: bool) -> None:
    """Print a step's documents (bitmaps applied), the rows of its token shards, or the paths of its files.

    Raises:
        UserError: no such run or step.
    """
    dataset = Run.open(uri)[step]
    if dataset.kind not in ("source", "documents", "selection", "tokens"):
        _print_files(dataset, limit, as_json=as_json)
        return
    tables = _token_rows(dataset) if dataset.kind == "tokens" else dataset.documents()
    rows = (row for table in tables for row in _rows(table))
    for row in islice(rows, limit):
        typer.echo(orjson.dumps(row, default=str) if as_json else _line(row))


def _token_rows(dataset: Dataset) -> Iterator[pa.Table]:
    for k in sorted(dataset.commits):
        for output in dataset.commits[k].outputs:
            if output.suffix.endswith(TOKENIZED):
                yield pq.read_table(dataset.run.storage.local_path(output.name))


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Rows with bytes as hex; a slice at a time, since texts are large."""
    for batch in table.to_batches(max_chunksize=256):
        for row in batch.to_pylist():
            yield {name: plain(value) for name, value in row.items()}


def plain(value: object) -> Any:
    """Bytes as hex, also inside lists and structs."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value


def _line(row: Mapping[str, Any]) -> str:
    if "text" not in row:
        return "  ".join(f"{name}={one_line(str(value))}" for name, value in row.items())
    text = row["text"]
    shown = "(no text)" if text is None else one_line(text[: 4 * _EXCERPT_CHARS])[:_EXCERPT_CHARS]
    return f"{row['id']}  {one_line(str(row.get('url') or '-'))}\n    {shown}"


def one_line(text: str) -> str:
    """Text that a terminal takes as text: blanks run together, control and direction characters out."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _print_files(dataset: Dataset, limit: int | None, *, as_json: bool) -> None:
    outputs = [output for k in sorted(dataset.commits) for output in dataset.commits[k].outputs]
    for output in outputs[:limit]:
        path = f"{dataset.run.storage.uri}/{output.name}"
        typer.echo(orjson.dumps({"path": path, "bytes": output.bytes, "sha256": output.sha256}) if as_json else path)
