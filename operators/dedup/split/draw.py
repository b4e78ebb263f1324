"""Which set a cluster goes to: a draw from its smallest id."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator

from pipeline.value import Pairs

SetArray = npt.NDArray[np.uint8]

TRAINING = 255
"""The set of all that is not held out."""

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31 = np.uint64(27), np.uint64(30), np.uint64(31)
_ALL = 1 << 64
_MOST_SETS = 64
_INNER = ("signatures", "runs", "exact", "edges", "components", "sets", "hosts", "links")
_LEFT = ("train", "training")


def _checked(shares: tuple[tuple[str, float], ...]) -> tuple[tuple[str, float], ...]:
    names = [name for name, _ in shares]
    if not 1 <= len(shares) <= _MOST_SETS:
        msg = f"held_out names 1 to {_MOST_SETS} sets, got {len(shares)}; try held_out: {{validation: 0.005}}"
        raise ValueError(msg)
    for name, share in shares:
        if name in _LEFT:
            msg = f"set {name!r}: what is not held out is the step itself, so it is no set; leave it out of held_out"
            raise ValueError(msg)
        if not (name.isascii() and name.isidentifier() and name.islower()) or name in _INNER or names.count(name) > 1:
            msg = (
                f"set {name!r} cannot be called so: small letters, digits and _, each name once, and none of "
                f"{', '.join(_INNER)}; try validation or test"
            )
            raise ValueError(msg)
        if not 0 < share < 1:
            msg = f"set {name!r} has share {share}; give a share of the documents above 0 and below 1, or leave it out"
            raise ValueError(msg)
    whole = sum(share for _, share in shares)
    if whole >= 1:
        msg = f"the shares add up to {whole:g}, so nothing would be left to train on; let their sum stay below 1"
        raise ValueError(msg)
    return shares


Shares = Annotated[Pairs[float], AfterValidator(_checked)]
"""Name of each held-out set and its share of the documents; a mapping in a recipe."""


def _mixed(value: Any) -> Any:
    """splitmix64's finisher: every bit of the result hangs on every bit of the value."""
    value = (value ^ (value >> _S30)) * _MIX_1
    value = (value ^ (value >> _S27)) * _MIX_2
    return value ^ (value >> _S31)


def drawn(ids: npt.NDArray[np.uint64], shares: Shares, seed: int) -> SetArray:
    """The number of the set that each id draws, or ``TRAINING``: uint8 (N,).

    ids: uint64 (N, 2). The draw is uniform over [0, 1); the sets lie there one after the other, from 0 on. So a first
    set that grows keeps what it had, and another seed gives other sets.
    """
    # One array element, not a scalar: arrays wrap around without a warning.
    start = _mixed(np.array([seed], np.uint64) + _STEP)
    number = _mixed(_mixed(start ^ ids[:, 0]) + _STEP ^ ids[:, 1])
    total, bounds = 0.0, []
    for _, share in shares:
        total += share
        bounds.append(min(int(total * _ALL), _ALL - 1))
    found = np.searchsorted(np.array(bounds, np.uint64), number, side="right")
    return np.where(found < len(bounds), found, TRAINING).astype(np.uint8)
