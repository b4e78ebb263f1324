"""Frozen, validated values: what operators, steps and works are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Strings = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
"""A tuple of strings; a YAML list is taken too."""


class Value(BaseModel):
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
