"""The laws against the table of the reference, against each other's optimum, and where they hold."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.planning.formula import short
from pipeline.planning.laws import (
    HOFFMANN,
    REFIT,
    critical_batch,
    effective_tokens,
    kaplan_loss,
    kaplan_parameters,
)
from pipeline.planning.rates import (
    DEEPSEEK,
    STEP_LAW,
    deepseek_batch,
    deepseek_rate,
    power_lines_batch,
    step_law_batch,
    step_law_rate,
)

# Operations, N, D, loss by the refit, then rate and batch by DeepSeek and by the Step Law: worked out by hand from the
# papers' constants, to the digits shown.
TABLE = [
    (1e18, 80e6, 2.1e9, 3.49, 1.7e-3, 0.23e6, 3.0e-3, 0.12e6),
    (1e19, 262e6, 6.4e9, 2.93, 1.3e-3, 0.48e6, 1.8e-3, 0.23e6),
    (1e20, 853e6, 19.5e9, 2.55, 9.9e-4, 1.0e6, 1.1e-3, 0.44e6),
    (1e21, 2.8e9, 60e9, 2.31, 7.4e-4, 2.2e6, 6.7e-4, 0.83e6),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]:.0e}")
def test_the_table(row: tuple[float, ...]) -> None:
    flops, params, tokens, loss, deep_rate, deep_batch, step_rate, step_batch = row
    found = REFIT.optimum(flops)
    assert found == (pytest.approx(params, rel=0.02), pytest.approx(tokens, rel=0.02))
    assert REFIT.loss(*found) == pytest.approx(loss, abs=0.006)
    assert deepseek_rate(flops) == pytest.approx(deep_rate, rel=0.04)
    assert deepseek_batch(flops) == pytest.approx(deep_batch, rel=0.04)
    assert step_law_rate(params, tokens) == pytest.approx(step_rate, rel=0.03)
    assert step_law_batch(tokens) == pytest.approx(step_batch, rel=0.04)


@pytest.mark.parametrize("law", [REFIT, HOFFMANN], ids=["refit", "printed"])
@given(flops=st.floats(1e16, 1e25), factor=st.floats(0.2, 5))
@settings(max_examples=60)
def test_no_other_split_of_the_operations_is_better(law, flops: float, factor: float) -> None:
    params, tokens = law.optimum(flops)
    assert 6 * params * tokens == pytest.approx(flops)
    assert law.loss(params, tokens) <= law.loss(params * factor, tokens / factor) + 1e-12
    assert law.parameters_for(tokens) == pytest.approx(params, rel=1e-6)


def test_kaplan_at_gpt3() -> None:
    """175B parameters and 300B tokens: table 2's joint fit gives 1.57 and 1.52 nats where either alone would bind."""
    assert kaplan_loss(1.75e11, 1e30) == pytest.approx(365.714**0.076, rel=1e-6)  # 6.4e13 / 1.75e11
    assert kaplan_loss(1e30, 3e11) == pytest.approx(60**0.103, rel=1e-6)  # 1.8e13 / 3e11
    assert kaplan_loss(1.75e11, 3e11) == pytest.approx((365.714 ** (76 / 103) + 60) ** 0.103, rel=1e-6)
    assert kaplan_parameters(8.64e19) == pytest.approx(1.3e9)
    assert kaplan_parameters(8.64e20) / kaplan_parameters(8.64e19) == pytest.approx(10**0.73)
    assert critical_batch(3.0) == pytest.approx(2e8 / 3.0**4.76, rel=0.01)


def test_repeated_tokens_are_worth_less_and_less() -> None:
    """Of 100 tokens: one epoch counts in full, four nearly so, and no number of them for more than 16.4."""
    assert effective_tokens(60, 100) == 60
    assert effective_tokens(100, 100) == 100
    assert effective_tokens(400, 100) == pytest.approx(372.5, abs=0.5)  # 100 (1 + 15.39 (1 - exp(-3 / 15.39)))
    assert effective_tokens(10**9, 100) == pytest.approx(1638.8, abs=0.1)


def test_power_lines_double_the_batch_for_six_times_the_tokens() -> None:
    assert power_lines_batch(1.16e9) == 2**19
    assert power_lines_batch(1.16e9 * 2 ** (1 / 0.383)) == pytest.approx(2**20)


def test_who_leaves_a_domain_is_told_which_way() -> None:
    assert STEP_LAW.outside(N=1e8, D=1e10) == ()
    low, high = STEP_LAW.outside(N=1e6, D=1e12)
    assert "N = 1M parameters without embeddings is below 60M" in low
    assert "D = 1T tokens is above 100B" in high
    assert len(DEEPSEEK.outside(C=1e22)) == 1


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.5, "0.5"), (999, "999"), (124e6, "124M"), (2.1e9, "2.1B"), (1.4e12, "1.4T"), (3e18, "3e18")],
    ids=str,
)
def test_numbers_as_they_are_spoken_of(value: float, said: str) -> None:
    assert short(value) == said
