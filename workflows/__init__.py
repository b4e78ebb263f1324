"""Recipes, the command line, and the two functions a script needs: ``load`` and ``run``."""

from __future__ import annotations

from pathlib import Path

from pipeline.dataset import Run
from pipeline.session import Settings
from pipeline.session import run as _run
from pipeline.workflow import Workflow
from workflows.recipe import load

__all__ = ["load", "run"]


def run(workflow: Workflow, out: str | Path, *, settings: Settings | None = None) -> Run:
    """Run a workflow into a folder, or go on with the run there.

    Raises:
        UserError: the recipe, an input or an argument is wrong, or another driver holds the run.
        RunFailedError: a step failed, or kept less or more than expected.
        StoppedError: stopped; the same call goes on.
    """
    return _run(workflow, str(out), settings)
