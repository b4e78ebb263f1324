"""Finding values in a sorted column."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def found_in(
    sorted_values: npt.NDArray[Any], values: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
    """Which of these are among the sorted values, (N,), and where those that are stand: the first of equal ones."""
    position = np.searchsorted(sorted_values, values)
    hit = position < len(sorted_values)
    hit[hit] = sorted_values[position[hit]] == values[hit]
    return hit, position[hit]
