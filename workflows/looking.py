"""Commands that look into a training: ``around``."""

# As in workflows.cli, each command imports what it runs when it runs.

from __future__ import annotations

from typing import Annotated

import typer

looking = typer.Typer()


@looking.command()
def around(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run, or of one training.", show_default=False)],
    step: Annotated[
        int | None, typer.Option(min=1, help="Of the training.", show_default="skipped ones and the greatest rise")
    ] = None,
    width: Annotated[int, typer.Option(min=0, help="Steps before and after.")] = 1,
    of: Annotated[
        str | None, typer.Option("--of", help="Step of the recipe that trains.", show_default="the only one")
    ] = None,
) -> None:
    """Tell which documents were in the batches around a training step, one JSON line a step."""
    from workflows.commands.around import print_around

    print_around(run, of, step, width)
