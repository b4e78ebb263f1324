"""Words for what is wrong in a recipe: the nearest name, and the parameters that stand at a place."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from pydantic import BaseModel


def near(name: str, known: Iterable[str]) -> str:
    """``, did you mean 'x'?``, or what there is."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f", did you mean {close[0]!r}?" if close else f"; there are: {', '.join(sorted(known))}"


def parameters_at(cls: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """Names of the parameters of ``cls``, or of the value within it at ``place``, as pydantic tells places."""
    model, within = cls, _models(cls)
    for part in place:
        fields = {info.alias or name: info for name, info in model.model_fields.items()}
        named = next((found for found in within if found.__name__ == part), None)
        if named is not None:  # pydantic names the member of a union
            model = named
        elif part in fields:
            within = _models(fields[str(part)].annotation)
            model = within[0] if within else model
    return [info.alias or name for name, info in model.model_fields.items()]


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models in a type: itself, or those in ``X | None``, ``Annotated[X, ...]``, ``tuple[X, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]
