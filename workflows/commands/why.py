"""``sluice why``: what became of a document."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import orjson
import typer

from pipeline.dataset import Run
from pipeline.errors import UserError
from pipeline.lookup import find_ids
from pipeline.pairs import texts
from pipeline.report.account import Account
from pipeline.report.units import measured, number
from pipeline.takedown.rewriting import NOBODY
from pipeline.takedown.suppression import register
from pipeline.trace import Fate, about, follow, without_id
from workflows.commands.cat import one_line
from workflows.commands.side_by_side import as_data, print_side_by_side
from workflows.commands.summary import console
from workflows.commands.terminal import terminal
from workflows.takedown.lineage import learners

_HEADER = ("url", "record_id", "source", "date", "origin")


def explain(uri: str, query: str, *, as_json: bool) -> None:
    """Print the way of each document that the query names.

    Raises:
        UserError: no such run, or no such document.
    """
    run = Run.open(uri)
    if (taken := _taken_down(run, query)) is not None:
        told = f"{query}: taken down on {taken['date']} by request {taken['number']}; nothing else is kept of it"
        typer.echo(orjson.dumps({"query": query, "taken_down": dict(taken)}) if as_json else one_line(told))
        return
    account = Account.of(run)
    for position, (identity, facts, fates) in enumerate(_found(account, query)):
        if as_json:
            steps = [_as_data(run, fate) for fate in fates]
            typer.echo(orjson.dumps({"id": identity, **facts, "steps": steps}, default=str))
            continue
        if position:
            typer.echo("")
        known = [one_line(str(facts[name])) for name in _HEADER if facts.get(name)]
        typer.echo("  ".join([identity or "(no id)", *known]))
        for fate in fates:
            typer.echo("\n".join(f"  {line}" for line in lines(fate)))
            _compare(run, fate)
            for line in _learned(run, fate):
                typer.echo(f"  {'':<14} {line}")


def _taken_down(run: Run, query: str) -> Mapping[str, Any] | None:
    """The request by which a document was taken down, by its whole id or its URL."""
    known = register(run.storage)
    number = known.suppression.request(query)
    return None if number is None else next((one for one in known.requests if one["number"] == number), None)


def _found(account: Account, query: str) -> Iterator[tuple[str | None, dict[str, Any], list[Fate]]]:
    """Id, facts and way of each document that the query names; the id is None of a record that could not be read."""
    unreadable = without_id(account, query) if "#" in query else []
    for facts, fate in unreadable:
        yield None, facts, [fate]
    if not unreadable:
        for identity in find_ids(account.run, query):
            yield identity.hex(), about(account, identity), follow(account, identity)


def _compare(run: Run, fate: Fate) -> None:
    """Show a duplicate beside the document that stays for it."""
    if fate.outcome != "duplicate" or fate.shard is None:
        return
    terminal()  # from here on characters it cannot show are no error
    try:
        both = texts(run, fate.step, fate.shard, fate.facts["removed"])
    except UserError as error:
        typer.echo(f"{'':<16} the other text cannot be shown: {error}")
        return
    if both is None:
        typer.echo(f"{'':<16} the texts are not there any more, or there is none")
        return
    print_side_by_side(console(), *both)


def _as_data(run: Run, fate: Fate) -> dict[str, Any]:
    """A fate as plain data; of a duplicate with its difference from the document that stays, where both are there."""
    facts = {name: value for name, value in fate.facts.items() if name != "removed"}
    if fate.outcome == "duplicate" and fate.shard is not None:
        with contextlib.suppress(UserError):
            both = texts(run, fate.step, fate.shard, fate.facts["removed"])
            facts["difference"] = as_data(*both) if both else None
    if fate.outcome == "tokenized":
        facts["models"] = [one._asdict() for one in learners(run, fate.step)]
    return {**asdict(replace(fate, facts={})), "facts": facts}


def _learned(run: Run, fate: Fate) -> Iterator[str]:
    """The models that have been trained on the tokens of this step, with the document in them or held out."""
    for one in learners(run, fate.step) if fate.outcome == "tokenized" else ():
        if one.base is not None:
            yield f"model {one.step} began with the weights of {one.base}"
        else:
            at = "`sluice takedown --dry-run` says at which steps"
            yield f"model {one.step} trained on these tokens to step {one.trained_to:,}; {at}"


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
            text = "kept" + _stands_for(facts)
        case "dropped":
            value = None if facts["value"] is None else measured(facts["value"], facts["threshold"])
            found = "" if value is None else f": measured {value}"
            wanted = f", wanted {facts['threshold']}" if facts["threshold"] else ""
            text = f"DROPPED by {facts['operator']}: {facts['reason']}{found}{wanted}"
        case "duplicate":
            of = "a document that was taken down" if facts["of"] == NOBODY.hex() else facts["of"]
            text = f"DUPLICATE ({facts['kind']}) of {of}{stays(facts)}, cluster of {facts['cluster_size']}"
        case "held_out":
            whole = f", with its whole cluster of {facts['cluster_size']:,}" if facts["cluster_size"] > 1 else ""
            text = f"HELD OUT in {facts['set']}{whole}"
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


def stays(facts: Mapping[str, Any]) -> str:
    """What is known of the document that stays, and how similar it is: what was counted, else the estimate."""
    known = [one_line(str(facts[name])) for name in ("of_url", "of_source", "of_date") if facts.get(name)]
    shown = "".join(f" {one}" for one in known)
    if facts.get("of_run"):
        shown += f" in run {one_line(facts['of_run'])}"
    estimate, counted = facts["estimate"], facts.get("similarity")
    if facts["kind"] == "exact" and estimate in (None, 1.0) and counted in (None, 1.0):
        return shown
    rough = "" if estimate is None else f"{estimate:.2f}"
    if counted is None:
        return f"{shown}, similarity about {rough}" if rough else shown
    if facts["verify"] == "containment":
        return f"{shown}, containment {counted:.4f}" + (f" (Jaccard similarity about {rough})" if rough else "")
    return f"{shown}, Jaccard similarity {counted:.4f}" + (f" (estimated {rough})" if rough else "")


def _stands_for(facts: Mapping[str, Any]) -> str:
    """How many documents went for this one, and which."""
    if not facts.get("stands_for"):
        return ""
    ids, number = facts["ids"], facts["stands_for"]
    more = f" and {number - len(ids):,} more" if number > len(ids) else ""
    return f", and stands for {number:,} more: {' '.join(ids)}{more}"


def _value(value: object) -> str:
    return number(value) if isinstance(value, float) else one_line(str(value))
