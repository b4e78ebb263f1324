"""How large the strata of a corpus are, and how far into each the sample goes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from operators.tokenize.training.sample import Chosen, Strata, buckets, cut
from pipeline.documents import as_documents, text_bytes
from pipeline.errors import RunFailedError
from pipeline.work import EVERY, Extent, Kind, Output, Result, Shard, ShardWork, Sink, StreamWork, Task, TaskPlan

SIZES = ".strata.parquet"
LIMITS = ".limits.json"

_SCHEMA = pa.schema([("stratum", pa.string()), ("bucket", pa.int64()), ("docs", pa.int64()), ("bytes", pa.int64())])
_MOST_ROWS = 1 << 20  # of sums waiting to be summed: some 40 MB


class StratumSizes(StreamWork):
    """Per shard ``.strata.parquet``: documents and bytes of each stratum and bucket, texts cut to ``max_chars``.

    Memory: a row for each bucket of each stratum, some thousand of 40 bytes each.
    """

    kind: ClassVar[Kind] = "work"

    strata: Strata
    max_chars: int
    seed: int

    def open(self, task: Task) -> Sink:
        """A sink for one shard."""
        return _SizesSink(self, task)


class _SizesSink(Sink):
    """Sums by stratum and bucket."""

    def __init__(self, work: StratumSizes, task: Task) -> None:
        self._work = work
        self._scratch = task.scratch
        self._sums = Sums()

    def add(self, docs: pa.Table) -> pa.Table:
        table = as_documents(docs)
        size = text_bytes(cut(table, self._work.max_chars)).to_numpy()
        rows = pa.table({
            "stratum": self._work.strata.names(table), "bucket": pa.array(buckets(table, self._work.seed)),
            "docs": pa.array(np.ones(len(size), np.int64)), "bytes": pa.array(size.astype(np.int64)),
        })  # fmt: skip
        self._sums.add(rows.filter(pa.array(size > 0)))
        return docs

    def close(self) -> Result:
        path = self._scratch / "sizes.parquet"
        pq.write_table(self._sums.table(), path)
        return Result([Output(path, SIZES)])


class Sums:
    """Documents and bytes by stratum and bucket."""

    def __init__(self) -> None:
        self._parts: list[pa.Table] = [_SCHEMA.empty_table()]
        self._rows = 0

    def add(self, rows: pa.Table) -> None:
        """Add rows of the schema."""
        self._parts.append(rows.cast(_SCHEMA))
        self._rows += rows.num_rows
        if self._rows > _MOST_ROWS:
            self._parts = [self.table()]
            self._rows = 0

    def table(self) -> pa.Table:
        """One row for each stratum and bucket, in order."""
        whole = pa.concat_tables(self._parts)
        sums = whole.group_by(["stratum", "bucket"]).aggregate([("docs", "sum"), ("bytes", "sum")])
        sums = sums.rename_columns(["stratum", "bucket", "docs", "bytes"]).cast(_SCHEMA)
        return sums.sort_by([("stratum", "ascending"), ("bucket", "ascending")])


class SampleLimits(ShardWork):
    """``.limits.json``: for each stratum its documents and bytes, those of the sample, and the first bucket left out.

    ``measured`` is the same for the part of the sample, of ``measured_bytes`` at most, on which compression is measured.
    """

    kind: ClassVar[Kind] = "work"
    barrier: ClassVar[bool] = True

    strata: Strata
    sample_bytes: int = Field(ge=1)
    measured_bytes: int = Field(ge=1)

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """One task over every shard."""
        del shards
        return [TaskPlan(0, {"strata": EVERY})]

    def run(self, task: Task) -> Result:
        """Sum over the shards and decide.

        Raises:
            RunFailedError: no document has any text; look at what the steps before have dropped.
            UserError: a weight names no stratum.
        """
        shards, sums = task.inputs["strata"], Sums()
        for shard in shards:
            sums.add(pq.read_table(shard.file(SIZES)))
        found = _by_stratum(sums.table())
        if not found:
            msg = f"nothing to train a tokenizer on: {len(shards)} shards without any text"
            raise RunFailedError(msg)
        sizes = {name: int(rows["bytes"].sum()) for name, rows in found.items()}
        budgets = self.strata.budgets(sizes, self.sample_bytes)
        strata = {name: _taken(rows, budgets.get(name, 0)) for name, rows in found.items()}
        whole = sum(row["sample_bytes"] for row in strata.values())
        share = min(1.0, self.measured_bytes / max(whole, 1))
        for name, rows in found.items():
            few = _taken(rows, int(strata[name]["sample_bytes"] * share))
            strata[name]["measured"] = min(few["limit"], strata[name]["limit"])
        path = task.scratch / "limits.json"
        path.write_text(json.dumps(strata, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
        return Result([Output(path, LIMITS)], facts={"strata": len(strata), "sample_bytes": whole})


def _by_stratum(sums: pa.Table) -> dict[str, dict[str, Any]]:
    """Columns of each stratum, by bucket."""
    found: dict[str, dict[str, Any]] = {}
    names = sums["stratum"].to_pylist()
    columns = {name: sums[name].to_numpy() for name in ("bucket", "docs", "bytes")}
    starts = [k for k in range(len(names)) if k == 0 or names[k] != names[k - 1]]
    for begin, end in pairwise([*starts, len(names)]):
        found[str(names[begin])] = {name: column[begin:end] for name, column in columns.items()}
    return found


def _taken(rows: Mapping[str, Any], budget: int) -> dict[str, Any]:
    """As many buckets as fit the budget, at least one; none where the budget is 0."""
    fitting = int(np.searchsorted(np.cumsum(rows["bytes"]), budget, side="right"))
    number = max(1, fitting) if budget > 0 else 0
    return {
        "docs": int(rows["docs"].sum()), "bytes": int(rows["bytes"].sum()),
        "sample_docs": int(rows["docs"][:number].sum()), "sample_bytes": int(rows["bytes"][:number].sum()),
        "limit": int(rows["bucket"][number - 1]) + 1 if number else 0,
    }  # fmt: skip


def read_limits(shards: Sequence[Shard]) -> dict[str, dict[str, Any]]:
    """What ``SampleLimits`` has decided, by stratum."""
    return json.loads(shards[0].file(LIMITS).read_text(encoding="utf-8"))


def chosen(strata: Mapping[str, Mapping[str, Any]], limit: str = "limit") -> Chosen:
    """The documents of the sample, or, with ``measured``, of the part that compression is measured on."""
    return Chosen({name: int(row[limit]) for name, row in strata.items()})
