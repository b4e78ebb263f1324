"""``sluice report``: write the page of a run anew."""

from __future__ import annotations

import typer

from pipeline.dataset import Run
from pipeline.report.page import write_report


def write(uri: str) -> None:
    """Write report.html into the run's folder and print where it lies.

    Raises:
        UserError: there is no run.
    """
    typer.echo(write_report(Run.open(uri)))
