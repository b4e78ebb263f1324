"""``sluice run``: run a recipe, write its report, tell what became of the documents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from pipeline.dataset import RUN_FILE, Run
from pipeline.errors import DamagedFileError, RunFailedError, StoppedError
from pipeline.file_state import REMEDY
from pipeline.report.page import write_report
from pipeline.session import Settings, run
from pipeline.stores import is_uri, local
from pipeline.workflow import default_out
from workflows.commands.summary import print_summary
from workflows.recipe import load
from workflows.upstream import absent_sources


def run_recipe(recipe: Path, out: str | None, overrides: Sequence[str], settings: Settings) -> None:
    """Run a recipe to its end.

    Raises:
        UserError, RunFailedError, StoppedError: as ``pipeline.session.run``; the report is written for the last two.
    """
    workflow = load(recipe, overrides)
    folder = out or str(default_out(workflow))
    try:
        finished = run(workflow, folder, settings)
    except (RunFailedError, StoppedError) as error:
        _report_on_failure(folder)
        other = _of_another_run(error, folder)
        if other is None:
            raise
        raise RunFailedError(other) from error
    for line in absent_sources(finished, workflow):
        typer.echo(f"warning: {line}", err=True)
    print_summary(finished)
    typer.echo(f"report: {write_report(finished)}")
    typer.echo(f"look further: sluice why {folder} URL · sluice cat {folder} {finished.steps[-1]}")


def _of_another_run(error: Exception, folder: str) -> str | None:
    """What to do where a damaged file is one of a run that this one is compared with; None where it is not."""
    if not isinstance(error, DamagedFileError):
        return None
    parents = Path(error.path).absolute().parents
    home = next((parent for parent in parents if (parent / RUN_FILE).is_file()), None)
    if home is None or (not is_uri(folder) and home == local(folder).absolute()):
        return None
    return (
        f"{str(error).removesuffix(f'; {REMEDY}')}. It is a file of another run: `sluice verify {home} --repair`, run "
        f"that run's recipe again with `--out {home}`, then this command"
    )


def _report_on_failure(folder: str) -> None:
    """The report of what there is. A second failure must not hide the first, so it is told and nothing more."""
    try:
        typer.echo(f"report: {write_report(Run.open(folder))}", err=True)
    except Exception as error:  # noqa: BLE001  # whatever it is, the run's own error is raised after it
        typer.echo(f"the report could not be written: {type(error).__name__}: {error}", err=True)
