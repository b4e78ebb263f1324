"""The true similarity of a sample of removed pairs: its distribution, and the least similar ones side by side."""

from __future__ import annotations

from typing import Any

from pipeline.difference import difference
from pipeline.report import svg
from pipeline.report.account import StepAccount
from pipeline.report.markup import Content, Markup, element, folded, markup, table
from pipeline.report.reading import columns, files

AUDIT = "audit.parquet"
_WORST = 5
_COLUMNS = ("id", "url", "rep_id", "rep_url", "estimate", "jaccard", "containment", "rep_containment")
_EXCERPTS = ("excerpt", "rep_excerpt")


def audit(step: StepAccount) -> Markup | None:
    """What the step's audit found; None where there was none, or it is not done."""
    run = step.dataset.run
    name = f"{step.name}.audit"
    if name not in run.nodes or run.nodes[name]["dataset"] is None:
        return None
    dataset = run[name]
    facts: dict[str, Any] = {}
    pairs: list[dict[str, Any]] = []
    for _, file in files(dataset, "shards", AUDIT):
        facts = dict(dataset.shards()[0].facts)
        pairs = columns(dataset, file, (*_COLUMNS, *_EXCERPTS)).to_pylist()
    if not facts.get("pairs"):
        return None
    counts: list[int] = facts["histogram"]
    edges = [k / len(counts) for k in range(len(counts) + 1)]
    chart = svg.histogram(
        edges, [("dropped", counts)], [(0.5, "0.5")], "Audited pairs by their true Jaccard similarity"
    )
    worst = sorted((one for one in pairs if one["jaccard"] is not None), key=lambda one: (one["jaccard"], one["id"]))
    words = (
        f"Audit: {facts['pairs']:,} removed near copies were read again beside what stays for them. "
        f"{100 * facts['below_half']:.1f} % have a true Jaccard similarity below 0.5. "
        f"The estimate is off by {facts['mean_error']:+.3f} in the mean, by {facts['mean_absolute_error']:.3f} without signs."
    )
    return markup([element("p", words), element("div", chart, class_="charts"), [_pair(one) for one in worst[:_WORST]]])


def _pair(pair: dict[str, Any]) -> Markup:
    """Two excerpts side by side."""
    left, right = marked(pair["excerpt"] or "", pair["rep_excerpt"] or "")
    summary = (
        f"Jaccard {pair['jaccard']:.2f} (estimated {pair['estimate']:.2f}), {_share(pair['containment'])} of the removed "
        f"text's n-grams are in the other, {_share(pair['rep_containment'])} of the other's in it"
    )
    heads = [
        [side, " ", element("code", pair[key].hex()), element("br"), pair[url] or ""]
        for side, key, url in (("removed", "id", "url"), ("kept", "rep_id", "rep_url"))
    ]
    rows = [heads, [element("blockquote", left), element("blockquote", right)]]
    return folded(summary, table(("removed", "kept"), rows, text_columns=2))


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def marked(left: str, right: str) -> tuple[list[Content], list[Content]]:
    """Two texts, with what only one of them has in ``del`` (left) and ``ins`` (right)."""
    segments = difference(left, right)
    return (
        [one.left if one.same else element("del", one.left) for one in segments if one.left],
        [one.right if one.same else element("ins", one.right) for one in segments if one.right],
    )
