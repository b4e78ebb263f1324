"""``sluice why``: what became of a document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson
import typer

from pipeline.dataset import Run
from pipeline.lookup import find_ids
from pipeline.report.account import Account
from pipeline.report.units import number
from pipeline.trace import Fate, about, follow
from workflows.commands.cat import one_line


def explain(uri: str, query: str, *, as_json: bool) -> None:
    """Print the way of each document that the query names.

    Raises:
        UserError: no such run, or no such document.
    """
    run = Run.open(uri)
    found = find_ids(run, query)
    account = Account.of(run)
    for position, identity in enumerate(found):
        facts, fates = about(account, identity), follow(account, identity)
        if as_json:
            typer.echo(
                orjson.dumps({"id": identity.hex(), **facts, "steps": [asdict(fate) for fate in fates]}, default=str)
            )
            continue
        if position:
            typer.echo("")
        known = [one_line(str(facts[name])) for name in ("url", "date", "origin") if facts.get(name)]
        typer.echo(f"{identity.hex()}  {'  '.join(known)}")
        for fate in fates:
            typer.echo("\n".join(f"  {line}" for line in lines(fate)))


def lines(fate: Fate) -> list[str]:
    """A fate in words; the measures on a line of their own."""
    times = f" ({fate.rows} rows of this id)" if fate.rows > 1 else ""
    first = f"{fate.step:<14} {_verdict(fate)}{times}"
    measures: Mapping[str, Any] = fate.facts.get("measures", {})
    shown = "  ".join(f"{name}={_value(value)}" for name, value in measures.items())
    return [first, f"{'':<14} {shown}"] if shown else [first]


def _verdict(fate: Fate) -> str:
    facts = fate.facts
    match fate.outcome:
        case "kept":
            text = "kept"
        case "dropped":
            measured = f": measured {facts['value']}" if facts["value"] is not None else ""
            wanted = f", wanted {facts['threshold']}" if facts["threshold"] else ""
            text = f"DROPPED by {facts['operator']}: {facts['reason']}{measured}{wanted}"
        case "duplicate":
            url = f" {one_line(facts['of_url'])}" if facts["of_url"] else ""
            similar = f", similarity about {facts['estimate']:.2f}" if facts["estimate"] is not None else ""
            text = f"DUPLICATE ({facts['kind']}) of {facts['of']}{url}{similar}, cluster of {facts['cluster_size']}"
        case "quarantined":
            text = f"QUARANTINED by {facts['operator']}: {one_line(str(facts['error']))}"
        case "tokenized":
            end = facts["start"] + facts["num_tokens"]
            text = f"tokens {facts['start']:,} to {end:,} ({facts['num_tokens']:,}) of {facts['file']}"
        case "waiting":
            text = "not done yet"
        case "missing":
            text = "MISSING: neither kept nor accounted for; the ledger should not have balanced, please report this"
    return text


def _value(value: object) -> str:
    return number(value) if isinstance(value, float) else one_line(str(value))
