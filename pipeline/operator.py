"""The two shapes of an operator: a Map changes columns, a Filter measures and states its bounds."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cache
from typing import Annotated, ClassVar, Self

import pyarrow as pa
from pydantic import BeforeValidator, Field, model_validator

from pipeline.value import Value


def _as_conditions(value: object) -> object:
    if isinstance(value, Mapping):
        return tuple(
            (key, tuple(names) if isinstance(names, list | tuple) else (names,)) for key, names in value.items()
        )
    return value


Conditions = Annotated[tuple[tuple[str, tuple[str, ...]], ...], BeforeValidator(_as_conditions)]
"""``{language: [zh]}``: the rows an operator applies to, column by column; empty means every row."""


@cache
def snake_case(name: str) -> str:
    """``C4Lines`` to ``c4_lines``, ``ScrubPii`` to ``scrub_pii``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@dataclass(frozen=True)
class Bound:
    """One threshold on one measure. A row outside it is dropped with ``reason``.

    min and max are inclusive, unless ``exclusive``; ``among`` is for measures that are strings.
    by_language: (label, min, max): rows of these languages are judged by these limits in place of min and max;
    (label, None, None) sets no limit for the language. Other rows fall to min and max.
    """

    measure: str
    _: KW_ONLY
    reason: str
    min: float | None = None
    max: float | None = None
    exclusive: bool = False
    among: tuple[str, ...] | None = None
    by_language: tuple[tuple[str, float | None, float | None], ...] = ()

    def __post_init__(self) -> None:
        if self.min is None and self.max is None and self.among is None and not self.by_language:
            msg = f"bound on {self.measure!r} has neither min, max nor among; leave it out instead"
            raise ValueError(msg)
        labels = [label for label, _, _ in self.by_language]
        if len(set(labels)) < len(labels):
            twice = ", ".join(sorted({label for label in labels if labels.count(label) > 1}))
            msg = f"bound on {self.measure!r} has limits for {twice} more than once; leave one"
            raise ValueError(msg)
        if self.among is not None and self.by_language:
            msg = f"bound on {self.measure!r}: among has no limits by language; state one of them"
            raise ValueError(msg)


class Operator(Value, ABC):
    """A frozen value that maps documents to documents: no I/O, no state between calls, no clock, no randomness."""

    only: Conditions = ()
    as_: str | None = Field(default=None, alias="as", pattern=r"^[a-z][a-z0-9_]*$")

    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions whose version changes what this operator computes; they enter the fingerprint."""

    reads: ClassVar[tuple[str, ...]] = ("text",)
    """Columns it reads, beside those of ``only``."""

    @model_validator(mode="after")
    def _numbers_are_numbers(self) -> Self:
        for name, value in self:
            if isinstance(value, float) and math.isnan(value):
                msg = f"{name} is NaN, which no measure can be held to; give a number, or null for no limit"
                raise ValueError(msg)
        return self

    @property
    def name(self) -> str:
        """The name its columns and reasons carry."""
        return self.as_ or snake_case(type(self).__name__)

    def column(self, measure: str) -> str:
        """The column that holds a measure."""
        return f"{self.name}.{measure}"

    def prepare(self) -> None:
        """Load what is heavy (models, compiled kernels) once per process; called before the first batch."""


class Map(Operator):
    """Same rows, same order, other columns. A text that it leaves null drops the row with ``nothing_left``."""

    scrubs: ClassVar[bool] = False
    """True where the map removes personal data; the engine then runs it over the text of dropped rows too."""

    @abstractmethod
    def map(self, docs: pa.Table) -> pa.Table:
        """Documents with other columns; ``docs`` is one chunk and must not be changed."""


class Filter(Operator):
    """Measures every row; the engine compares with the bounds, in their order, and moves dropped rows aside.

    Thresholds are the parameters named ``min_*``, ``max_*``, ``keep`` or ``by_language``: they enter ``bounds`` alone and
    never change what is measured, so that stored measures can be judged anew by others (``sluice whatif``). With all of
    them off (None, or an empty ``keep``) there are no bounds.
    """

    costly: ClassVar[bool] = False
    """True where measuring is expensive: only rows that are still left are measured."""

    measuring: ClassVar[tuple[str, ...]] = ()
    """Parameters that are named like thresholds, but change what is measured."""

    @classmethod
    def thresholds(cls) -> tuple[str, ...]:
        """Names of the parameters that are thresholds."""
        named = (n for n in cls.model_fields if n.startswith(("min_", "max_")) or n in ("keep", "by_language"))
        return tuple(name for name in named if name not in cls.measuring)

    @abstractmethod
    def measure(self, docs: pa.Table) -> Mapping[str, pa.Array]:
        """One array per measure, as long as ``docs``; null where the number is undefined."""

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """Thresholds, in the order in which they give the reason."""
        return ()
