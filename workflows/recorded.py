"""Operators of a run as they were, and as a setting would have them: read from ``run.json``, no recipe needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from operators.catalogue import load_operator
from pipeline.dataset import Run
from pipeline.errors import UserError
from pipeline.operator import Bound, Filter, Map, Operator, snake_case
from pipeline.work import owner
from workflows.overrides import apply_overrides, as_mapping, without_limits
from workflows.problems import explain, unknown
from workflows.verbs import VERBS
from workflows.yaml_marks import Marked

_RERUN = "needs a rerun: sluice run RECIPE --out {out} --set {setting}"


@dataclass(frozen=True)
class Setting:
    """One parameter that was set, as it was recorded and as it would be.

    moved: the bounds that this setting changes by itself, as they were and as they would be; None: off.
    """

    step: str
    operator: str
    parameter: str
    was: Any
    then: Any
    moved: tuple[tuple[Bound | None, Bound | None], ...] = ()


def recorded_operators(run: Run) -> dict[str, tuple[Operator, ...]]:
    """The operators of every step that applies some.

    Raises:
        UserError: the class of an operator cannot be imported, or no longer takes the parameters it had.
    """
    return {name: _operators(run, name, _applied(run, name)) for name in run.steps if _applied(run, name)}


def other_operators(
    run: Run, was: Mapping[str, tuple[Operator, ...]], settings: Sequence[str]
) -> tuple[dict[str, tuple[Operator, ...]], list[Setting]]:
    """The operators of the steps that settings change, and what they change.

    settings: ``STEP.OPERATOR.PARAM=VALUE``, as for ``sluice run --set``.

    Raises:
        UserError: a name or value is wrong, or a setting changes more than a threshold, so that a rerun is needed.
    """
    data: dict[str, Any] = {"steps": {name: _step_data(run, name, was.get(name, ())) for name in run.steps}}
    asked: dict[tuple[str, str, str], str] = {}
    for text in settings:
        apply_overrides(Marked(data), [text], option="")
        name = text.partition("=")[0].strip()
        step, word, parameter = [*name.split("."), "", ""][:3]
        if word not in [operator.name for operator in was.get(step, ())]:
            _check_verb(text, data["steps"].get(step, {}))
            raise UserError(_refusal(run, text, f"{name} is no threshold of a filter"))
        _check_thresholds(text, next(operator for operator in was[step] if operator.name == word))
        asked[step, word, parameter] = text
    then = {
        step: _built(step, was[step], data["steps"][step]["apply"]) for step in dict.fromkeys(key[0] for key in asked)
    }
    found = []
    for (step, name, parameter), text in asked.items():
        position = next(k for k, operator in enumerate(was[step]) if operator.name == name)
        found.append(_setting(run, text, was[step][position], then[step][position], parameter))
    return then, found


def _check_verb(text: str, body: Mapping[str, Any]) -> None:
    """What is wrong with a parameter of a verb, so that no rerun is advised that would be refused.

    The other parameters are left at their defaults: only what is said of this one counts.
    """
    name, _, _ = text.partition("=")
    word, *path = [*name.strip().split("."), ""][1:]
    path = [part for part in path if part]
    given = dict(body[word]) if word in VERBS and isinstance(body.get(word), Mapping) else {}
    try:
        VERBS[word](**given) if word in VERBS else None
    except ValidationError as error:
        told = [(place, words) for place, words in explain(VERBS[word], error, given) if _within(place, path)]
        if told:
            raise UserError("; ".join(f"{text}: {words}" for _, words in told)) from error


def _within(place: Sequence[int | str], path: Sequence[str]) -> bool:
    return [str(part) for part in place[: len(path)]] == list(path)


def _check_thresholds(text: str, operator: Operator) -> None:
    if isinstance(operator, Filter) and not operator.thresholds() and not operator.bounds:
        step = text.partition(".")[0].strip()
        msg = (
            f"{text}: {operator.name} has no thresholds: it stores, and drops nothing; look at what it stores by "
            f"--histogram {step}.{operator.name}.MEASURE"
        )
        raise UserError(msg)


def _applied(run: Run, step: str) -> list[Mapping[str, Any]]:
    """Operators of a step as recorded, each ``{class: parameters}``."""
    verb = run.facts["recipe"][owner(step)].get("Apply")
    return list(verb["operators"]) if verb else []


def _operators(run: Run, step: str, recorded: Sequence[Mapping[str, Any]]) -> tuple[Operator, ...]:
    places: Sequence[str] = run.facts.get("operators", {}).get(step) or [snake_case(next(iter(r))) for r in recorded]
    made: list[Operator] = []
    for place, one in zip(places, recorded, strict=True):
        cls = _class(step, place)
        try:
            made.append(cls(**_parameters(cls, next(iter(one.values())))))
        except ValidationError as error:
            msg = f"{step}: {place} does not take the parameters that this run had; use the version it was made with: {error}"
            raise UserError(msg) from error
    return tuple(made)


def _class(step: str, place: str) -> type[Map | Filter]:
    try:
        return load_operator(place)
    except (LookupError, ImportError, ValueError) as error:
        module = place.partition(":")[0]
        msg = f"{step}: cannot import {place}, an operator of this run: {error}; make {module} importable"
        raise UserError(msg) from error


def _step_data(run: Run, step: str, operators: Sequence[Operator]) -> dict[str, Any]:
    """A step as a recipe has it; the parameters of its operators as they are in Python."""
    others = dict.fromkeys(("expect", "limits", "keep_dropped_text"))
    if operators:
        return {"apply": [{"use": f":{op.name}", **_fields(op)} for op in operators], **others}
    verb = next((key for key in run.facts["recipe"][owner(step)] if key != "from"), "")
    return {snake_case(verb).removesuffix("_work"): None, **others}


def _fields(operator: Operator) -> dict[str, Any]:
    fields = {name: getattr(operator, name) for name in type(operator).model_fields if name != "as_"}
    return fields if operator.as_ is None else {"as": operator.as_, **fields}


def _built(step: str, was: Sequence[Operator], items: Sequence[Mapping[str, Any]]) -> tuple[Operator, ...]:
    made: list[Operator] = []
    for old, item in zip(was, items, strict=True):
        try:
            made.append(type(old)(**_given(old, item)))
        except ValidationError as error:
            raise UserError("; ".join(_words(step, old, detail) for detail in error.errors())) from error
    return tuple(made)


def _given(old: Operator, item: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in item.items() if name != "use"}
    off = (name for name, value in given.items() if value is None and without_limits(type(old), name))
    return {**given, **dict.fromkeys(off, ())}


def _got(value: Any) -> str:
    return "null" if value is None else repr(as_mapping(value))


def _words(step: str, operator: Operator, detail: Any) -> str:
    *above, name = detail["loc"] or ("",)
    place = ".".join(str(part) for part in (step, operator.name, *detail["loc"]))
    if detail["type"] == "extra_forbidden":
        return f"{place}: {unknown(type(operator), above, str(name))}"
    message = detail["msg"].removeprefix("Value error, ")
    got = f", got {_got(detail['input'])}" if detail["loc"] else ""  # of the operator as a whole it would be everything
    return f"{place}: {message[:1].lower()}{message[1:]}{got}"


def _setting(run: Run, text: str, old: Operator, new: Operator, parameter: str) -> Setting:
    step = text.partition(".")[0].strip()
    if isinstance(old, Map):
        raise UserError(_refusal(run, text, f"{old.name} changes the texts themselves"))
    field = "as_" if parameter == "as" else parameter
    if not isinstance(old, Filter) or field not in old.thresholds():
        what = "whom it applies to" if field == "only" else "its name" if field == "as_" else "what is measured"
        raise UserError(_refusal(run, text, f"{parameter} changes {what}"))
    values = getattr(old, field), getattr(new, field)
    return Setting(
        step, old.name, parameter, as_mapping(values[0]), as_mapping(values[1]), _moved(old, field, values[1])
    )


def _moved(old: Filter, field: str, value: Any) -> tuple[tuple[Bound | None, Bound | None], ...]:
    """The bounds that a parameter changes by itself."""
    try:
        new = type(old)(**{**_fields(old), field: value})
    except ValidationError:  # it holds only together with other settings
        return ()
    was, then = ({(one.measure, one.reason): one for one in operator.bounds} for operator in (old, new))
    keys = dict.fromkeys((*was, *then))
    return tuple((was.get(key), then.get(key)) for key in keys if was.get(key) != then.get(key))


def _refusal(run: Run, text: str, reason: str) -> str:
    return f"{text}: {reason}; {_RERUN.format(out=run.storage.uri, setting=text)}"


def _parameters(cls: type[BaseModel], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded parameters as Python values: tuples for lists, values without the name of their class."""
    return {
        name: _value(cls.model_fields[name].annotation if name in cls.model_fields else None, value)
        for name, value in fields.items()
    }


def _value(annotation: Any, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_value(annotation, item) for item in value)
    if isinstance(value, Mapping):
        for model in _models(annotation):
            if set(value) == {model.__name__}:
                return model(**_parameters(model, value[model.__name__]))
        return {name: _value(None, item) for name, item in value.items()}
    return value


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]
