"""Numbers as a person reads them."""

from __future__ import annotations

import re

_STEP = 1000.0
_SMALL = 0.001  # below, four places would leave one digit
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def count(number: int | None) -> str:
    """``1,234,567``; ``-`` where it is unknown."""
    return "-" if number is None else f"{number:,}"


def size(num_bytes: int | None) -> str:
    """``1.23 MB`` (decimal); ``-`` where it is unknown."""
    if num_bytes is None:
        return "-"
    value = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < _STEP:
            return f"{num_bytes} B" if unit == "B" else f"{value:.3g} {unit}"
        value /= _STEP
    return f"{value:,.2f} TB"


def share(part: int, whole: int) -> str:
    """``12.3 %``; ``-`` of nothing."""
    return "-" if not whole else f"{100 * part / whole:.1f} %"


def seconds(value: float) -> str:
    """``850 ms``, ``12.3 s``, ``4:05 min``, ``3:20 h``."""
    if value < 1:
        return f"{1000 * value:.0f} ms"
    if value < 100:  # three digits before minutes read better
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"


def measured(value: str, threshold: str | None = None) -> str:
    """A measured value, as it is stored, to four places; all of them where rounding would make it the threshold."""
    try:
        exact = float(value)
    except ValueError:
        return value  # a label
    if "." not in value and "e" not in value:
        return value
    short = f"{exact:.4f}" if abs(exact) >= _SMALL or not exact else f"{exact:.4g}"
    bounds = [float(one) for one in _NUMBER.findall(threshold or "")]
    return value if len(short) >= len(value) or (float(short) in bounds and exact not in bounds) else short


def number(value: float) -> str:
    """Four significant digits, without exponents for everyday numbers."""
    if value == int(value) and abs(value) < 1e6:  # beyond, the digits are noise
        return f"{int(value):,}"
    return f"{value:.4g}"
