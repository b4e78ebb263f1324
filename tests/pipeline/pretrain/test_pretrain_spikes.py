"""Which steps are out of the ordinary: against the rule computed by numpy, and its edges."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from pipeline.pretrain.training.spikes import NUM_STEPS, Spikes

CPU = torch.device("cpu")


def verdicts(spikes: Spikes, values: list[tuple[float, float]]) -> list[bool]:
    return [bool(spikes.look(torch.tensor(loss), torch.tensor(norm))) for loss, norm in values]


def slow(values: list[tuple[float, float]], sigmas: float) -> list[bool]:
    """The rule, a step at a time."""
    known: list[list[float]] = [[], []]
    found = []
    for pair in values:
        limits = [
            np.mean(last[-NUM_STEPS:]) + sigmas * np.std(last[-NUM_STEPS:], ddof=1) if len(last) >= 64 else np.inf
            for last in known
        ]
        found.append(any(value > limit for value, limit in zip(pair, limits, strict=True)))
        for last, value, limit in zip(known, pair, limits, strict=True):
            last.append(min(value, limit))
    return found


def ordinary(count: int, seed: int = 0) -> list[tuple[float, float]]:
    random = np.random.default_rng(seed)
    return [(float(3 + 0.1 * a), float(1 + 0.05 * b)) for a, b in random.normal(size=(count, 2))]


def test_the_rule_is_the_slow_one() -> None:
    values = ordinary(400)
    for step in (70, 150, 151, 300):
        values[step] = (values[step][0] + 2.0, values[step][1])
    values[200] = (values[200][0], 9.0)
    found = verdicts(Spikes(3.0, CPU), values)
    assert found == slow(values, 3.0)
    assert all(found[step] for step in (70, 150, 151, 200, 300))
    assert sum(found) < 20  # 3 sigmas of normal numbers are rare


def test_no_verdict_before_half_the_window_is_known() -> None:
    assert verdicts(Spikes(6.0, CPU), [*ordinary(63), (1e9, 1e9)])[-1] is False
    assert verdicts(Spikes(6.0, CPU), [*ordinary(64), (1e9, 1.0)])[-1] is True


def test_a_loss_that_stays_high_is_soon_ordinary() -> None:
    found = verdicts(Spikes(6.0, CPU), [*ordinary(128), *[(30.0, 1.0)] * 128])
    assert found[128] is True
    assert not any(found[-64:])


@pytest.mark.parametrize("sigmas", [None, 6.0])
@pytest.mark.parametrize("wrong", [(float("nan"), 1.0), (3.0, float("inf"))], ids=["nan", "inf"])
def test_no_number_is_never_learned_from(sigmas: float | None, wrong: tuple[float, float]) -> None:
    assert verdicts(Spikes(sigmas, CPU), [(3.0, 1.0), wrong]) == [False, True]


def test_it_goes_on_from_its_state_exactly() -> None:
    values = ordinary(300, seed=4)
    values[250] = (8.0, 1.0)
    whole = Spikes(2.0, CPU)
    expected = verdicts(whole, values)
    for stop in (10, 64, 131, 250):
        first, second = Spikes(2.0, CPU), Spikes(2.0, CPU)
        begun = verdicts(first, values[:stop])
        second.restore(**json.loads(json.dumps(first.state())))
        assert begun + verdicts(second, values[stop:]) == expected
        assert second.state() == whole.state()
