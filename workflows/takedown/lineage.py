"""Which models of a run learned from a step's tokens: by training on them, or by beginning with weights that had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from pipeline.dataset import Dataset, Run
from pipeline.pretrain.trained import models
from pipeline.work import ARTIFACT_ROLE


class Learner(NamedTuple):
    """A model that was trained. base: the step whose weights it began with, if these and not its own data count."""

    step: str
    trained_to: int
    base: str | None


def upstream(run: Run, name: str, *, weights: bool = True) -> set[str]:
    """The steps that a step comes from, without itself. weights: go on through those it takes files of as well."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for role, source in run.nodes[waiting.pop()]["inputs"].items():
            if source not in found and (weights or not role.startswith(ARTIFACT_ROLE)):
                found.add(source)
                waiting.append(source)
    return found


def bases(run: Run, name: str) -> list[str]:
    """The models of this run whose weights are in a model, the last one before it first."""
    found: list[str] = []
    while (base := _base(run, name if not found else found[-1])) is not None:
        found.append(base)
    return found


def _base(run: Run, name: str) -> str | None:
    inputs = run.nodes[name]["inputs"].items()
    of_files = [source for role, source in inputs if role.startswith(ARTIFACT_ROLE)]
    return next((source for source in of_files if run.nodes[source]["kind"] == "model"), None)


def trained_models(run: Run) -> list[str]:
    """Steps of the run that are models and have begun."""
    return [name for name in models(run) if run.nodes[name]["dataset"] is not None]


def last_step(dataset: Dataset) -> int:
    """The last training step that a model's metrics tell of; 0 where it has not begun."""
    storage, name = dataset.run.storage, f"{dataset.folder}/metrics.jsonl"
    if not storage.exists(name):
        return 0
    lines = (orjson.loads(line) for line in storage.read_bytes(name).splitlines() if line.endswith(b"}"))
    return max((int(line["step"]) for line in lines if "evaluation" not in line), default=0)


def learners(run: Run, tokens: str) -> Iterator[Learner]:
    """The models that trained on a step's tokens, and those that went on from them."""
    direct = {name for name in trained_models(run) if tokens in upstream(run, name, weights=False)}
    for name in trained_models(run):
        trained_to = last_step(run[name])
        base = next((one for one in bases(run, name) if one in direct), None)
        if trained_to and name in direct:
            yield Learner(name, trained_to, None)
        elif trained_to and base is not None:
            yield Learner(name, trained_to, base)


def start_of(run: Run, name: str) -> Mapping[str, Any]:
    """What the recipe recorded of a model's ``start_from``; nothing where it began with weights of its own."""
    return plain(run.facts["recipe"].get(name, {}).get("Pretrain", {})).get("start_from") or {}


def elsewhere(run: Run) -> dict[str, str]:
    """By step, the models outside this run whose weights its models began with."""
    began = {name: start_of(run, name).get("model") for name in trained_models(run)}
    return {name: model for name, model in began.items() if model}


def plain(value: Any) -> Any:
    """What ``run.json`` says of a verb, without the names of the values in it: ``{Class: {field: ...}}``."""
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and (name := next(iter(value)))[:1].isupper() and isinstance(value[name], dict):
        return plain(value[name])
    return {key: plain(item) for key, item in value.items()}
