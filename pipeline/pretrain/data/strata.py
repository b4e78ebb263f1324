"""Which stratum a document is of: by its source, its language and the bucket of a measure, from a token shard's table."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field

from pipeline.errors import UserError
from pipeline.value import Pairs, Value

Codes = NDArray[np.int64]
Key = Literal["source", "language", "quality"]

UNDEFINED = "undefined"
"""The bucket of a document whose measure has no value."""
UNNAMED = "und"
"""Stands for a source or a language that is not known."""
_BETWEEN = "|"


def _ascending(buckets: tuple[tuple[str, float | None], ...]) -> tuple[tuple[str, float | None], ...]:
    names = [name for name, _ in buckets]
    lowest = [least for _, least in buckets]
    if not buckets or lowest[0] is not None:
        msg = f"the first bucket takes everything below the second, so its value is null; got {dict(buckets)}"
        raise ValueError(msg)
    rest = [least for least in lowest[1:] if least is not None and math.isfinite(least)]
    if len(rest) < len(lowest) - 1 or any(a >= b for a, b in pairwise(rest)):
        msg = f"after the first, each bucket has the smallest value it takes, ascending; got {dict(buckets)}"
        raise ValueError(msg)
    wrong = [name for name in names if not name or _BETWEEN in name or name == UNDEFINED or names.count(name) > 1]
    if wrong:
        msg = f"a bucket cannot be called {wrong[0]!r}: each name once, without {_BETWEEN}, and not {UNDEFINED!r}"
        raise ValueError(msg)
    return buckets


def _as_keys(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _each_once(keys: tuple[Key, ...]) -> tuple[Key, ...]:
    if not keys or len(set(keys)) < len(keys):
        msg = f"names at least one of source, language and quality, each once; got {list(keys)}"
        raise ValueError(msg)
    return keys


Keys = Annotated[tuple[Key, ...], BeforeValidator(_as_keys), AfterValidator(_each_once)]
"""What strata are made by; a single name is taken too."""


class Buckets(Value):
    """Ranges of a measure.

    column: of ``docs.parquet``, numbers. buckets: name -> smallest value, ascending; null for the first, which takes
    everything below the second: ``{low: null, middle: 0.3, high: 0.7}``. A document without a value is of ``undefined``.
    """

    column: str
    buckets: Annotated[Pairs[float | None], AfterValidator(_ascending)] = Field(description="name -> smallest value")

    def names(self, values: Any) -> pa.Array:
        """The bucket of each value."""
        numbers = pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False)
        bounds = np.array([least for _, least in self.buckets[1:]], np.float64)
        code = np.where(np.isnan(numbers), len(self.buckets), np.searchsorted(bounds, numbers, side="right"))
        known = pa.array([*(name for name, _ in self.buckets), UNDEFINED], pa.string())
        return known.take(pa.array(code))


class Stratification(Value):
    """How documents fall into strata: the rule alone, whatever the documents.

    A stratum is called by its source, language and bucket, in the order of ``by``, with ``|`` between.
    """

    by: Keys = ("source",)
    quality: Buckets | None = None

    @property
    def columns(self) -> list[str]:
        """The columns of ``docs.parquet`` it needs."""
        return [self._column(key) for key in self.by]

    def labels(self, path: str) -> tuple[Codes, list[str]]:
        """Number of each document's stratum, int64 (documents,), and the names of those that there are.

        path: the ``docs.parquet`` of a token shard.

        Raises:
            UserError: the table lacks a column, or the one of the measure holds no numbers.
        """
        there = pq.read_schema(path).names
        documents = pq.read_table(path, columns=[name for name in self.columns if name in there])
        parts = [self._part(key, documents, path) for key in self.by]
        joined: Any = pc.binary_join_element_wise(*parts, _BETWEEN) if len(parts) > 1 else parts[0]
        encoded = joined.dictionary_encode()
        return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary.to_pylist()

    def _column(self, key: Key) -> str:
        return self.quality.column if key == "quality" and self.quality else key

    def _part(self, key: Key, documents: pa.Table, path: str) -> Any:
        name = self._column(key)
        if name not in documents.column_names:
            remedy = (
                f"; name it on the step that tokenizes: `keep: [{name}]`" if key == "quality" else "; tokenize again"
            )
            msg = f"{path} has no column {name!r} to make strata by{remedy}"
            raise UserError(msg)
        column = documents[name].combine_chunks()
        if key != "quality" or self.quality is None:
            return pc.fill_null(pc.cast(column, pa.string()), UNNAMED)
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            msg = f"{path}: column {name!r} holds {column.type}, not numbers, so it has no buckets"
            raise UserError(msg)
        return self.quality.names(column)
