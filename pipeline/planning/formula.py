"""A published formula with the range it was fitted over, so that whoever leaves the range is told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """Values of one quantity that a formula was fitted on, both ends inside."""

    quantity: str
    """As in the formula's text: "N", "D", "C"."""
    low: float
    high: float
    unit: str

    def __str__(self) -> str:
        return f"{self.quantity} {short(self.low)} to {short(self.high)} {self.unit}"


@dataclass(frozen=True)
class Formula:
    """What is computed, as a person writes it, by whom, and where it holds."""

    name: str
    text: str
    source: str
    domain: tuple[Range, ...] = ()
    note: str = ""

    def outside(self, **at: float) -> tuple[str, ...]:
        """A sentence for each quantity that lies outside of its range; empty where all lie inside."""
        return tuple(
            f"{self.name}: {one.quantity} = {short(at[one.quantity])} {one.unit} is {_side(at[one.quantity], one)}"
            for one in self.domain
            if one.quantity in at and not one.low <= at[one.quantity] <= one.high
        )


def short(value: float) -> str:
    """``124M``, ``2.1B``, ``3e18``: three digits, as they are spoken of."""
    for limit, letter in ((1e15, ""), (1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{letter}" if letter else f"{value:.3g}".replace("e+", "e")
    return f"{value:.3g}"


def _side(value: float, range_: Range) -> str:
    if value < range_.low:
        return f"below {short(range_.low)}, where it was fitted"
    return f"above {short(range_.high)}, where it was fitted"
