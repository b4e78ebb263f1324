"""Kernel results as Arrow columns: NaN means undefined and becomes null."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def nullable(values: npt.NDArray[np.float64], kind: Any = None) -> pa.Array:
    """Float64, or the given Arrow type, with null for NaN."""
    column = pa.array(values, mask=np.isnan(values))
    return column if kind is None else column.cast(kind)
