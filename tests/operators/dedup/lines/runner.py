"""Runs the nodes of a ``dedup_lines`` step over tables, without an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from operators.dedup.lines.verb import DedupLines
from pipeline.documents import ID_TYPE
from pipeline.ledger import Ledger, total
from pipeline.operator import Map
from pipeline.work import Result
from tests.operators.dedup.lines.twins import Page
from tests.operators.dedup.runner import run_nodes


def pages_table(pages: Sequence[Page]) -> pa.Table:
    columns: dict[str, Any] = {
        "id": pa.array([page.id for page in pages], ID_TYPE),
        "text": pa.array([page.text for page in pages], pa.large_string()),
        "url": pa.array([page.url for page in pages], pa.string()),
        "source": pa.array([page.source for page in pages], pa.string()),
        "language.label": pa.array([page.language for page in pages], pa.string()),
    }
    return pa.table(columns)


@dataclass
class Outcome:
    """What a run left, by node."""

    results: Mapping[str, list[Result]]
    step: str

    def table(self, folder: str = "shards") -> list[dict[str, Any]]:
        """Rows of the step's kept, dropped or quarantined files, in the order of the shards."""
        paths = [o.path for r in self.results[self.step] for o in r.outputs if o.folder == folder]
        return [row for path in paths for row in pq.read_table(path).to_pylist()]

    def texts(self) -> dict[bytes, str | None]:
        """The text of every document; None where it was dropped because nothing is left, or was null before."""
        kept = {row["id"]: row["text"] for row in self.table()}
        return {**kept, **{row["id"]: None for row in self.table("dropped")}}

    def files(self, node: str) -> list[bytes]:
        """The bytes of a node's files, in the order of its tasks."""
        return [output.path.read_bytes() for result in self.results[f"{self.step}.{node}"] for output in result.outputs]

    @property
    def ledger(self) -> Ledger:
        return total(result.ledger for result in self.results[self.step])


def run(
    verb: DedupLines,
    shards: Sequence[Sequence[pa.Table]],
    folder: Path,
    step: str = "lines",
    scrubbers: tuple[Map, ...] = (),
) -> Outcome:
    """Run every node over shards, each a list of batches; scrubbers as a workflow would hand them to the last."""
    *inner, last = verb.nodes(step, "docs", 0)
    last = replace(last, work=last.work.model_copy(update={"scrubbers": scrubbers}))
    _, results = run_nodes((*inner, last), shards, folder)
    return Outcome(results, step)
