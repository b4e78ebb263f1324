"""Words for what is wrong in a recipe: the nearest name, the parameters at a place, and pydantic's errors."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from pipeline.value import Artifact


def near(name: str, known: Iterable[str]) -> str:
    """``, did you mean 'x'?``, or what there is."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f", did you mean {close[0]!r}?" if close else f"; there are: {', '.join(sorted(known))}"


def parameters_at(cls: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """Names of the parameters of ``cls``, or of the value within it at ``place``, as pydantic tells places."""
    return list(_fields(_model_at(cls, place)))


def unknown(cls: type[BaseModel], place: Sequence[int | str], name: str) -> str:
    """That there is no such parameter at ``place``, and where it may belong: a level further in or out, or misspelt."""
    fields = _fields(_model_at(cls, place))
    further_in = {
        inner: f"{label}.{inner}"
        for label, info in fields.items()
        for one in _models(info.annotation)
        for inner in _fields(one)
    }
    *above, within = [*place] or [""]
    misspelt = [*difflib.get_close_matches(name, fields, n=1), *difflib.get_close_matches(name, further_in, n=1)]
    if name in further_in:
        hint = f", did you mean {further_in[name]!r}?"
    elif place and name in parameters_at(cls, above):
        hint = f", did you mean {name!r} beside {within!r}, not in it?"
    elif misspelt:
        hint = f", did you mean {misspelt[0] if misspelt[0] in fields else further_in[misspelt[0]]!r}?"
    else:
        hint = near(name, fields)
    return f"unknown parameter {name!r}{hint}"


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The parameters of a model by the names they have in a recipe."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def _model_at(cls: type[BaseModel], place: Sequence[int | str]) -> type[BaseModel]:
    model, within = cls, _models(cls)
    for part in place:
        fields = _fields(model)
        named = next((found for found in within if found.__name__ == part), None)
        if named is not None:  # pydantic names the member of a union
            model = named
        elif part in fields:
            within = _models(fields[str(part)].annotation)
            model = within[0] if within else model
    return model


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models in a type: itself, or those in ``X | None``, ``Annotated[X, ...]``, ``tuple[X, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]


# -- pydantic's errors in the words of a recipe -----------------------------------------------------------------------

_FILE = "{file: path}"
_TAKEN: dict[str, tuple[str, ...]] = {
    "tuple_type": ("a list",),
    "list_type": ("a list",),
    "dict_type": ("a mapping",),
    "model_type": ("a mapping",),
    "int_type": ("an integer",),
    "float_type": ("a number",),
    "string_type": ("a text",),
    "bool_type": ("true or false",),
    "none_required": ("null",),
}
"""What is taken where pydantic tells this error; of a model or a literal it depends on which."""
_OWN_WORDS = ("tuple_type", "list_type", "dict_type", "model_type")
"""Where these stand alone pydantic's sentence speaks of Python's types."""
_SAME_MEANING = {"remove": "cut", "delete": "cut", "flag": "mark", "tag": "mark"}
"""Words that people write for a choice whose letters are others."""


class _Found(NamedTuple):
    """One error. place: its keys in the recipe. branches: where a union was entered, and what pydantic calls the member."""

    place: tuple[int | str, ...]
    branches: tuple[tuple[int, str], ...]
    value: Any
    is_key: bool
    detail: ErrorDetails


def explain(
    cls: type[BaseModel], error: ValidationError, given: Mapping[str, Any]
) -> list[tuple[tuple[int | str, ...], str]]:
    """Place below the parameters and sentence, one for each mistake.

    given: the parameters as the recipe has them; a part of a place that they lack names a validator or the member of a
    union, and is left out.
    """
    details = error.errors()
    told = [one for one in details if not any(_follows(one, other) for other in details)]
    return list(_explained(cls, [_found(one, given) for one in told], 0))


def _follows(detail: ErrorDetails, other: ErrorDetails) -> bool:
    """True where a list is too short only because an item in it is wrong."""
    depth = len(detail["loc"])
    inside = len(other["loc"]) > depth and other["loc"][:depth] == detail["loc"]
    return inside and detail["type"] in ("too_short", "too_long")


def _found(detail: ErrorDetails, given: Mapping[str, Any]) -> _Found:
    place: list[int | str] = []
    branches: list[tuple[int, str]] = []
    value: Any = given
    parts, is_key = list(detail["loc"]), False
    while parts:
        part = parts.pop(0)
        if isinstance(value, Mapping) and (part in value or (detail["type"] == "missing" and not parts)):
            place.append(part)
            value = value.get(part)
        elif isinstance(value, Mapping) and isinstance(part, int) and part < len(value):  # taken as pairs
            name, inner = list(value.items())[part]
            is_key = bool(parts) and parts.pop(0) == 0
            place.append(name)
            value = name if is_key else inner
        elif isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
            place.append(part)
            value = value[part]
        else:
            branches.append((len(place), str(part)))
    return _Found(tuple(place), tuple(branches), value, is_key, detail)


def _explained(
    cls: type[BaseModel], found: Sequence[_Found], level: int
) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """The members of a union together make one mistake: that of the member which fits best, or what all of them take."""

    def union(one: _Found) -> tuple[object, ...]:
        if len(one.branches) <= level:
            return (id(one),)
        return one.place[: one.branches[level][0]], [name for _, name in one.branches[:level]]

    for key, group in groupby(found, key=union):
        together = list(group)
        if len(key) == 1:
            yield together[0].place, _sentence(cls, together[0])
            continue
        above = together[0].branches[level][0]
        fits = [one for one in together if len(one.place) > above or not _taken(cls, one)]
        if fits:
            yield from _explained(
                cls, [one for one in fits if one.branches[level] == fits[0].branches[level]], level + 1
            )
        else:
            yield together[0].place, _needs(cls, together)


def _taken(cls: type[BaseModel], one: _Found) -> tuple[str, ...]:
    """What would be taken in place of a value of the wrong type; empty where the type is not what is wrong."""
    kind, context = one.detail["type"], one.detail.get("ctx", {})
    if kind == "literal_error":
        return tuple(re.findall(r"'[^']*'|[^\s,']+(?=,|$)", context["expected"].replace(" or ", ", ")))
    if kind == "model_type" and context.get("class_name") == Artifact.__name__:
        return (_FILE, "{step: name}")
    if kind == "tuple_type" and _is_pairs(_annotation(cls, one.place)):
        return ("a mapping",)
    return _TAKEN.get(kind, ())


def _needs(cls: type[BaseModel], together: Sequence[_Found]) -> str:
    value = together[0].value
    taken = list(dict.fromkeys(form for one in together for form in _taken(cls, one)))
    taken.sort(key=lambda form: (form.startswith("{"), form.startswith("'")))
    joined = " or ".join([", ".join(taken[:-1]), taken[-1]] if len(taken) > 1 else taken)
    return f"needs {joined}, got {value!r}{_remedy(value, taken) or _in_mapping(cls, together[0])}"


def _in_mapping(cls: type[BaseModel], one: _Found) -> str:
    """How a bare value is written as the mapping that is needed; nothing where no parameter is plainly meant."""
    value, model = one.value, _model_at(cls, one.detail["loc"])
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    if not plain or one.detail.get("ctx", {}).get("class_name") != model.__name__:
        return ""
    fields = _fields(model)
    fitting = (float, int) if isinstance(value, int) else (type(value),)
    required = [name for name, info in fields.items() if info.is_required()]
    first, *others = required or [name for name, info in fields.items() if info.annotation in fitting] or [""]
    more = "".join(f", {name}: {name.upper()}" for name in others if required)
    return f"; write {{{first}: {value}{more}}}" if first else ""


def _remedy(value: object, taken: Sequence[str]) -> str:
    if isinstance(value, Mapping) and "a list" in taken:
        inner = ", ".join(f"{name}: {one}" for name, one in value.items())
        return f"; write [{{{inner}}}]"
    if not isinstance(value, str):
        return ""
    choices = [form.strip("'") for form in taken if form.startswith("'")]
    close = [word for word in (_SAME_MEANING.get(value),) if word in choices]
    close += difflib.get_close_matches(value, choices, n=1)
    if close:
        return f", did you mean {close[0]!r}?"
    if _FILE in taken:
        return f"; write {{file: {value}}} for a file" + (", or a list" if "a list" in taken else "")
    return f"; write [{value}]" if "a list" in taken and "," not in value else ""


def _sentence(cls: type[BaseModel], one: _Found) -> str:
    detail, kind = one.detail, one.detail["type"]
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        *above, name = detail["loc"]
        return unknown(cls, above, str(name))
    if kind == "missing":
        return "field required"
    if kind in _OWN_WORDS:
        return _needs(cls, [one])
    message = detail["msg"].removeprefix("Value error, ")
    if kind in ("too_short", "too_long"):
        many = "mapping" if isinstance(one.value, Mapping) else "list"
        message = re.sub(r"^\w+| after validation.*$", lambda at: many if at.start() == 0 else "", message)
    elif one.is_key:
        message = message.replace("String should", "the name should").replace("Input should", "the name should")
    told = kind == "value_error" and (" got " in message or isinstance(one.value, Mapping))  # that would be everything
    got = "" if told else f", got {one.value!r}"
    remedy = _remedy(one.value, _taken(cls, one)) if kind == "literal_error" else ""
    return f"{message[:1].lower()}{message[1:]}{got}{remedy}"


def _annotation(cls: type[BaseModel], place: Sequence[int | str]) -> Any:
    """The type of the parameter at a place, where it is one of ``cls`` itself."""
    named = (info.annotation for name, info in cls.model_fields.items() if place in ((name,), (info.alias,)))
    return next(named, None)


def _is_pairs(annotation: Any) -> bool:
    """True of ``tuple[tuple[key, value], ...]``, which is a mapping in a recipe; also of that or None."""
    inner = get_args(annotation)
    if get_origin(annotation) is not tuple:
        return any(_is_pairs(one) for one in inner)
    pair = inner[0] if get_origin(inner[0]) is not Annotated else get_args(inner[0])[0]
    return inner[1:] == (...,) and get_origin(pair) is tuple and len(get_args(pair)) == 2 and ... not in get_args(pair)
