"""Recipes, the command line, and the two functions a script needs: ``load`` and ``run``.

Both import the engine when they are called: ``sluice --help`` imports this package, too, and must not wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.dataset import Run
    from pipeline.session import Settings
    from pipeline.workflow import Workflow

__all__ = ["load", "run"]


def load(path: str | Path, overrides: Sequence[str] = ()) -> Workflow:
    """Read a recipe, as ``workflows.recipe.load``.

    Raises:
        UserError: with every mistake found.
    """
    from workflows import recipe

    return recipe.load(path, overrides)


def run(workflow: Workflow, out: str | Path, *, settings: Settings | None = None) -> Run:
    """Run a workflow into a folder, or go on with the run there.

    Raises:
        UserError: the recipe, an input or an argument is wrong, or another driver holds the run.
        RunFailedError: a step failed, or kept less or more than expected.
        StoppedError: stopped; the same call goes on.
    """
    from pipeline import session

    return session.run(workflow, str(out), settings)
