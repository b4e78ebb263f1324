"""A few documents that were kept, dropped for each reason, and quarantined, as scrubbed excerpts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import pyarrow as pa

from pipeline.documents import EXCERPT_CHARS
from pipeline.report.account import Account, StepAccount
from pipeline.report.markup import Content, Markup, element, folded, markup, section, table
from pipeline.report.reading import chosen, columns, files, smallest_ids
from pipeline.report.units import count, measured

_PER_REASON = 3
_KEPT = 6
_QUARANTINED = 200
_EXAMPLE_SHARDS = 8
_DROPPED_COLUMNS = ("id", "url", "source", "language", "operator", "reason", "value", "threshold", "excerpt")


def examples(account: Account) -> Markup:
    """The section of kept and dropped examples."""
    parts = [_kept(step) for step in account.leaves()]
    parts += [_dropped(step) for step in account.steps if step.ledger.dropped]
    note = (
        "A fixed sample: the documents with the smallest ids. Kept texts are shown only of the last steps, behind every "
        "scrubber; dropped ones as the scrubbed excerpts that lie in dropped/."
    )
    return section("Examples", element("p", note, class_="note"), *parts)


def _kept(step: StepAccount) -> Markup | None:
    shards = step.dataset.shards()[:_EXAMPLE_SHARDS]
    tables = (_excerpted(docs) for shard in shards for docs in islice(shard.documents(), 1))
    rows = smallest_ids(tables, _KEPT)
    if not rows:
        return None
    return markup([element("h3", f"Kept by {step.name}"), [_document(row, None) for row in rows]])


def _excerpted(docs: pa.Table) -> pa.Table:
    wanted = [name for name in ("id", "url", "source", "text") if name in docs.column_names]
    return docs.select(wanted)


def _dropped(step: StepAccount) -> Markup:
    found: dict[str, list[dict[str, Any]]] = {}
    for docs in _dropped_tables(step):
        for row in docs.to_pylist():
            key = f"{row['operator']}:{row['reason']}"
            best = found.setdefault(key, [])
            best.append(row)
            best.sort(key=lambda one: one["id"])
            del best[_PER_REASON:]
    order = sorted(found, key=lambda key: -step.ledger.dropped[key].docs if key in step.ledger.dropped else 0)
    groups = [
        folded(
            f"{key}: {count(step.ledger.dropped[key].docs) if key in step.ledger.dropped else '?'} documents",
            [_document(row, _why(row)) for row in found[key]],
        )
        for key in order
    ]
    return markup([element("h3", f"Dropped by {step.name}"), groups])


def _dropped_tables(step: StepAccount) -> Iterator[pa.Table]:
    for _, file in files(step.dataset, "dropped", ".parquet", chosen(step.dataset)[:_EXAMPLE_SHARDS]):
        yield columns(step.dataset, file, _DROPPED_COLUMNS)


def _why(row: Mapping[str, object]) -> str:
    threshold = str(row["threshold"]) if row["threshold"] else None
    found = f" measured {measured(str(row['value']), threshold)}," if row["value"] is not None else ""
    wanted = f" wanted {threshold}" if threshold else ""
    return f"{row['operator']}:{row['reason']}{found}{wanted}".rstrip(",")


def _document(row: Mapping[str, object], why: str | None) -> Markup:
    identity = row["id"]
    text = row.get("excerpt", row.get("text"))
    shown = str(text)[:EXCERPT_CHARS] if text is not None else "(no text)"
    return element(
        "div",
        element(
            "div",
            element("code", identity.hex() if isinstance(identity, bytes) else str(identity)),
            " ",
            str(row.get("url") or ""),
            class_="soft",
        ),
        element("div", why) if why else None,
        element("blockquote", shown),
    )


def quarantine(account: Account) -> Markup | None:
    """The section of documents that failed; None where none did."""
    whole = sum(c.docs for step in account.steps for c in step.ledger.quarantined.values())
    if not whole:
        return None
    rows = list(islice(_quarantined(account), _QUARANTINED))
    head = ("step", "operator", "error", "document", "excerpt")
    return section(
        "Quarantine",
        element("p", f"{whole:,} documents could not be treated; {len(rows):,} are shown.", class_="note"),
        table(head, rows, text_columns=len(head)),
    )


def _quarantined(account: Account) -> Iterator[list[Content]]:
    for step in account.steps:
        for _, file in files(step.dataset, "quarantine", ".parquet"):
            names = ("id", "url", "origin", "operator", "error", "excerpt")
            for row in columns(step.dataset, file, names).to_pylist():
                identity = row["id"].hex() if row["id"] is not None else ""
                yield [
                    step.name,
                    row["operator"],
                    row["error"],
                    [identity, element("br"), row["url"] or row["origin"]],
                    row["excerpt"],
                ]
