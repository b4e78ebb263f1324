"""``sluice operators``: what a recipe can name, from the classes themselves."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import orjson
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from rich.table import Table
from rich.text import Text

from operators.catalogue import NAMES, load_operator
from pipeline.errors import UserError
from pipeline.operator import Filter, Map
from pipeline.value import Value
from pipeline.work import EpochVerb
from workflows.commands.summary import console
from workflows.commands.terminal import terminal
from workflows.problems import near
from workflows.verbs import VERBS

_EVERY = ("only", "as_")
"""Parameters that every operator takes."""


@dataclass(frozen=True)
class Parameter:
    """One parameter. role: a ``threshold`` can be moved afterwards by ``sluice whatif``; anything else needs a rerun."""

    name: str
    kind: str
    default: str
    role: Literal["threshold", ""]


def list_all(*, as_json: bool) -> None:
    """Print every operator of the catalogue with the first sentence of what it does."""
    found = [(name, _shape(cls := load_operator(name)), _summary(cls)) for name in NAMES]
    if as_json:
        rows = [{"operator": name, "shape": shape, "summary": summary} for name, shape, summary in found]
        typer.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2))
        return
    terminal()
    table = Table(box=None, pad_edge=False)
    table.add_column("operator", no_wrap=True)
    table.add_column("shape", no_wrap=True)
    table.add_column("what it does", overflow="fold")
    for row in found:
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)
    print("\nsluice operators NAME tells its parameters, what it measures and whose rule it is")
    print(f"a step's verb is apply with a list of them, or one of {', '.join(VERBS)} (sluice operators VERB)")


def describe(name: str, *, as_json: bool) -> None:
    """Print what an operator does, measures and takes; or a verb of a recipe's step.

    Raises:
        UserError: no such operator or verb; names the nearest.
    """
    cls = VERBS.get(name) or _load(name)
    text, parameters = inspect.getdoc(cls) or "", list(_parameters(cls))
    if as_json:
        data = {
            "operator": name,
            "class": f"{cls.__module__}:{cls.__qualname__}",
            "shape": _shape(cls),
            "text": text,
            "parameters": [asdict(one) for one in parameters],
        }
        typer.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2))
        return
    terminal()
    print(f"{name}, a {_shape(cls)}, {cls.__module__}:{cls.__qualname__}\n\n{text}\n")
    table = Table(box=None, pad_edge=False)
    for title in ("parameter", "default", "takes", ""):
        table.add_column(title, overflow="fold")
    for one in parameters:
        table.add_row(*(Text(cell) for cell in (one.name, one.default, one.kind, one.role)))
    console().print(table)
    if name in VERBS:
        for inner_name, inner in _groups(cls):
            print(f"\n{inner_name}: {inspect.getdoc(inner) or ''}")
        return
    print("\nand, as every operator: only: {column: [value]}, as: name")
    if any(one.role for one in parameters):
        print("a threshold can be moved afterwards: sluice whatif RUN STEP.OPERATOR.PARAM=VALUE")


def _load(name: str) -> type[Map | Filter]:
    try:
        return load_operator(name)
    except LookupError as error:
        msg = f"no operator {name!r}{near(name, error.args[0])}"
        raise UserError(msg) from error
    except (ImportError, ValueError, TypeError) as error:  # the latter two: an empty or a relative module
        msg = f"cannot import {name!r}: {error}"
        raise UserError(msg) from error


def _groups(cls: type[Value]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Parameters of a verb that are mappings of named parameters themselves."""
    for name, field in cls.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield name, kind


def _shape(cls: type[Value]) -> str:
    return "filter" if issubclass(cls, Filter) else "map" if issubclass(cls, Map) else "verb"


def _summary(cls: type) -> str:
    """The first paragraph's first sentence, on one line."""
    paragraph = " ".join((inspect.getdoc(cls) or "").partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].removesuffix(".")


def _parameters(cls: type[Value]) -> Iterator[Parameter]:
    thresholds = cls.thresholds() if issubclass(cls, Filter) else ()
    for name, field in cls.model_fields.items():
        if name not in _EVERY and not (name in EpochVerb.model_fields and issubclass(cls, EpochVerb)):
            kind = _kind(field.annotation)
            yield Parameter(field.alias or name, kind, _default(field), "threshold" if name in thresholds else "")


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "(required)"
    return _plain(value)


def _plain(value: Any) -> str:
    """As YAML writes it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case tuple():
            return f"[{', '.join(_plain(one) for one in value)}]"
        case BaseModel():
            inner = ((name, getattr(value, name)) for name in type(value).model_fields)
            return "{" + ", ".join(f"{name}: {_plain(one)}" for name, one in inner) + "}"
    return str(value)


def _kind(annotation: Any) -> str:
    """A type in a recipe's words: ``number``, ``text``, ``one or other``, ``list of text``, ``number or null``."""
    names = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null"}
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(inner[0])
    if origin in (Union, types.UnionType, Literal):
        return " or ".join(dict.fromkeys(_plain(one) if origin is Literal else _kind(one) for one in inner))
    if origin is tuple:
        return f"list of {_kind(inner[0])}" if inner[1:] == (...,) else f"list of {len(inner)}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "{" + ", ".join(annotation.model_fields) + "}"
    return names.get(annotation) or str(getattr(annotation, "__name__", annotation))
