"""What deduplication removed: exact and near copies, and how large the clusters were."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.report import svg
from pipeline.report.account import Account, StepAccount
from pipeline.report.markup import Markup, element, markup, section, table
from pipeline.report.reading import MAX_SHARDS, chosen, columns, files
from pipeline.report.units import count, share

REMOVED = "removed.parquet"
_SIZES = (2, 3, 4, 8, 16, 64, 256)
_LARGEST = 5


@dataclass
class Clusters:
    """Clusters of duplicates by their representative."""

    sizes: dict[bytes, int] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    estimates: list[float] = field(default_factory=list)

    def add(self, removed: pa.Table) -> None:
        """Take the removed rows of a shard."""
        for row in removed.to_pylist():
            self.kinds[row["kind"]] += 1
            self.sizes[row["rep_id"]] = max(self.sizes.get(row["rep_id"], 0), int(row["cluster_size"]))
            if row.get("estimate") is not None:
                self.estimates.append(float(row["estimate"]))

    def by_size(self) -> list[tuple[str, int]]:
        """Clusters in classes of size: (label, how many)."""
        found = Counter(max((edge for edge in _SIZES if edge <= size), default=size) for size in self.sizes.values())
        ends = dict(zip(_SIZES, [*(edge - 1 for edge in _SIZES[1:]), 0], strict=True))
        label = {
            edge: f"{edge}" if end == edge else f"{edge} and more" if not end else f"{edge} to {end}"
            for edge, end in ends.items()
        }
        return [(label.get(edge, str(edge)), found[edge]) for edge in sorted(found)]


def clusters(step: StepAccount) -> Clusters:
    """Read the removed rows of a step."""
    found = Clusters()
    for _, file in files(step.dataset, "shards", REMOVED, chosen(step.dataset)):
        found.add(columns(step.dataset, file, ("kind", "rep_id", "estimate", "cluster_size")))
    return found


def duplicates(account: Account) -> Markup | None:
    """The section; None where nothing was deduplicated."""
    parts = [_step(step) for step in account.steps if step.ledger.duplicates]
    return section("Duplicates", *parts) if parts else None


def _step(step: StepAccount) -> Markup:
    into = step.ledger.into.docs
    rows = [
        (kind, count(c.docs), share(c.docs, into), count(c.bytes)) for kind, c in sorted(step.ledger.duplicates.items())
    ]
    found = clusters(step)
    sizes = found.by_size()
    most = max((how_many for _, how_many in sizes), default=1)
    largest = sorted(found.sizes.items(), key=lambda item: (-item[1], item[0]))[:_LARGEST]
    partial = (
        f" (from {MAX_SHARDS} of {len(step.dataset.commits)} shards)" if len(step.dataset.commits) > MAX_SHARDS else ""
    )
    near = found.estimates
    return markup(
        [
            element("h3", step.name),
            table(("kind", "removed", "of documents", "bytes"), rows),
            element(
                "p",
                f"{len(found.sizes):,} clusters{partial}. ",
                f"Estimated similarity of near copies: {min(near):.2f} to {max(near):.2f}." if near else None,
            ),
            table(("cluster size", "clusters", ""), [(label, count(n), svg.bar(n / most)) for label, n in sizes])
            if sizes
            else None,
            table(
                ("representative of the largest", "documents"),
                [(element("code", i.hex()), count(n)) for i, n in largest],
            )
            if largest
            else None,
        ]
    )
