"""``sluice around``: which documents were in the batches around a training step."""

from __future__ import annotations

from pathlib import Path

import orjson
import typer

from pipeline.dataset import Run
from pipeline.errors import UserError
from pipeline.pretrain.around import JOB_FILE, around
from pipeline.pretrain.trained import models
from pipeline.stores import is_uri


def print_around(place: str, of: str | None, step: int | None, width: int) -> None:
    """A JSON line for each training step.

    place: a run, or the folder of one training, with its job.json. of: step of the recipe that trains.

    Raises:
        UserError: no such run or step, nothing was trained in it, or see ``around``.
    """
    home = Path(place) if not is_uri(place) and (Path(place) / JOB_FILE).is_file() else _home(Run.open(place), of)
    for line in around(home, step, width):
        typer.echo(orjson.dumps(line))


def _home(run: Run, of: str | None) -> Path:
    """The folder in which a step trains."""
    training = models(run)
    if of is None and len(training) > 1:
        msg = f"{run.storage.uri} trains several models; name one with --of: {', '.join(training)}"
        raise UserError(msg)
    name = of or (training[0] if training else None)
    if name is None or (name in run.steps and name not in training):
        what = "has no step that trains" if name is None else f"step {name!r} does not train"
        msg = f"{run.storage.uri}: {what}; there are: {', '.join(training) or 'none'}"
        raise UserError(msg)
    dataset = run[name]
    if not run.storage.is_local:
        msg = f"{run.storage.uri}: a training lies on a file system, not in an object store; give its folder"
        raise UserError(msg)
    return run.storage.local_path(dataset.folder)
