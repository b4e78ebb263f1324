"""``sluice takedown``: pages taken out of everything a run holds."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import typer

from operators.tokenize.shards.reader import TokenShard
from pipeline.dataset import Run
from pipeline.errors import RunFailedError, UserError
from pipeline.lease import Lease
from pipeline.report.page import write_report
from pipeline.takedown import takedown
from pipeline.takedown.absence import Needles, prove
from pipeline.takedown.generation import PENDING
from pipeline.takedown.takedown import Plan, carry_out, clear_log, end
from pipeline.takedown.unfinished import unfinished
from workflows.takedown.asked import Entries
from workflows.takedown.seen import exports, models
from workflows.takedown.telling import Told, as_data, lines, merged, proof_data
from workflows.takedown.tokens import needles, without


class Asked(NamedTuple):
    """The options of the command."""

    urls: Path | None
    domains: Path | None
    ids: Path | None
    dry_run: bool
    yes: bool
    with_duplicates: bool
    as_json: bool


def take_down(uri: str, asked: Asked) -> None:
    """Find the documents, take them out, prove that they are gone, and tell of it.

    Raises:
        UserError: no such run, nothing asked for, nothing of it there, a line that is no id, URL or domain, or another
            driver at work.
        RunFailedError: something is still there afterwards.
    """
    entries = Entries.read(asked.urls, asked.domains, asked.ids)
    opened = Run.open(uri)
    if asked.dry_run:
        plan, _, told = _found(uri, entries, asked)
        _print(plan, told, as_json=asked.as_json)
        _refuse_if_nothing(plan, told, entries)
        return
    with Lease(opened.storage):
        plan, own, told = _found(uri, entries, asked)
        _refuse_if_nothing(plan, told, entries)
        if opened.storage.exists(PENDING):
            told["notes"].append("a takedown was begun before and did not end; what it left is cleared with this one")
        if not asked.yes:
            _print(plan, told, as_json=False)
            typer.confirm("Take them down? This cannot be undone.", abort=True)
        needles = _needles(plan).joined(entries.needles(plan.before, plan.number))
        _finish(plan, told, carry_out(plan, without, needles, own))
    _print(plan, told, as_json=asked.as_json)
    if present := told["proof"]["present"]:
        msg = f"{len(present)} files of {uri} still hold something of them, as listed; `sluice run` refuses until this is cleared"
        raise RunFailedError(msg)


def _found(uri: str, entries: Entries, asked: Asked) -> tuple[Plan, Told, Told]:
    """The plan, what it found, and all that is told: with what takedowns that did not end had found."""
    plan = takedown.plan(uri, entries.suppression(), with_duplicates=asked.with_duplicates)
    own = as_data(plan, models(plan.run, plan.found), exports(plan.run, plan.found))
    told = merged([one.told for one in unfinished(plan.run.storage)], own)
    told["not_found"] = entries.not_found(plan.before, [*told["documents"], *told["unreadable_records"]])
    return plan, own, told


def _refuse_if_nothing(plan: Plan, told: Told, entries: Entries) -> None:
    """A list of which nothing is there, and nothing was, is a mistake."""
    if told["documents"] or told["unreadable_records"] or any(one["listed_by"] for one in told["not_found"]):
        return
    shown = ", ".join([*entries.urls, *entries.domains, *entries.ids][:5])
    msg = (
        f"nothing in {plan.run.storage.uri} has any of the {len(told['not_found']):,} entries ({shown}); nothing was written. "
        f"{''.join(f'{note}. ' for note in told['notes'])}To keep pages out of runs to come: read: {{suppress: FILE}}"
    )
    raise UserError(msg)


def _finish(plan: Plan, told: Told, searched: Needles) -> None:
    """Clear what stands beside the datasets, and prove."""
    storage = plan.run.storage
    told["log_lines"] = clear_log(plan, searched)
    if storage.exists("report.html"):
        write_report(Run.open(storage.uri))
    proof = prove(storage, searched, plan.found.forbidden.joined(plan.before.suppression))
    told |= {"done": True, "proof": proof_data(proof)}
    if not proof.present:
        end(plan)


def _needles(plan: Plan) -> Needles:
    """What the documents are known by, in bytes: of token shards also their tokens."""
    pages = [*plan.found.pages.values(), *plan.found.nameless]
    urls = {str(page.facts["url"]).encode() for page in pages if page.facts.get("url")}
    tokens: set[bytes] = set()
    for step, index in sorted(plan.found.hits):
        dataset = plan.run[step]
        if dataset.kind == "tokens":
            shard = next(one for one in dataset.shards() if one.index == index)
            table = pq.read_table(shard.file(".docs.parquet"), columns=["id", "url"])
            rows = pc.indices_nonzero(pa.array(plan.found.forbidden.rows(table)))
            tokens |= needles(TokenShard.of(shard), rows.to_numpy().astype("int64"))
    return Needles(frozenset(plan.found.pages), frozenset(urls), frozenset(plan.found.texts), frozenset(tokens))


def _print(plan: Plan, told: Told, *, as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2))
        return
    dates = {int(one["number"]): str(one["date"]) for one in plan.before.requests}
    for line in lines(told, dates):
        typer.echo(line)
