"""Bucket keys of documents, sorted, from their signatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from operators.dedup.columns import open_columns, write_columns
from operators.dedup.order import check_addressable
from operators.dedup.signatures import SKETCH, Signatures
from operators.dedup.sketch import Arrays
from operators.kernels.minhash import band_keys
from pipeline.value import Value
from pipeline.work import Extent, Kind, Output, Result, ShardWork, Task, TaskPlan

RUN = ".run"


class Bands(Value):
    """One bucket per band of ``rows`` slots; the first ``bands * rows`` slots of a signature make the keys."""

    bands: int = Field(default=14, ge=1, le=1000)
    rows: int = Field(default=8, ge=1, le=1000)

    @property
    def parameters(self) -> dict[str, Any]:
        """What files of keys must have been made with, beside the parameters of the signatures."""
        return {"bands": self.bands, "rows": self.rows}


class BandRuns(ShardWork):
    """Per shard of signatures: ``.run``, ``key`` and ``row`` sorted by both.

    One record per band of every document that has a shingle; shorter ones have none, so that they only ever equal
    their exact copies. Memory: 40 bytes a record, i.e. 560 a document of the shard at 14 bands.
    """

    kind: ClassVar[Kind] = "work"

    signatures: Signatures
    bands: Bands = Bands()

    @property
    def parameters(self) -> dict[str, Any]:
        """What runs must have been made with to be read together."""
        return {**self.signatures.parameters, **self.bands.parameters}

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """One per shard."""
        check_addressable(shards["signatures"].count)
        return [TaskPlan(k, {"signatures": (k,)}) for k in range(shards["signatures"].count)]

    def run(self, task: Task) -> Result:
        """Sort one shard's keys."""
        (shard,) = task.inputs["signatures"]
        sketch = open_columns(shard.file(SKETCH), "sketch", self.signatures.parameters, verify=True)
        run = sorted_run({name: sketch[name] for name in ("shingles", "slots")}, self.bands)
        path = task.scratch / f"bands{RUN}"
        write_columns(path, "run", self.parameters, run)
        return Result([Output(path, RUN)], facts={"records": len(run["key"])})


def sorted_run(columns: Arrays, bands: Bands) -> Arrays:
    """The bucket keys of every row that has a shingle: ``key`` and ``row``, by both."""
    rows = np.flatnonzero(columns["shingles"]).astype(np.uint32)
    keys = band_keys(columns["slots"][rows], bands.bands, bands.rows).ravel()
    order = np.argsort(keys, kind="stable")
    return {"key": keys[order], "row": np.repeat(rows, bands.bands)[order]}
