"""``sluice sample``: a fixed random sample of what a step kept, dropped or quarantined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson
import typer

from pipeline.dataset import Dataset, Run
from pipeline.errors import UserError
from pipeline.rejects import LANGUAGE_COLUMNS
from pipeline.report.units import measured
from pipeline.whatif.gone import check_removes, sample_quarantined, sample_removed
from pipeline.whatif.sampling import Wanted, excerpt, sample_dropped, sample_kept
from workflows.commands.cat import one_line, plain
from workflows.commands.terminal import terminal
from workflows.commands.why import stays
from workflows.problems import near


@dataclass(frozen=True)
class Asked:
    """What is to be shown. reason: ``operator:reason``, an operator, or a reason; ``exact`` or ``near`` of copies."""

    fate: Literal["kept", "dropped", "quarantined"]
    reason: str | None
    number: int
    language: str | None


def print_sample(uri: str, step: str, asked: Asked, *, whole: bool, as_json: bool) -> None:
    """Print documents with the smallest ids: the same at every call, and independent of what they say.

    Raises:
        UserError: no such run, step, reason or language, or a step without documents.
    """
    dataset = Run.open(uri)[step]
    rows = _rows(dataset, asked)
    if not rows and asked.language is not None:
        languages = sorted({key.rpartition("|")[2] for key in dataset.ledger.group_into})
        msg = f"step {step!r} {asked.fate} nothing in {asked.language!r}"
        raise UserError(msg + near(asked.language, [one for one in languages if one != asked.language]))
    if not rows:
        typer.echo(f"step {step!r} {asked.fate} nothing", err=True)
    terminal()
    for row in rows:
        if as_json:
            typer.echo(orjson.dumps({name: plain(value) for name, value in row.items()}, default=str))
        else:
            print("\n".join(_lines(row, whole=whole)))


def _rows(dataset: Dataset, asked: Asked) -> list[dict[str, Any]]:
    if asked.fate == "kept":
        return sample_kept(dataset, Wanted(asked.language), asked.number)
    if asked.fate == "quarantined":
        return sample_quarantined(dataset, _wanted(dataset, asked), asked.number)
    if dataset.kind != "selection":
        return sample_dropped(dataset, _wanted(dataset, asked), asked.number)
    # Before the reason is looked at: a split has none, and its sets are shown otherwise.
    check_removes(dataset)
    return sample_removed(dataset, _wanted(dataset, asked), asked.number)


def _wanted(dataset: Dataset, asked: Asked) -> Wanted:
    if asked.reason is None:
        return Wanted(asked.language)
    known, operators, reasons = _reasons(dataset, asked)
    operator, colon, reason = asked.reason.partition(":")
    if colon and asked.reason in known:
        return Wanted(asked.language, operator, reason)
    if asked.reason in operators:
        return Wanted(asked.language, asked.reason)
    if asked.reason in reasons:
        return Wanted(asked.language, None, asked.reason)
    msg = f"step {dataset.name!r} {asked.fate} nothing for {asked.reason!r}"
    names = sorted({*known, *operators, *reasons})
    raise UserError(msg + (near(asked.reason, names) if names else f"; it {asked.fate} nothing at all"))


def _reasons(dataset: Dataset, asked: Asked) -> tuple[set[str], set[str], set[str]]:
    """What a step's rows left for: ``operator:reason``, operators, reasons."""
    ledger = dataset.ledger
    if asked.fate == "quarantined":
        return set(), {key for key, counted in ledger.quarantined.items() if counted.docs}, set()
    known = {key for key, counted in ledger.dropped.items() if counted.docs}
    copies = {key for key, counted in ledger.duplicates.items() if counted.docs}
    operators, reasons = ({key.partition(":")[place] for key in known} for place in (0, 2))
    return known, operators, reasons | copies


def _lines(row: Mapping[str, Any], *, whole: bool) -> list[str]:
    language = next((row[name] for name in LANGUAGE_COLUMNS if row.get(name)), "und")
    identity = row["id"].hex() if row["id"] is not None else "(no id)"
    first = [identity, row.get("url") or "-", row.get("source") or "", str(language)]
    lines = ["  ".join(one_line(part) for part in first), *(f"    {line}" for line in _why(row))]
    if whole and row.get("text") is not None:
        return [*lines, *(f"    {one_line(line)}" for line in row["text"].splitlines())]
    return [*lines, f"    {one_line(excerpt(row) or '(no text)')}"]


def _why(row: Mapping[str, Any]) -> list[str]:
    """Why a row is not among those kept."""
    if row.get("error"):
        return [f"QUARANTINED by {row['operator']}: {one_line(row['error'])}", one_line(row["origin"])]
    if row.get("of"):
        return [f"DUPLICATE ({row['kind']}) of {row['of']}{stays(row)}, cluster of {row['cluster_size']}"]
    if not row.get("reason"):
        return []
    threshold = row.get("threshold")
    found = f", measured {measured(row['value'], threshold)}" if row.get("value") is not None else ""
    return [f"{row['operator']}:{row['reason']}{found}" + (f", wanted {threshold}" if threshold else "")]
