"""``sluice logs``: the driver's log in words."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import typer

from pipeline.dataset import Run
from pipeline.errors import UserError
from pipeline.eventlog import events
from pipeline.holder import holder
from workflows.commands.cat import one_line

_POLL_S = 0.5
_HIDDEN = ("time", "event", "step")


def print_logs(uri: str, step: str | None, *, follow: bool) -> None:
    """Print events, of one step or of all; with ``follow`` until no driver holds the run.

    Raises:
        UserError: there is no run, or no such step.
    """
    run = Run.open(uri)
    if step is not None and step not in run.nodes:
        msg = f"no step {step!r} in {uri}; there are: {', '.join(run.nodes)}"
        raise UserError(msg)
    position, going = 0, True
    while going:
        # Asked before reading: what a driver wrote before it ended is then sure to be read.
        going = follow and holder(run.storage) is not None
        found, position = events(run.storage, start=position)
        for event in found:
            if step is None or event.get("step") == step:
                typer.echo(line(event))
        if going:
            time.sleep(_POLL_S)


def line(event: Mapping[str, Any]) -> str:
    """An event as a line: local time, step, event, facts."""
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time"]))
    facts = "  ".join(f"{name}={one_line(str(value))}" for name, value in event.items() if name not in _HIDDEN)
    return f"{clock}  {event.get('step', '-'):<14} {event['event']:<10} {facts}".rstrip()
