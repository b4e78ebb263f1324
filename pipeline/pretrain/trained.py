"""Trained models of runs by name: RUN, or RUN:STEP."""

from __future__ import annotations

from pipeline.dataset import Dataset, Run
from pipeline.errors import UserError


def trained_step(named: str) -> Dataset:
    """The step that trained a model. RUN alone will do where it trained one.

    Raises:
        UserError: no such run or step, it trains no model, or has not finished one.
    """
    run, step = _run_and_step(named)
    dataset = run[step or _only_model(run, named)]
    if dataset.kind != "model":
        there = ", ".join(models(run)) or "none"
        msg = f"step {dataset.name!r} of {run.storage.uri} trains no model; there are: {there}"
        raise UserError(msg)
    if not dataset.commits:
        msg = f"step {dataset.name!r} of {run.storage.uri} has trained no model yet; run the workflow first"
        raise UserError(msg)
    return dataset


def tokenizer_hash(model: Dataset) -> str | None:
    """Of the tokenizer that made the tokens a model was trained on; None where none of its inputs tells."""
    nodes, ahead = model.run.nodes, [model.name]
    while ahead:
        name = ahead.pop(0)
        if nodes[name]["kind"] == "tokens":
            return next((commit.facts.get("tokenizer_sha256") for commit in model.run[name].commits.values()), None)
        ahead += nodes[name]["inputs"].values()
    return None


def _run_and_step(named: str) -> tuple[Run, str | None]:
    try:
        return Run.open(named), None  # tried first: a URI has a colon of its own
    except UserError as error:
        run, colon, step = named.rpartition(":")
        try:
            if colon and run:
                return Run.open(run), step
        except UserError:
            pass
        msg = (
            f"{named} is neither a folder with config.json and model.safetensors nor a run; give such a folder, RUN, or "
            "RUN:STEP"
        )
        raise UserError(msg) from error


def models(run: Run) -> list[str]:
    """The steps of a run that train."""
    return [name for name in run.steps if run.nodes[name]["kind"] == "model"]


def _only_model(run: Run, named: str) -> str:
    there = models(run)
    if len(there) != 1:
        those = f"several models; name one: {', '.join(f'{named}:{name}' for name in there)}"
        msg = f"{named} trained {those if there else 'no model'}"
        raise UserError(msg)
    return there[0]
