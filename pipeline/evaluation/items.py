"""Questions and prompts from files of JSON lines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import UserError
from pipeline.value import Strings, Value


class Item(Value):
    """A line of such a file; fields it does not know are left alone."""

    model_config = ConfigDict(extra="ignore")

    prompt: str = ""
    task: str | None = None
    language: str | None = None


class Choices(Item):
    """A question with answers to choose from."""

    choices: Annotated[Strings, Field(min_length=2)]
    """Each follows the prompt letter by letter: a space between the two stands in one of them."""
    answer: int | str
    """Number of the right one, from 0, or its text."""

    @property
    def right(self) -> int:
        """Number of the right one."""
        return self.answer if isinstance(self.answer, int) else self.choices.index(self.answer)

    @model_validator(mode="after")
    def _answerable(self) -> Self:
        empty = [number for number, choice in enumerate(self.choices) if not choice]
        if empty:
            msg = f"choice {empty[0]} is empty"
            raise ValueError(msg)
        if isinstance(self.answer, str) and self.answer not in self.choices:
            msg = f"answer {self.answer!r} is none of the choices; give its number, from 0, or its exact text"
            raise ValueError(msg)
        if isinstance(self.answer, int) and not 0 <= self.answer < len(self.choices):
            msg = f"answer {self.answer}, but choices are numbered 0 to {len(self.choices) - 1}"
            raise ValueError(msg)
        return self


class Prompt(Item):
    """The beginning of a text and how it goes on."""

    references: Strings
    """Right continuations, the first of which also scores the model's probabilities. Each follows the prompt letter by
    letter."""

    @model_validator(mode="before")
    @classmethod
    def _one(cls, given: object) -> object:
        """``answer``, a string, stands for one reference."""
        if isinstance(given, dict) and "answer" in given and "references" not in given:
            return {**given, "references": [given["answer"]]}
        return given

    @model_validator(mode="after")
    def _any(self) -> Self:
        if not self.references or not all(self.references):
            msg = "needs 'answer' or 'references', and none of them empty"
            raise ValueError(msg)
        return self


_Kind = TypeVar("_Kind", bound=Item)


def read_items(path: Path, kind: type[_Kind]) -> list[_Kind]:
    """The lines of a file; blank ones are skipped.

    Raises:
        UserError: no such file, no line, or one that is none; the message names it.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # a string may hold other ends of lines
    except (OSError, UnicodeDecodeError) as error:
        msg = f"cannot read {path}: {error}"
        raise UserError(msg) from error
    items = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            items.append(kind.model_validate_json(line))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            msg = f"{path}, line {number}: {place + ': ' if place else ''}{first['msg']}"
            raise UserError(msg) from error
    if not items:
        msg = f"{path} has no line"
        raise UserError(msg)
    return items
