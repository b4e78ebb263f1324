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
from pipeline.takedown.suppression import Suppression, of, read_lines
from pipeline.takedown.takedown import Plan, carry_out, clear_log, end
from workflows.takedown.seen import exports, models
from workflows.takedown.telling import Telling, as_data, lines
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
        UserError: no such run, nothing asked for, a line that is no id, URL or domain, or another driver at work.
        RunFailedError: something is still there afterwards.
    """
    suppression = _asked(asked)
    opened = Run.open(uri)
    if asked.dry_run:
        told = _told(takedown.plan(uri, suppression, with_duplicates=asked.with_duplicates))
        _print(told, as_json=asked.as_json)
        return
    with Lease(opened.storage):
        plan = takedown.plan(uri, suppression, with_duplicates=asked.with_duplicates)
        told = _told(plan)
        if opened.storage.exists(PENDING):
            told.notes.append("a takedown was begun before and did not end; what it left is cleared with this one")
        if not asked.yes:
            _print(told, as_json=False)
            typer.confirm("Take them down? This cannot be undone.", abort=True)
        searched = carry_out(plan, without, _needles(plan))
        told.log_lines = clear_log(plan, searched)
        if opened.storage.exists("report.html"):
            write_report(Run.open(uri))
        told.proof = prove(opened.storage, searched, plan.found.forbidden.joined(plan.before.suppression))
        if not told.proof.present:
            end(plan)
    _print(told, as_json=asked.as_json)
    if told.proof.present:
        msg = f"{len(told.proof.present)} files of {uri} still hold something of them, as listed; `sluice run` refuses until this is cleared"
        raise RunFailedError(msg)


def _asked(asked: Asked) -> Suppression:
    if asked.urls is None and asked.domains is None and asked.ids is None:
        msg = "nothing says what to take down; give --urls, --domains or --ids FILE, one a line"
        raise UserError(msg)
    found = of(
        urls=read_lines(asked.urls) if asked.urls else (),
        domains=read_lines(asked.domains) if asked.domains else (),
        ids=read_lines(asked.ids) if asked.ids else (),
    )
    if not found:
        msg = "the files name nothing; one id, URL or domain a line"
        raise UserError(msg)
    return found


def _told(plan: Plan) -> Telling:
    return Telling(plan, models(plan.run, plan.found), exports(plan.run, plan.found))


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


def _print(told: Telling, *, as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps(as_data(told), option=orjson.OPT_INDENT_2, default=str))
        return
    for line in lines(told):
        typer.echo(line)
