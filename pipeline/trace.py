"""The way of one document through a run: what every step made of it, and where its tokens lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from pipeline.lookup import named_rows, rows_with_id, starts_with
from pipeline.pairs import REMOVED, representative_facts, stands_for, verification
from pipeline.report.account import Account, StepAccount
from pipeline.report.reading import columns, files
from pipeline.work import owner

Outcome = Literal["kept", "dropped", "duplicate", "held_out", "quarantined", "tokenized", "waiting", "missing"]

TOKENIZED = "docs.parquet"
HELD_OUT = "held_out.parquet"

_ABOUT = ("url", "record_id", "source", "date", "origin")


@dataclass(frozen=True)
class Fate:
    """What a step made of one row. ``rows``: how many rows of the same id it made the same of."""

    step: str
    verb: str
    outcome: Outcome
    shard: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """As the outcome has it: ``operator``, ``reason``, ``value``, ``threshold``; ``error``; ``kind``, ``of``,
    ``of_url``, ``of_source``, ``of_date``, ``of_run`` (None: this one), ``estimate``, ``similarity`` (None: not
    counted), ``verify`` (what similarity is: jaccard or containment), ``cluster_size`` and the row of the step's account, ``removed``; ``stands_for`` and ``ids`` of some of
    those a kept document stands for; ``set``; ``file``, ``start``, ``num_tokens``. ``measures`` where there are some."""
    rows: int = 1


def follow(account: Account, identity: bytes) -> list[Fate]:
    """Every step's verdict on the rows with this id, in the order of the steps."""
    walk = _Walk(account, identity)
    steps = {step.name: step for step in account.steps}
    fates: list[Fate] = []
    for name in account.run.nodes:
        if name in steps:
            fates.extend(walk.through(steps[name]))
    return fates


def about(account: Account, identity: bytes) -> dict[str, Any]:
    """What is known of a document itself: url, record_id, source, date, origin.

    From the first row of it that was written; where nothing copied it, the source is read again.
    """
    for step in account.steps:
        for _, row in _written(step, identity):
            return {name: row.get(name) for name in _ABOUT}
    for step in account.steps:
        if step.dataset.kind == "source":
            for docs in step.dataset.documents():
                hits = np.flatnonzero(starts_with(docs["id"], identity.hex()))
                if len(hits):
                    found = docs.select([name for name in _ABOUT if name in docs.column_names])
                    row = found.slice(int(hits[0]), 1).to_pylist()[0]
                    return {name: row.get(name) for name in _ABOUT}
    return {}


def without_id(account: Account, origin: str) -> list[tuple[dict[str, Any], Fate]]:
    """Records that could not be read, so that they have no id, by their origin: what is known of each, and its end."""
    found = []
    for step in account.steps:
        for shard, file in files(step.dataset, "quarantine", ".parquet"):
            names = (*_ABOUT, "id", "operator", "error", "excerpt")
            table = columns(step.dataset, file, names)
            table = table.filter(table["id"].is_null())
            for row in table.filter(named_rows(table, origin)).to_pylist():
                facts = {name: row[name] for name in ("operator", "error", "excerpt")}
                fate = Fate(step.name, step.verb, "quarantined", shard, facts)
                found.append(({name: row.get(name) for name in _ABOUT}, fate))
    return found


class _Walk:
    """Goes through the steps; remembers how many rows of the id each one holds."""

    def __init__(self, account: Account, identity: bytes) -> None:
        self._account = account
        self._identity = identity
        self._held: dict[str, int] = {}

    def through(self, step: StepAccount) -> list[Fate]:
        into = self._held.get(step.source, 0) if step.source else None
        if into == 0:
            return []
        if owner(step.name) != step.name:
            # The split itself tells of every row; here only those that this set holds go on.
            self._held[step.name] = len(list(self._held_out(step)))
            return []
        kind = step.dataset.kind
        if kind == "source":
            fates = self._read(step)
        elif kind == "documents":
            fates = [*self._kept_rows(step), *self._gone(step)]
        elif kind == "selection":
            fates = self._selected(step, into or 0)
        elif kind == "tokens":
            fates = [*self._tokens(step), *self._gone(step)]
        else:
            return []
        found = sum(fate.rows for fate in fates)
        if into is not None and found < into:
            outcome: Outcome = "missing" if step.dataset.complete else "waiting"
            fates.append(Fate(step.name, step.verb, outcome, rows=into - found))
        self._held[step.name] = sum(fate.rows for fate in fates if fate.outcome in ("kept", "tokenized"))
        return fates

    def _read(self, step: StepAccount) -> list[Fate]:
        """What a source let through is known from the rows of the step behind it, else the source is read again."""
        gone = list(self._gone(step))
        behind = [one for one in self._account.steps if one.source == step.name and one.dataset.kind == "documents"]
        counts = [sum(1 for _ in _written(one, self._identity)) for one in behind]
        if any(one.dataset.complete for one in behind) or any(counts):
            held = max(counts)
        else:
            digits = self._identity.hex()
            held = sum(int(np.count_nonzero(starts_with(docs["id"], digits))) for docs in step.dataset.documents())
        kept = [Fate(step.name, step.verb, "kept", rows=held)] if held else []
        return [*kept, *gone]

    def _kept_rows(self, step: StepAccount) -> Iterator[Fate]:
        for shard, file in files(step.dataset, "shards", ".parquet"):
            for _, row in rows_with_id(step.dataset, file.name, self._identity):
                yield Fate(step.name, step.verb, "kept", shard, {"measures": _measures(step, row)})

    def _gone(self, step: StepAccount) -> Iterator[Fate]:
        for shard, file in files(step.dataset, "dropped", ".parquet"):
            for _, row in rows_with_id(step.dataset, file.name, self._identity):
                facts = {name: row[name] for name in ("operator", "reason", "value", "threshold")}
                yield Fate(step.name, step.verb, "dropped", shard, {**facts, "measures": _measures(step, row)})
        for shard, file in files(step.dataset, "quarantine", ".parquet"):
            for _, row in rows_with_id(step.dataset, file.name, self._identity):
                yield Fate(
                    step.name, step.verb, "quarantined", shard, {name: row[name] for name in ("operator", "error")}
                )

    def _selected(self, step: StepAccount, into: int) -> list[Fate]:
        fates = list(self._gone(step))
        for shard, file in files(step.dataset, "shards", REMOVED):
            for _, row in rows_with_id(step.dataset, file.name, self._identity):
                facts = {
                    "kind": row["kind"],
                    **representative_facts(step.dataset.run, step.name, row),
                    "estimate": row["estimate"],
                    "similarity": row.get("similarity"),
                    "verify": verification(step.dataset.run, step.name),
                    "cluster_size": row["cluster_size"],
                    "removed": row,
                }
                fates.append(Fate(step.name, step.verb, "duplicate", shard, facts))
        fates += self._held_out(step)
        left = into - len(fates)
        if left > 0 and step.dataset.complete:
            number, ids = stands_for(step.dataset.run, step.name, self._identity)
            facts = {"stands_for": number, "ids": [one.hex() for one in ids]} if number else {}
            fates.insert(0, Fate(step.name, step.verb, "kept", facts=facts, rows=left))
        return fates

    def _held_out(self, step: StepAccount) -> Iterator[Fate]:
        for shard, file in files(step.dataset, "shards", HELD_OUT):
            for _, row in rows_with_id(step.dataset, file.name, self._identity):
                facts = {"set": row["set"], "cluster_size": row["cluster_size"]}
                yield Fate(step.name, step.verb, "held_out", shard, facts)

    def _tokens(self, step: StepAccount) -> Iterator[Fate]:
        for shard, file in files(step.dataset, "shards", TOKENIZED):
            payload = next((o.name for o in step.dataset.commits[shard].outputs if o.suffix == ".bin"), None)
            for _, row in rows_with_id(step.dataset, file.name, self._identity):
                facts = {"file": payload, "start": row["start"], "num_tokens": row["num_tokens"]}
                yield Fate(step.name, step.verb, "tokenized", shard, facts)


def _written(step: StepAccount, identity: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of an id in a step's kept, dropped and quarantined files."""
    folders = ("shards", "dropped", "quarantine") if step.dataset.kind == "documents" else ("dropped", "quarantine")
    for folder in folders:
        for _, file in files(step.dataset, folder, ".parquet"):
            yield from rows_with_id(step.dataset, file.name, identity)


def _measures(step: StepAccount, row: Mapping[str, Any]) -> dict[str, Any]:
    """What the step itself and its own operators measured."""
    operators = {step.name, *(flow.operator for flow in step.ledger.flows)}
    return {name: value for name, value in row.items() if name.rpartition(".")[0] in operators and value is not None}
