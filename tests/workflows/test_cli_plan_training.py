"""``sluice plan RUN --training``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import Result

from pipeline.dataset import Run
from pipeline.planning.laws import REFIT
from pipeline.planning.points import read_points
from pipeline.pretrain.work import Pretrain
from tests.workflows.conftest import Call
from workflows.models import find_model

SMALL = ("--training", "--gpus", 1, "--hours", 1, "--sequence-length", 16)


def planned(sluice: Call, run: Path, *more: object) -> dict:
    result = sluice("plan", run, *SMALL, *more, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_the_corpus_is_the_runs_and_the_numbers_agree(finished: tuple[Path, Result], sluice: Call) -> None:
    run, _ = finished
    tokens = sum(json.loads(line)["num_tokens"] for line in sluice("cat", run, "tokens", "--json").stdout.splitlines())
    found = planned(sluice, run, "--price", 3)
    assert found["corpus_tokens"] == round(0.95 * tokens)
    assert found["tokens"] == found["steps"] * found["batch_sequences"] * 16 <= 4 * found["corpus_tokens"]
    assert found["limited_by"] == "corpus"
    speed = 989.4e12 * 0.4 / found["flops_per_token"]
    assert found["tokens_per_s"] == pytest.approx(speed)
    assert found["seconds"] == pytest.approx(found["tokens"] / speed)
    assert found["cost"] == pytest.approx(3 * found["seconds"] / 3600)
    assert any("is below 70M, where it was fitted" in warning for warning in found["warnings"])


def test_the_step_that_is_printed_is_one(finished: tuple[Path, Result], sluice: Call) -> None:
    printed = sluice("plan", finished[0], *SMALL).stdout
    step = yaml.safe_load(printed[printed.index("  model:\n") :])["model"]
    assert step["from"] == "tokens"
    made = Pretrain.model_validate(step["pretrain"])
    assert made.shape is not None
    assert made.sequence_length == 16
    for formula in ("Chinchilla, refitted", "Kaplan", "Step Law", "DeepSeek", "memory of a GPU"):
        assert f"\n{formula}: " in printed
    assert "fitted on N 70M to 16B parameters, D 5B to 500B tokens" in printed


def test_a_law_of_ones_own(finished: tuple[Path, Result], sluice: Call, tmp_path: Path) -> None:
    rows = [
        {"name": f"{n:.0e} {d:.0e}", "params": n, "tokens": d, "loss": REFIT.loss(n, d)}
        for n in (1e6, 5e6, 3e7)
        for d in (2e7, 1e8, 5e8)
    ]
    file = tmp_path / "small.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    fit = planned(sluice, finished[0], "--fit", file)["fit"]
    assert fit["constants"]["alpha"] == pytest.approx(REFIT.alpha, rel=1e-3)
    assert fit["held_out"] == "3e+07 5e+08"
    assert abs(fit["held_out_error"]) < 1e-6


def test_the_points_of_real_runs(trained: Path) -> None:
    """By what the runs wrote, each number counted another way."""
    (large, small), left_out = read_points([str(trained)])
    assert left_out == ()
    assert (large.name, small.name) == (f"{trained}:model", f"{trained}:small_model")
    for point, step, steps in ((large, "model", 20), (small, "small_model", 2)):
        model = find_model(f"{trained}:{step}").load().model
        assert point.params == sum(parameter.numel() for parameter in model.parameters())
        assert point.tokens == steps * 2 * 32
    (tokens,) = Run.open(str(trained))["tokens"].shards()
    assert large.unique == pytest.approx(0.95 * tokens.file(".bin").stat().st_size / 2)
    assert large.tokenizer == small.tokenizer == tokens.facts["tokenizer_sha256"]
    assert large.held_out == small.held_out
    assert large.loss < small.loss


def test_too_few_real_runs(finished: tuple[Path, Result], trained: Path, sluice: Call) -> None:
    said = sluice("plan", finished[0], *SMALL, "--fit", trained)
    assert said.exit_code == 2
    assert "2 runs cannot be fitted: five constants need at least 6" in said.stderr
    none = sluice("plan", finished[0], *SMALL, "--fit", finished[0])
    assert none.exit_code == 2
    assert "has no finished model that a law could be fitted to (it trains none)" in none.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--gpu", "H101"), "no GPU is known by the name 'H101'"),
        (("--step", "clean"), "step 'clean' holds no tokens; there are: tokens"),
        (("--measured", 1000), "--measured needs --preset"),
        (("--preset", "350n"), "no preset '350n', did you mean '350m'?"),
        (("--measured", 1e9, "--preset", "350m"), "per GPU?"),
        (("--sequence-length", 2048), "tokens are less than one batch"),
    ],
    ids=["gpu", "step", "no preset", "misspelt", "too fast", "long"],
)
def test_what_cannot_be_planned(
    finished: tuple[Path, Result], sluice: Call, more: tuple[object, ...], said: str
) -> None:
    result = sluice("plan", finished[0], *SMALL, *more)
    assert result.exit_code == 2
    assert said in result.stderr


def test_without_training_it_is_the_plan_of_a_recipe(sluice: Call, tmp_path: Path) -> None:
    result = sluice("plan", tmp_path / "nothing.yaml")
    assert result.exit_code == 2
    assert "nothing.yaml" in result.stderr


def test_a_loss_above_that_of_guessing_is_no_prediction(finished: tuple[Path, Result], sluice: Call) -> None:
    """26 tokens: the law would give tens of nats, and guessing one of 290 ids costs ln 290 = 5.67."""
    said = sluice("plan", finished[0], *SMALL).stdout
    assert "not foretold: this little training is outside of the law (guessing is 5.7 nats a token)" in said
    assert "Chinchilla, refitted outside of the law, Chinchilla, as printed outside of the law, Kaplan" in said
    assert "critical batch: not known" in said
    data = json.loads(sluice("plan", finished[0], *SMALL, "--json").stdout)
    assert data["loss"] is None
    assert f"learning_rate: {data['learning_rate']:.2e}\n" in said
