"""``start_from: {step: ...}`` is held against the step's own fields when the recipe is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.errors import UserError
from workflows import load

YARN = {"method": "yarn", "factor": 4, "original_length": 32}
LINEAR = {"method": "linear", "factor": 2, "original_length": 32}
TRAIN: dict[str, Any] = {"steps": 2, "workers": 1, "batch_size": 2, "learning_rate": 1e-4, "sequence_length": 32}


def recipe(folder: Path, *trainings: dict[str, Any]) -> Path:
    """Trainings a, b, c, each from the one before."""
    steps: dict[str, Any] = {
        "crawl": {"read": {"format": "jsonl", "paths": ["in.jsonl"], "source": "web"}},
        "bpe": {"from": "crawl", "train_tokenizer": {"algorithm": "byte_bpe", "vocab_size": 384}},
        "tokens": {"from": "crawl", "tokenize": {"tokenizer": {"step": "bpe"}}},
    }
    (folder / "in.jsonl").write_text('{"id": "1", "text": "a text"}\n')
    before = None
    for name, fields in zip("abc", trainings, strict=False):
        start = {"start_from": {"step": before}} if before else {}
        steps[name] = {"from": "tokens", "pretrain": {**TRAIN, **start, **fields}}
        before = name
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({"name": "chain", "steps": steps}, sort_keys=False))
    return path


@pytest.mark.parametrize(
    ("trainings", "step", "said"),
    [
        pytest.param(
            ({}, {"sequence_length": 128}), "b",
            r"step a has 32 positions, and sequence_length is 128: .* factor: 4, original_length: 32", id="positions",
        ),
        pytest.param(
            ({}, {"sequence_length": 128, "rope_scaling": {**YARN, "original_length": 64}}), "b",
            "step a was trained for 32 positions, and rope_scaling has original_length 64", id="origin",
        ),
        pytest.param(({}, {"qk_norm": True}), "b", "step a has qk_norm false, and this step asks for true", id="norm"),
        pytest.param(
            ({}, {"sequence_length": 128, "rope_scaling": YARN}, {"sequence_length": 256}), "c",
            "step b has 128 positions, and sequence_length is 256", id="chain",
        ),
    ],
)  # fmt: skip
def test_what_the_step_will_not_have_is_said_with_the_line(
    tmp_path: Path, trainings: tuple[dict[str, Any], ...], step: str, said: str
) -> None:
    path = recipe(tmp_path, *trainings)
    with pytest.raises(UserError, match=f"1 mistake in the recipe.*\n.*step '{step}': start_from: {said}") as refused:
        load(path)
    line = int(str(refused.value).split("recipe.yaml:")[1].split(":")[0])
    lines = path.read_text().splitlines()
    at = lines.index(f"  {step}:")
    assert "start_from" in lines[line - 1]
    assert at < line - 1 < len(lines)


@pytest.mark.parametrize(
    "trainings",
    [
        pytest.param(({}, {"sequence_length": 16}, {}), id="shorter-between"),
        pytest.param(({}, {"sequence_length": 128, "rope_scaling": YARN}, {"sequence_length": 128}), id="yarn-kept"),
        pytest.param(({"rope_scaling": LINEAR}, {"sequence_length": 64}), id="linear"),
        pytest.param(({"rope_scaling": {**LINEAR, "method": "ntk"}}, {"sequence_length": 64}), id="ntk-is-not-known"),
    ],
)
def test_what_goes_together_is_taken(tmp_path: Path, trainings: tuple[dict[str, Any], ...]) -> None:
    assert len(load(recipe(tmp_path, *trainings)).steps) == 3 + len(trainings)
