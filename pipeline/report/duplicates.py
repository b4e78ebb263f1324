"""What deduplication removed: exact and near copies, from which sources, how similar, and how large the clusters were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.documents import EXCERPT_CHARS
from pipeline.errors import UserError
from pipeline.pairs import REMOVED, representative
from pipeline.report import svg
from pipeline.report.account import Account, StepAccount
from pipeline.report.audits import audit
from pipeline.report.markup import Content, Markup, element, markup, section, table
from pipeline.report.reading import MAX_SHARDS, chosen, columns, files
from pipeline.report.units import count, share

_COLUMNS = ("kind", "rep_id", "rep_level", "rep_shard", "rep_row", "estimate", "similarity", "cluster_size")
_SIZES = (2, 3, 4, 8, 16, 64, 256)
_LARGEST = 5
_SOURCES = 50
_BINS = 20


@dataclass
class Clusters:
    """Clusters of duplicates by their representative."""

    sizes: dict[bytes, int] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    estimates: list[float] = field(default_factory=list)
    """Of near copies."""
    similarities: list[float] = field(default_factory=list)
    """Of near copies whose n-grams were counted."""
    places: dict[bytes, Mapping[str, Any]] = field(default_factory=dict)
    """A removed row of each cluster, which says where its representative lies."""

    def add(self, removed: pa.Table) -> None:
        """Take the removed rows of a shard."""
        for row in removed.to_pylist():
            self.kinds[row["kind"]] += 1
            if int(row["cluster_size"]) >= self.sizes.get(row["rep_id"], 0):
                self.sizes[row["rep_id"]], self.places[row["rep_id"]] = int(row["cluster_size"]), row
            if row["kind"] != "near":
                continue
            for name, values in (("estimate", self.estimates), ("similarity", self.similarities)):
                if row.get(name) is not None:
                    values.append(float(row[name]))

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
        found.add(columns(step.dataset, file, _COLUMNS))
    return found


def duplicates(account: Account) -> Markup | None:
    """The section; None where nothing was deduplicated."""
    last = {step.name for step in account.leaves()}
    parts = [_step(step, quote=step.name in last) for step in account.steps if step.ledger.duplicates]
    return section("Duplicates", *parts) if parts else None


def _step(step: StepAccount, *, quote: bool) -> Markup:
    into = step.ledger.into.docs
    rows = [
        (kind, count(c.docs), share(c.docs, into), count(c.bytes)) for kind, c in sorted(step.ledger.duplicates.items())
    ]
    found = clusters(step)
    sizes = found.by_size()
    most = max((how_many for _, how_many in sizes), default=1)
    partial = (
        f" (from {MAX_SHARDS} of {len(step.dataset.commits)} shards)" if len(step.dataset.commits) > MAX_SHARDS else ""
    )
    return markup(
        [
            element("h3", step.name),
            table(("kind", "removed", "of documents", "bytes"), rows),
            element("p", f"{len(found.sizes):,} clusters{partial}."),
            table(("cluster size", "clusters", ""), [(label, count(n), svg.bar(n / most)) for label, n in sizes])
            if sizes
            else None,
            _sources(step),
            element("div", _histograms(found), class_="charts"),
            audit(step),
            _largest(step, found, quote=quote),
        ]
    )


def removed_by_source(step: StepAccount) -> list[tuple[str, int, int]]:
    """Sources, the documents each had, and how many of those are gone; the one that lost most first."""
    into: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    for groups, counter in ((step.ledger.group_into, into), (step.ledger.group_kept, kept)):
        for key, amount in groups.items():
            counter[key.rpartition("|")[0]] += amount.docs
    return sorted(((name, docs, docs - kept[name]) for name, docs in into.items()), key=lambda row: (-row[2], row[0]))


def _sources(step: StepAccount) -> Markup | None:
    rows = removed_by_source(step)
    if not rows:
        return None
    shown: list[Sequence[Content]] = [
        (name or "(none)", count(docs), count(gone), share(gone, docs), svg.bar(gone / docs if docs else 0.0))
        for name, docs, gone in rows[:_SOURCES]
    ]
    more = element("p", f"The {_SOURCES} that lost most of {len(rows):,}.", class_="note")
    gone = "removed or taken down" if step.ledger.taken_down.docs else "removed"
    return markup([table(("source", "documents", gone, "share", ""), shown), more if len(rows) > _SOURCES else None])


def _histograms(found: Clusters) -> list[Markup]:
    """How similar near copies are to what stays for them."""
    drawn = []
    titles = ("Near copies by estimated Jaccard similarity", "Near copies by counted similarity")
    for title, values in zip(titles, (found.estimates, found.similarities), strict=True):
        if values:
            counts, edges = np.histogram(np.clip(values, 0.0, 1.0), _BINS, (0.0, 1.0))
            drawn.append(svg.histogram(edges.tolist(), [("dropped", counts.tolist())], [], title))
    return drawn


def _largest(step: StepAccount, found: Clusters, *, quote: bool) -> Markup | None:
    """The largest clusters by their representatives.

    quote: with the beginning of the text; only where no later step will scrub it.
    """
    largest = sorted(found.sizes.items(), key=lambda item: (-item[1], item[0]))[:_LARGEST]
    if not largest:
        return None
    rows: list[Sequence[Content]] = []
    for identity, size in largest:
        url, text = _read(step, identity, found.places.get(identity), quote=quote)
        about = [element("code", identity.hex()), element("br"), url, element("blockquote", text) if text else None]
        rows.append((about, count(size)))
    return table(("representative of the largest", "documents"), rows)


def _read(
    step: StepAccount, identity: bytes, removed: Mapping[str, Any] | None, *, quote: bool
) -> tuple[str, str | None]:
    """URL and beginning of a representative; nothing where that would mean reading a source again, or it is gone."""
    if removed is None or "rep_shard" not in removed:
        return "", None
    try:
        place = representative(step.dataset.run, step.name, removed)
        found = None if place.read_again else place.read(("id", "url", "text") if quote else ("id", "url"))
    except UserError:
        return "in another run, which is not there", None
    if found is None or found["id"] != identity:
        return "", None
    text = found.get("text")
    return str(found.get("url") or ""), text[:EXCERPT_CHARS] if text else None
