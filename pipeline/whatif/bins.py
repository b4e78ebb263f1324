"""Bins for a histogram of a measure: round numbers, thresholds on their edges, and powers where values are skewed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_WANTED = 16
_SKEWED = 5.0
"""Bins grow by a factor where the largest values are so many times the middle one of those above 0."""
_OUTER = (0.005, 0.995)
"""Quantiles between which bins are drawn; the first and the last bin take what lies beyond."""


@dataclass(frozen=True, order=True)
class Edge:
    """Where a bin begins. after: values equal to ``at`` still belong to the bin before, as at an inclusive maximum."""

    at: float
    after: bool = False

    @property
    def first(self) -> float:
        """The smallest value of the bin that begins here."""
        return math.nextafter(self.at, math.inf) if self.after else self.at


@dataclass(frozen=True)
class Bins:
    """Bins by their beginnings, each up to the next. The first also takes what is smaller, the last has no end."""

    edges: tuple[Edge, ...]

    @property
    def firsts(self) -> Floats:
        """Smallest value of each bin, ascending."""
        return np.array([edge.first for edge in self.edges])

    def count(self, values: Floats) -> npt.NDArray[np.int64]:
        """Values in each bin; none may be NaN."""
        place = np.searchsorted(self.firsts, values, side="right") - 1
        return np.bincount(np.maximum(place, 0), minlength=len(self.edges))[: len(self.edges)]


def choose(values: Floats, thresholds: Iterable[Edge], *, whole: bool) -> Bins:
    """Bins for values like these.

    values: some of them, finite. thresholds: edges that must be. whole: the values are whole numbers.
    """
    marks = sorted(set(thresholds))
    if not len(values):
        return Bins(tuple(marks) or (Edge(0.0),))
    low, high = np.quantile(values, _OUTER).tolist()
    above = values[values > 0]
    skewed = low >= 0 and len(above) > 0 and high > _SKEWED * float(np.median(above))
    round_ = _powers(above, high, whole=whole) if skewed else _steps(low, high, whole=whole)
    # A round edge that falls on a threshold gives way to it.
    there = {mark.at for mark in marks}
    by_first = {edge.first: edge for edge in (*(Edge(at) for at in round_ if at not in there), *marks)}
    return Bins(tuple(by_first[first] for first in sorted(by_first)))


def _steps(low: float, high: float, *, whole: bool) -> list[float]:
    """Multiples of a round step from below ``low`` to ``high``."""
    step = _round_step((high - low) / _WANTED or max(abs(high), 1.0) / _WANTED)
    step = max(step, 1.0) if whole else step
    first, last = math.floor(low / step), math.floor(high / step)
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]


def _round_step(step: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= step * (1 - 1e-9))


def _powers(above: Floats, high: float, *, whole: bool) -> list[float]:
    """0, then 1, 2, 5 times powers of ten, or powers alone where these would be too many, and of them the last. above: values above 0."""
    low = float(np.quantile(above, _OUTER[0]))
    first, last = math.floor(math.log10(low)), math.floor(math.log10(max(high, low)))
    # What lies more powers below than a histogram has bins joins the bin of 0.
    first = max(first, last + 1 - 2 * _WANTED, 0 if whole else first)
    digits = (1, 2, 5) if 3 * (last - first + 1) <= 2 * _WANTED else (1,)
    found = [float(f"{digit}e{power}") for power in range(first, last + 1) for digit in digits]
    return [0.0, *(at for at in found if at <= high)]
