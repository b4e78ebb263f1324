"""Measures against thresholds: which rows lie outside a bound, and the threshold in words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.language_labels import place_of, places
from pipeline.operator import Bound

BoolArray = npt.NDArray[np.bool_]
Limits = tuple[float | None, float | None]


def broken(bound: Bound, values: pa.Array, languages: pa.Array | None) -> BoolArray:
    """Rows outside the bound: bool (rows,).

    A null or NaN is outside every limit that applies to its row; a row whose language has no limit is never outside.
    languages: string (rows,), needed only where the bound has limits by language; None: no row's language is named.
    They are matched by ``language_labels``: ``eng_Latn`` has the limits of ``en``.

    Raises:
        ValueError: languages are not one per value.
    """
    if bound.among is not None:
        inside = pc.is_in(values.cast(pa.string()), pa.array(bound.among, pa.string()))
        return ~pc.and_(inside, pc.is_valid(values)).to_numpy(zero_copy_only=False)
    if languages is None or not bound.by_language:
        return _outside(bound, values, (bound.min, bound.max))
    if len(languages) != len(values):
        msg = f"bound on {bound.measure!r}: {len(languages)} languages for {len(values)} values; give one for each"
        raise ValueError(msg)
    position = places(languages, [label for label, _, _ in bound.by_language])
    outside = np.zeros(len(values), np.bool_)
    groups = [*((low, high) for _, low, high in bound.by_language), (bound.min, bound.max)]
    for found in np.unique(position):  # -1, the languages that are not named, takes the last group
        chosen = position == found
        outside[chosen] = _outside(bound, values.filter(pa.array(chosen)), groups[found])
    return outside


def threshold(bound: Bound, language: str | None) -> str:
    """What a row of this language had to fulfil, as it stands beside a dropped row: ``share >= 0.1 and <= 0.9``."""
    low, high = _limits(bound, language)
    parts = [f"> {low}" if bound.exclusive else f">= {low}"] if low is not None else []
    if high is not None:
        parts.append(f"< {high}" if bound.exclusive else f"<= {high}")
    if bound.among is not None:
        parts.append(f"in {', '.join(bound.among)}")
    return f"{bound.measure} {' and '.join(parts) or 'without limit'}"


def _limits(bound: Bound, language: str | None) -> Limits:
    place = -1 if language is None else place_of(language, tuple(label for label, _, _ in bound.by_language))
    return (bound.min, bound.max) if place < 0 else bound.by_language[place][1:]


def _outside(bound: Bound, values: pa.Array, limits: Limits) -> BoolArray:
    low, high = limits
    if low is None and high is None:
        return np.zeros(len(values), np.bool_)
    if pa.types.is_integer(values.type) and values.null_count:
        return _outside(bound, values.fill_null(0), limits) | values.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_float64(values.type) or pa.types.is_integer(values.type):
        numbers = values.to_numpy(zero_copy_only=False)  # a null becomes NaN, which no comparison holds for
        above, below = (np.greater, np.less) if bound.exclusive else (np.greater_equal, np.less_equal)
        inside = [test(numbers, limit) for test, limit in ((above, low), (below, high)) if limit is not None]
        return ~inside[0] if len(inside) == 1 else ~(inside[0] & inside[1])
    inside = pa.array(np.ones(len(values), np.bool_))
    above, below = (pc.greater, pc.less) if bound.exclusive else (pc.greater_equal, pc.less_equal)
    if low is not None:
        inside = pc.and_(inside, above(values, low))
    if high is not None:
        inside = pc.and_(inside, below(values, high))
    known = pc.and_(pc.fill_null(inside, False), pc.is_valid(values))
    if pa.types.is_floating(values.type):
        known = pc.and_(known, pc.fill_null(pc.invert(pc.is_nan(values)), False))
    return ~known.to_numpy(zero_copy_only=False)
