"""``sluice sample``: a fixed random sample of what a step kept or dropped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import typer

from pipeline.dataset import Dataset, Run
from pipeline.errors import UserError
from pipeline.rejects import LANGUAGE_COLUMNS
from pipeline.whatif.sampling import Wanted, excerpt, sample_dropped, sample_kept
from workflows.commands.cat import one_line, plain
from workflows.commands.terminal import terminal
from workflows.problems import near


@dataclass(frozen=True)
class Asked:
    """What is to be shown. reason: ``operator:reason``, an operator, or a reason."""

    dropped: bool
    reason: str | None
    number: int
    language: str | None


def print_sample(uri: str, step: str, asked: Asked, *, whole: bool, as_json: bool) -> None:
    """Print documents with the smallest ids: the same at every call, and independent of what they say.

    Raises:
        UserError: no such run, step, reason or language, or a step without documents.
    """
    dataset = Run.open(uri)[step]
    wanted = _wanted(dataset, asked)
    rows = (sample_dropped if asked.dropped else sample_kept)(dataset, wanted, asked.number)
    if not rows and asked.language is not None:
        languages = sorted({key.rpartition("|")[2] for key in dataset.ledger.group_into})
        msg = f"step {step!r} {'dropped' if asked.dropped else 'kept'} nothing in {asked.language!r}"
        raise UserError(msg + near(asked.language, [one for one in languages if one != asked.language]))
    terminal()
    for row in rows:
        if as_json:
            typer.echo(orjson.dumps({name: plain(value) for name, value in row.items()}, default=str))
        else:
            print("\n".join(_lines(row, whole=whole)))


def _wanted(dataset: Dataset, asked: Asked) -> Wanted:
    if asked.reason is None:
        return Wanted(asked.language)
    known = [key for key, counted in dataset.ledger.dropped.items() if counted.docs]
    operators, reasons = ({key.partition(":")[place] for key in known} for place in (0, 2))
    operator, colon, reason = asked.reason.partition(":")
    if colon and asked.reason in known:
        return Wanted(asked.language, operator, reason)
    if asked.reason in operators:
        return Wanted(asked.language, asked.reason)
    if asked.reason in reasons:
        return Wanted(asked.language, None, asked.reason)
    msg = f"step {dataset.name!r} dropped nothing for {asked.reason!r}"
    raise UserError(
        msg + (near(asked.reason, [*known, *operators, *reasons]) if known else "; it dropped nothing at all")
    )


def _lines(row: Mapping[str, Any], *, whole: bool) -> list[str]:
    language = next((row[name] for name in LANGUAGE_COLUMNS if row.get(name)), "und")
    first = [row["id"].hex(), row.get("url") or "-", row.get("source") or "", str(language)]
    lines = ["  ".join(one_line(part) for part in first)]
    if row.get("reason"):
        measured = f", measured {row['value']}" if row.get("value") is not None else ""
        wanted = f", wanted {row['threshold']}" if row.get("threshold") else ""
        lines.append(f"    {row['operator']}:{row['reason']}{measured}{wanted}")
    if whole and row.get("text") is not None:
        return [*lines, *(f"    {one_line(line)}" for line in row["text"].splitlines())]
    return [*lines, f"    {one_line(excerpt(row) or '(no text)')}"]
