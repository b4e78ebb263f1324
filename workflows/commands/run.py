"""``sluice run``: run a recipe, write its report, tell what became of the documents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from pipeline.dataset import Run
from pipeline.errors import RunFailedError, StoppedError
from pipeline.report.page import write_report
from pipeline.session import Settings, run
from pipeline.workflow import default_out
from workflows.commands.summary import print_summary
from workflows.recipe import load


def run_recipe(recipe: Path, out: str | None, overrides: Sequence[str], settings: Settings) -> None:
    """Run a recipe to its end.

    Raises:
        UserError, RunFailedError, StoppedError: as ``pipeline.session.run``; the report is written for the last two.
    """
    workflow = load(recipe, overrides)
    folder = out or str(default_out(workflow))
    try:
        finished = run(workflow, folder, settings)
    except (RunFailedError, StoppedError):
        _report_on_failure(folder)
        raise
    print_summary(finished)
    typer.echo(f"report: {write_report(finished)}")
    typer.echo(f"look further: sluice why {folder} URL · sluice cat {folder} {finished.steps[-1]}")


def _report_on_failure(folder: str) -> None:
    """The report of what there is. A second failure must not hide the first, so it is told and nothing more."""
    try:
        typer.echo(f"report: {write_report(Run.open(folder))}", err=True)
    except Exception as error:  # noqa: BLE001  # whatever it is, the run's own error is raised after it
        typer.echo(f"the report could not be written: {type(error).__name__}: {error}", err=True)
