"""Frozen, validated values: what operators, steps and works are made of."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Strings = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
"""A tuple of strings; a YAML list is taken too."""


def as_pairs(value: object) -> object:
    """A mapping, or a YAML list of lists of two, as pairs; what is neither is left to be refused."""
    if isinstance(value, Mapping):
        return tuple(value.items())
    if isinstance(value, list | tuple):
        return tuple(tuple(pair) if isinstance(pair, list) else pair for pair in value)
    return value


_Item = TypeVar("_Item")
Pairs = Annotated[tuple[tuple[str, _Item], ...], BeforeValidator(as_pairs)]
"""A mapping from names, kept as pairs so that it hashes; whole numbers become floats where those are wanted."""


class _Named(type(BaseModel)):
    """Makes values from named parameters alone, and says what was meant where a name is misspelt."""

    if not TYPE_CHECKING:  # a checker reads the parameters from the fields

        def __call__(cls, /, *positional: object, **parameters: object) -> object:
            names = [info.alias or name for name, info in cls.model_fields.items()]
            if positional:
                own = [name for name in names if name in cls.__annotations__] or ["parameter"]
                like = (
                    n for n in own if n in cls.model_fields and type(cls.model_fields[n].default) is type(positional[0])
                )
                msg = f"parameters of {cls.__name__} are named: {cls.__name__}({next(like, own[0])}={positional[0]!r})"
                raise TypeError(msg)
            try:
                return super().__call__(**parameters)
            except ValidationError as error:
                for name in sorted(parameters.keys() - set(names) - cls.model_fields.keys()):
                    for close in difflib.get_close_matches(name, names, n=1):
                        error.add_note(f"{cls.__name__} has no {name!r}, did you mean {close!r}?")
                raise


class Value(BaseModel, metaclass=_Named):
    """A frozen value: compares, hashes and pickles by its fields; unknown keys and wrong types are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=True, populate_by_name=True, protected_namespaces=()
    )


class Artifact(Value):
    """A file a value depends on: ``{step: name}`` (made by the workflow) or ``{file: path}`` (brought along).

    ``sha256`` is filled in by the engine; it, and never the path, enters a fingerprint.
    """

    step: str | None = None
    file: str | None = None
    sha256: str | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.step is None) == (self.file is None):
            msg = f"needs exactly one of step and file, got step={self.step!r} and file={self.file!r}"
            raise ValueError(msg)
        return self


def artifacts(value: object) -> Iterator[Artifact]:
    """Every artifact named anywhere inside a value."""
    if isinstance(value, Artifact):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from artifacts(getattr(value, name))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from artifacts(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from artifacts(item)


def replace_artifacts(value: Any, found: Mapping[Artifact, Artifact]) -> Any:
    """The same value with the artifacts in ``found`` replaced."""
    if isinstance(value, Artifact):
        return found.get(value, value)
    if isinstance(value, BaseModel):
        update = {name: replace_artifacts(getattr(value, name), found) for name in type(value).model_fields}
        changed = {name: new for name, new in update.items() if new is not getattr(value, name)}
        return value.model_copy(update=changed) if changed else value
    if isinstance(value, tuple):
        new = tuple(replace_artifacts(item, found) for item in value)
        return value if all(a is b for a, b in zip(new, value, strict=True)) else new
    return value
