"""Numbers as a person reads them."""

from __future__ import annotations

import pytest

from pipeline.report.units import measured


@pytest.mark.parametrize(
    ("value", "threshold", "shown"),
    [
        ("0.6641975308641975", "fraction <= 0.5", "0.6642"),
        ("0.6641975308641975", None, "0.6642"),
        ("12", "num_words >= 50", "12"),
        ("1234567", None, "1234567"),
        ("0.5", "fraction >= 0.6", "0.5"),
        ("3.0", None, "3.0"),
        ("-2.123456789", "score >= -1", "-2.1235"),
        ("0.000123456789", "fraction >= 0.01", "0.0001235"),
        ("1.2345678e-07", None, "1.235e-07"),
        # Rounded, each would seem to be what was wanted.
        ("0.5999999", "fraction >= 0.6", "0.5999999"),
        ("0.00999999", "fraction in [0.01, 0.9]", "0.00999999"),
        ("0.300000012", "fraction < 0.3", "0.300000012"),
        # Labels.
        ("zh", "language in en, de", "zh"),
        ("", None, ""),
        ("v1.23456", None, "v1.23456"),
        ("nan", None, "nan"),
        ("inf", "x <= 1", "inf"),
    ],
)
def test_measured_values_have_four_places_unless_that_hides_the_verdict(
    value: str, threshold: str | None, shown: str
) -> None:
    assert measured(value, threshold) == shown
