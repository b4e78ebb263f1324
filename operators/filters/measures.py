"""Kernel results as Arrow columns: NaN means undefined and becomes null."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def nullable(values: npt.NDArray[np.float64], *, whole: bool = False) -> pa.Array:
    """Float64, or int64 of whole numbers, with null for NaN; without one a float64 column is a view of ``values``."""
    undefined = np.isnan(values)
    mask = undefined if undefined.any() else None
    return pa.array(np.where(undefined, 0, values).astype(np.int64) if whole else values, mask=mask)
