"""Trainings that begin with a model of the same recipe, held against what that model will be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipeline.errors import UserError
from pipeline.pretrain.model.described import Described
from pipeline.pretrain.work import Pretrain
from pipeline.work import owner
from pipeline.workflow import Step


def unfounded(steps: Sequence[Step]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Trainings that ask for what the step they begin with will not have trained: place and sentence."""
    trainings = {step.name: step.verb for step in steps if isinstance(step.verb, Pretrain)}
    for name, training in trainings.items():
        base = _base(training, trainings, (name,)) if _begins_with_step(training) else None
        if base is None:
            continue
        try:
            training.model_shape(base)
        except UserError as error:
            yield (name, "pretrain", "start_from"), f"step {name!r}: {error}"


def _begins_with_step(training: Pretrain) -> bool:
    return training.start_from is not None and training.start_from.step is not None


def _base(training: Pretrain, trainings: Mapping[str, Pretrain], seen: tuple[str, ...]) -> Described | None:
    """What a training begins with; None: not known before it is there, or wrong, which is said elsewhere.

    seen: steps that begin with this one's model; a circle is said elsewhere.
    """
    start = training.with_start_files().start_from
    if start is None:
        return None
    if start.step is None:
        return start.described()
    name = owner(start.step.step or "")
    above = trainings.get(name)
    return None if above is None or name in seen else _made(above, trainings, (*seen, name))


def _made(training: Pretrain, trainings: Mapping[str, Pretrain], seen: tuple[str, ...]) -> Described | None:
    """What ``config.json`` of a training's model will say of its shape and positions."""
    positions, base = training.sequence_length, None
    try:
        if training.start_from is not None:
            base = _base(training, trainings, seen)
            if base is None:
                return None
            positions = max(positions, base.max_length)
        shape = training.model_shape(base)
    except UserError:
        return None
    scaling = shape.rope_scaling
    if scaling is not None and scaling.method == "ntk":
        return None  # written as another base without a scaling, which torch code works out
    if scaling is not None and scaling.method == "linear":
        positions = max(positions, round(scaling.factor * scaling.original_length))
    return Described(shape, positions, rows=0 if base is None else base.rows, eos_id=None, bos_id=None)
