"""Constants come back from runs that were made by them; the error at the largest run is what it is said to be."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipeline.errors import UserError
from pipeline.planning.fit import Point, fit
from pipeline.planning.laws import HOFFMANN, REFIT, Law
from pipeline.planning.points import num_weights, read_points

SIZES, AMOUNTS = (1e6, 5e6, 2.5e7, 1e8), (2e7, 1e8, 5e8)


def runs(law: Law, *, noise: float = 0.0) -> list[Point]:
    random = np.random.default_rng(5)
    return [
        Point(f"{n:.0e} {d:.0e}", n, d, law.loss(n, d) * (1 + noise * random.standard_normal()), law.loss(n, d) / 3)
        for n in SIZES
        for d in AMOUNTS
    ]


@pytest.mark.parametrize("law", [REFIT, HOFFMANN], ids=["refit", "printed"])
def test_constants_are_recovered(law: Law) -> None:
    found = fit(runs(law))
    for name in ("e", "a", "b", "alpha", "beta"):
        assert getattr(found.law, name) == pytest.approx(getattr(law, name), rel=1e-4), name
    assert abs(found.held_out_error) < 1e-7
    assert found.bits_per_byte(3.0) == pytest.approx(1.0)


def test_one_broken_run_does_not_spoil_it() -> None:
    """Huber's loss: a run that diverged counts by its size, not by its square."""
    points = runs(REFIT)
    points[3] = Point("diverged", points[3].params, points[3].tokens, 2 * points[3].loss)
    assert fit(points).law.loss(1e9, 2e10) == pytest.approx(REFIT.loss(1e9, 2e10), rel=0.01)


def test_noise_shows_in_the_held_out_error() -> None:
    clean, noisy = fit(runs(REFIT)), fit(runs(REFIT, noise=0.01))
    assert abs(clean.held_out_error) < 1e-6 < abs(noisy.held_out_error) < 0.05
    largest = noisy.held_out
    assert (largest.params, largest.tokens) == (SIZES[-1], AMOUNTS[-1])
    assert noisy.predicted == pytest.approx(largest.loss * (1 + noisy.held_out_error))


def test_the_law_says_where_it_holds() -> None:
    formula = fit(runs(REFIT)).law.formula
    assert formula.outside(N=1e7, D=1e8) == ()
    assert len(formula.outside(N=1e9, D=1e10)) == 2


def test_too_few_runs_or_too_much_alike() -> None:
    with pytest.raises(UserError, match="at least 6"):
        fit(runs(REFIT)[:5])
    alike = [Point(str(n), 1e6 * n, 1e8, 3.0 - n / 10) for n in range(1, 9)]
    with pytest.raises(UserError, match="1 different tokens"):
        fit(alike)


def test_tokens_that_were_read_again_count_for_less() -> None:
    """Muennighoff et al., eq. 5: four epochs of 1e7 tokens are worth 1e7 (1 + 15.39 (1 - exp(-3 / 15.39))) = 3.73e7."""
    assert Point("four epochs", 1e6, 4e7, 3.0, unique=1e7).worth == pytest.approx(3.726e7, rel=1e-3)
    assert Point("one epoch", 1e6, 1e7, 3.0, unique=1e7).worth == 1e7


def test_runs_of_different_tokenizers_are_refused() -> None:
    points = [replace(point, tokenizer="ab" * 32) for point in runs(REFIT)]
    assert fit(points).tokenizer == "ab" * 32
    with pytest.raises(
        UserError, match=r"different tokenizers .* \(sha256 abababababab\); 1e\+06 2e\+07 \(sha256 cdcd"
    ):
        fit([*points[1:], replace(points[0], tokenizer="cd" * 32)])


def test_a_fit_that_tells_little_says_so() -> None:
    assert fit(runs(REFIT)).warnings == ()
    few = [point for number, point in enumerate(runs(REFIT)[:9]) if number % 3 != number // 3]
    more = fit([replace(point, held_out=(number, 1000)) for number, point in enumerate(few)]).warnings
    assert more[0] == "6 runs for five constants leave 1 to check them by: 8 to 12 tell more"
    assert "scored on different held-out documents" in more[-1]
    flat = [Point(str(number), n, d, 3.0) for number, (n, d) in enumerate(product(SIZES, AMOUNTS))]
    law = fit(flat).law
    assert all(math.isfinite(value) and value > 0 for value in (*law.optimum(1e21), law.parameters_for(1e10)))


def test_points_from_lines(tmp_path: Path) -> None:
    rows = [{"name": "a", "params": 10, "tokens": 20, "loss": 3.5}, {"params": 11, "tokens": 21, "loss": 3}]
    file = tmp_path / "runs.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    (first, second), left_out = read_points([str(file)])
    assert left_out == ()
    assert (first.name, first.params, first.tokens, first.loss) == ("a", 10, 20, 3.5)
    assert second.name.endswith("runs.jsonl:2")
    file.write_text('{"params": 10, "tokens": -1, "loss": 3}\n')
    with pytest.raises(UserError, match="1: tokens must be a number above 0, got -1"):
        read_points([str(file)])
    file.write_text("nonsense\n")
    with pytest.raises(UserError, match="params must be a number above 0, got None"):
        read_points([str(file)])


def test_weights_are_counted_by_the_header(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(3, 5), "b": torch.zeros(7), "c": torch.zeros(())}, file, metadata={"format": "pt"})
    assert num_weights(file) == 23
