"""Held-out sets: how much of the documents each one holds, and in how many clusters."""

from __future__ import annotations

from itertools import groupby

from pipeline.report.account import Account, StepAccount
from pipeline.report.markup import Markup, element, markup, section, table
from pipeline.report.units import count, share, size
from pipeline.work import owner

_HEAD = ("set", "documents", "share", "bytes", "clusters", "largest cluster")


def splits(account: Account) -> Markup | None:
    """The section; None where nothing was held out."""
    steps = [step for step in account.steps if step.verb == "split" and step.ledger.into.docs]
    parts = [_split(name, list(sides)) for name, sides in groupby(steps, key=lambda step: owner(step.name))]
    note = (
        "Documents that are copies, near copies, or connected by a chain of near copies lie in one set: a cluster is "
        "never cut. Clusters beyond the step's max_cluster train."
    )
    return section("Held-out sets", element("p", note, class_="note"), *parts) if parts else None


def _split(name: str, sides: list[StepAccount]) -> Markup:
    sides = sorted(sides, key=lambda side: side.name != name)
    rows = [
        (
            "training" if side.name == name else side.name,
            count(side.ledger.kept.docs),
            share(side.ledger.kept.docs, side.ledger.into.docs),
            size(side.ledger.kept.bytes),
            count(sum(facts["clusters"] for facts in _facts(side))),
            count(max((facts["largest_cluster"] for facts in _facts(side)), default=0)),
        )
        for side in sides
    ]
    oversized = sum(facts["oversized"] for side in sides for facts in _facts(side))
    more = element("p", f"{oversized:,} documents train because their cluster is too large.") if oversized else None
    return markup([element("h3", name), table(_HEAD, rows), more])


def _facts(side: StepAccount) -> list[dict[str, int]]:
    return [dict(commit.facts) for commit in side.dataset.commits.values()]
