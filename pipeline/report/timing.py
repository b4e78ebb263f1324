"""Where the time went, and what holds the run up."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.report import svg
from pipeline.report.account import Account
from pipeline.report.markup import Markup, element, markup, section, table
from pipeline.report.units import count, seconds, size


@dataclass(frozen=True)
class NodeTime:
    """CPU seconds of a step's tasks (or of an inner node's), and the span from the first to the last commit."""

    name: str
    cpu_s: float
    span_s: float
    docs: int
    bytes: int


def node_times(account: Account) -> list[NodeTime]:
    """One a node, inner ones too, in the order they run."""
    found = []
    for name, node in account.run.nodes.items():
        if node["dataset"] is None:
            continue
        step = next((one for one in account.steps if one.name == name), None)
        dataset = step.dataset if step else account.run[name]
        commits = list(dataset.commits.values())
        if not commits:
            continue
        cpu = sum(float(commit.run.get("seconds", 0.0)) for commit in commits)
        ends = [float(commit.run["ended"]) for commit in commits if "ended" in commit.run]
        starts = [float(c.run["ended"]) - float(c.run.get("seconds", 0.0)) for c in commits if "ended" in c.run]
        ledger = step.ledger if step else dataset.ledger
        span = max(ends) - min(starts) if ends else 0.0
        found.append(NodeTime(name, cpu, span, ledger.into.docs, ledger.into.bytes))
    return found


def bottleneck(times: list[NodeTime]) -> NodeTime | None:
    """The node with the most CPU seconds."""
    return max(times, key=lambda one: one.cpu_s, default=None)


def timing(account: Account) -> Markup:
    """The section."""
    times = node_times(account)
    whole = sum(one.cpu_s for one in times) or 1.0
    worst = bottleneck(times)
    rows = [
        (
            one.name,
            seconds(one.cpu_s),
            svg.bar(one.cpu_s / whole),
            seconds(one.span_s),
            _rate(one.docs, one.cpu_s, count),
            _rate(one.bytes, one.cpu_s, size),
        )
        for one in times
    ]
    operators = sorted(
        (
            (
                flow.seconds,
                step.name,
                flow.operator,
                sum(c.docs for c in flow.into.values()),
                sum(c.bytes for c in flow.into.values()),
            )
            for step in account.steps
            for flow in step.ledger.flows
            if flow.seconds
        ),
        reverse=True,
    )
    note = (
        "CPU seconds of committed tasks, so shards that were reused count as when they were made. The span runs from the "
        "first to the last commit. Training counts only the driver's own time; its tokens per second are in metrics.jsonl."
    )
    return section(
        "Timing",
        element("p", f"Most CPU time: {worst.name}, {seconds(worst.cpu_s)} of {seconds(whole)}.") if worst else None,
        table(("step", "CPU", "share", "span", "documents/s of CPU", "text/s of CPU"), rows),
        markup(
            [
                element("h3", "Operators"),
                table(
                    ("step", "operator", "CPU", "documents/s of CPU", "text/s of CPU"),
                    [
                        (step, name, seconds(spent), _rate(docs, spent, count), _rate(num, spent, size))
                        for spent, step, name, docs, num in operators
                    ],
                    text_columns=2,
                ),
            ]
        )
        if operators
        else None,
        element("p", note, class_="note"),
    )


def _rate(amount: int, spent: float, shown: object) -> str:
    return "-" if not amount or not spent or not callable(shown) else str(shown(round(amount / spent)))
