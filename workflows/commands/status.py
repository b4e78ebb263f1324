"""``sluice status``: how far each step is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import orjson
import typer
from rich.table import Table
from rich.text import Text

from pipeline.dataset import Run
from pipeline.eventlog import events
from pipeline.holder import holder
from pipeline.report.units import count
from workflows.commands.summary import console

State = Literal["done", "running", "waiting", "stopped", "failed"]


@dataclass(frozen=True)
class StepStatus:
    """One step: shards done of those planned (None: not known yet), documents kept so far, and those taken down since."""

    step: str
    state: State
    shards_done: int
    shards: int | None
    docs_in: int
    docs_kept: int
    docs_taken_down: int = 0


def show_status(uri: str, *, as_json: bool) -> None:
    """Print the state of every step, and who drives.

    Raises:
        UserError: there is no run.
    """
    run = Run.open(uri)
    driver = holder(run.storage)
    last = _last_end(run)
    steps = step_statuses(run, driven=driver is not None, last=last)
    if as_json:
        data = {
            "run": run.storage.uri,
            "name": run.facts["name"],
            "complete": all(step.state == "done" for step in steps),
            "driver": driver,
            "last_command": last,
            "steps": [asdict(step) for step in steps],
        }
        typer.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2))
        return
    table = Table(box=None, pad_edge=False)
    taken = any(step.docs_taken_down for step in steps)
    for title in ("step", "state", "shards", "documents in", "kept", *(("taken down",) if taken else ())):
        table.add_column(title, justify="left" if title in ("step", "state") else "right", no_wrap=True)
    for step in steps:
        shards = f"{step.shards_done:,}/{count(step.shards) if step.shards is not None else '?'}"
        cells = [step.step, step.state, shards, count(step.docs_in), count(step.docs_kept)]
        cells += [count(step.docs_taken_down)] if taken else []
        table.add_row(*(Text(cell) for cell in cells))
    console().print(table)
    if driver:
        typer.echo(f"a driver is at work: host {driver['host']}, process {driver['pid']}")
    else:
        ended = f"; the last command {last['outcome']}: {last['error']}" if last and last["outcome"] != "done" else ""
        typer.echo(f"no driver is at work{ended}")


def step_statuses(run: Run, *, driven: bool, last: Mapping[str, Any] | None) -> list[StepStatus]:
    """The state of every step of the recipe."""
    done = {name for name, node in run.nodes.items() if node["dataset"] and _complete(run, node["dataset"])}
    found = []
    for name in run.steps:
        node = run.nodes[name]
        if node["dataset"] is None:
            found.append(StepStatus(name, "waiting", 0, None, 0, 0))
            continue
        dataset = run[name]
        ledger = dataset.ledger
        begun = bool(dataset.commits) or all(source in done for source in node["inputs"].values())
        state: State = "waiting"
        if name in done:
            state = "done"
        elif begun and driven:
            state = "running"
        elif last and last["outcome"] == "failed" and re.search(rf"\b{re.escape(name)}\b", last["error"]):
            state = "failed"
        elif begun:
            state = "stopped"
        documents = ledger.into.docs, ledger.kept.docs, ledger.taken_down.docs
        found.append(StepStatus(name, state, len(dataset.commits), node["num_shards"], *documents))
    return found


def _complete(run: Run, folder: str) -> bool:
    return run.storage.exists(f"{folder}/manifest.json")


def _last_end(run: Run) -> Mapping[str, Any] | None:
    """How the last command that ended did; one that was killed left no word."""
    written, _ = events(run.storage)
    last = next((event for event in reversed(written) if event["event"] in ("started", "ended")), None)
    if last is None:
        return None
    if last["event"] == "started":
        return {
            "outcome": "killed",
            "error": f"process {last['pid']} on {last['host']} left no word",
            "time": last["time"],
        }
    return {"outcome": last["outcome"], "error": last.get("error", ""), "time": last["time"]}
