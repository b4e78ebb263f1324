"""The account of documents that are tokenized: kept with their tokens, or dropped for having none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.ledger import Count, Flow, Ledger
from pipeline.rejects import languages, sources

NAME = "tokenize"


def new_ledger() -> Ledger:
    """An account with the one flow of tokenization."""
    return Ledger(flows=[Flow(NAME)])


def count_documents(
    ledger: Ledger, docs: pa.Table, num_bytes: npt.NDArray[np.int64], tokens: npt.NDArray[np.int64]
) -> None:
    """Add documents: what came in, and what was kept, which is what has tokens.

    docs: a table with source and language. num_bytes, tokens: int64 (rows,), end marks included.
    """
    rows = pa.table({
        "language": languages(docs), "source": sources(docs), "kept": pa.array(tokens > 0),
        "bytes": pa.array(num_bytes), "tokens": pa.array(tokens),
    })  # fmt: skip
    sums = rows.group_by(["source", "language", "kept"], use_threads=False).aggregate(
        [("bytes", "count"), ("bytes", "sum"), ("tokens", "sum")]
    )
    (flow,) = ledger.flows
    for row in sums.to_pylist():
        count = Count(row["bytes_count"], row["bytes_sum"], row["tokens_sum"])
        group = f"{row['source']}|{row['language']}"
        ledger.into.merge(count)
        ledger.group_into.setdefault(group, Count()).merge(count)
        flow.into.setdefault(row["language"], Count()).merge(count)
        if row["kept"]:
            ledger.kept.merge(count)
            ledger.group_kept.setdefault(group, Count()).merge(count)
            flow.out.setdefault(row["language"], Count()).merge(count)


def count_dropped(ledger: Ledger, dropped: pa.Table) -> None:
    """Add the reasons of dropped rows, which ``count_documents`` has counted as having come in."""
    sums = dropped.select(["operator", "reason", "bytes"]).group_by(["operator", "reason"], use_threads=False)
    for row in sums.aggregate([("bytes", "count"), ("bytes", "sum")]).to_pylist():
        reason = f"{row['operator']}:{row['reason']}"
        ledger.dropped.setdefault(reason, Count()).add(row["bytes_count"], row["bytes_sum"])
