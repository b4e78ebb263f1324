"""``start_from`` of ``pretrain`` from a recipe: a model of another run, of a folder, of a step of this run; what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.dataset import Run
from pipeline.errors import UserError
from pipeline.pretrain.training.metrics import read_metrics
from tests.workflows.conftest import Call, copy_model, run_here
from workflows import load
from workflows.models import find_model

FIELDS: dict[str, Any] = {
    "sequence_length": 32, "steps": 2, "workers": 1, "batch_size": 2, "learning_rate": 1e-4,
}  # fmt: skip


MARKS = ["<|endoftext|>", "<|other|>"]


def write(folder: Path, trained: Path, **fields: object) -> Path:
    """A recipe on the same documents and tokenizer, beside which the run lies as ``base``."""
    folder.mkdir(exist_ok=True)
    shutil.copy(trained.parent / "in.jsonl", folder)
    found = find_model(f"{trained}:model")
    assert found.tokenizer is not None
    shutil.copy(found.tokenizer, folder / "tokenizer.json")
    (folder / "base").symlink_to(trained)
    steps = {
        "crawl": {"read": {"format": "jsonl", "paths": ["in.jsonl"], "source": "web"}},
        "bpe": {
            "from": "crawl",
            "train_tokenizer": {"algorithm": "byte_bpe", "vocab_size": 384, "special_tokens": MARKS},
        },
        "tokens": {"from": "crawl", "tokenize": {"tokenizer": {"file": "tokenizer.json"}}},
        "model": {"from": "tokens", "pretrain": {**FIELDS, **fields}},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({"name": "again", "steps": steps}, sort_keys=False))
    return path


def evaluations(run: Run, step: str) -> list[dict[str, Any]]:
    (shard,) = run[step].shards()
    return [line for line in read_metrics(shard.file(".metrics.jsonl")) if "evaluation" in line]


@pytest.fixture(scope="module")
def again(trained: Path, tmp_path_factory: pytest.TempPathFactory, sluice: Call) -> Run:
    """From the model of another run, and from the model that came of it, on windows four times as long."""
    recipe = write(tmp_path_factory.mktemp("again") / "in", trained, start_from="base:model")
    data = yaml.safe_load(recipe.read_text())
    longer = {
        **FIELDS, "start_from": {"step": "model"}, "sequence_length": 128,
        "rope_scaling": {"method": "yarn", "factor": 4, "original_length": 32},
    }  # fmt: skip
    data["steps"]["longer"] = {"from": "tokens", "pretrain": longer}
    recipe.write_text(yaml.safe_dump(data, sort_keys=False))
    run_here(sluice, recipe, recipe.parent / "run")
    return Run.open(str(recipe.parent / "run"))


def test_before_the_first_step_it_is_worth_what_the_model_was_at_its_end(again: Run, trained: Path) -> None:
    *_, last = evaluations(Run.open(str(trained)), "model")
    first, *_ = evaluations(again, "model")
    assert first["step"] == 0
    assert {name: first[name] for name in ("bits_per_byte", "documents", "bytes", "loss")} == {
        name: last[name] for name in ("bits_per_byte", "documents", "bytes", "loss")
    }


def test_what_it_began_with_is_recorded(again: Run, trained: Path, sluice: Call) -> None:
    (base,) = Run.open(str(trained))["model"].shards()
    known = {output.suffix: output.sha256 for output in base.spec.outputs}
    first, second = (again[name].shards()[0] for name in ("model", "longer"))
    assert {one["sha256"] for one in again.nodes["model"]["artifacts"]} == {
        known[".safetensors"],
        known[".config.json"],
    }
    assert [one["step"] for one in again.nodes["longer"]["artifacts"]] == ["model"]
    assert first.facts["start_from"]["model"].endswith("/in/base:model")
    assert first.facts["start_from"]["sha256"] == known[".safetensors"]
    own = next(output.sha256 for output in first.spec.outputs if output.suffix == ".safetensors")
    assert second.facts["start_from"] == {"model": "step model", "sha256": own}
    assert second.facts["bits_per_byte_before"] == evaluations(again, "longer")[0]["bits_per_byte"]
    assert json.loads(second.file(".config.json").read_text())["rope_parameters"]["factor"] == 4.0
    assert sluice("report", again.storage.uri).exit_code == 0
    page = (Path(again.storage.uri) / "report.html").read_text()
    assert f"began with the weights of step model (sha256 {own[:16]})" in page


def dataset_of(sluice: Call, recipe: Path, name: str) -> str:
    told = sluice("plan", recipe)
    assert told.exit_code == 0, told.stderr
    return next(word for line in told.stdout.splitlines() for word in line.split() if word.startswith(f"{name}-"))


def test_another_model_is_another_result_and_another_name_is_not(trained: Path, tmp_path: Path, sluice: Call) -> None:
    (tmp_path / "folder").mkdir()
    folder = copy_model(f"{trained}:model", tmp_path / "folder")
    by_run = dataset_of(sluice, write(tmp_path / "a", trained, start_from="base:model"), "model")
    by_folder = dataset_of(sluice, write(tmp_path / "b", trained, start_from=str(folder)), "model")
    by_link = dataset_of(sluice, write(tmp_path / "c", trained, start_from="../folder"), "model")
    from_other = dataset_of(sluice, write(tmp_path / "d", trained, start_from="base:small_model"), "model")
    assert by_run == by_folder == by_link != from_other


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param(
            {"start_from": "nowhere"},
            r"nowhere is neither a folder with config\.json and.*name a copy; only its hashes",
            id="nothing",
        ),
        pytest.param({"start_from": "base"}, r"trained several models; name one: .*base:model", id="several"),
        pytest.param({"start_from": "base:tokens"}, "trains no model; there are: model, small_model", id="tokens"),
        pytest.param({"start_from": {"step": "bpe"}}, "must be a step that trains a model", id="artifact"),
        pytest.param({"start_from": {}}, "give one of them", id="neither"),
        pytest.param({"learning_rate": None}, "start_from needs learning_rate", id="rate"),
        pytest.param({"preset": "124m"}, "start_from and preset 124m both say what is trained", id="preset"),
        pytest.param({"qk_norm": True}, "has qk_norm false, and this step asks for true: leave qk_norm out", id="norm"),
        pytest.param(
            {"shape": {"layers": 3, "dim": 128, "heads": 4, "kv_heads": 2, "ffn_dim": 384}},
            "has layers 2, and this step asks for 3",
            id="shape",
        ),
        pytest.param(
            {"rope_scaling": {"method": "yarn", "factor": 4, "original_length": 64}},
            "was trained for 32 positions, and rope_scaling has original_length 64: write original_length: 32",
            id="origin",
        ),
        pytest.param(
            {"sequence_length": 100},
            r"has 32 positions, and sequence_length is 100: .* factor: 4, original_length: 32",
            id="positions",
        ),
        pytest.param(
            {"sequence_length": 100, "rope_scaling": {"method": "linear", "factor": 2, "original_length": 32}},
            "has 64 positions, and sequence_length is 100",
            id="factor",
        ),
    ],
)
def test_what_does_not_go_together_is_said_before_anything_runs(
    trained: Path, tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    recipe = write(tmp_path / "in", trained, **{"start_from": "base:model", **fields})
    with pytest.raises(UserError, match=message) as refused:
        load(recipe)
    assert f"{recipe}:" in str(refused.value)


def test_tokens_of_another_tokenizer_are_refused(trained: Path, tmp_path: Path, sluice: Call) -> None:
    recipe = write(tmp_path / "in", trained, start_from="base:model")
    recipe.write_text(recipe.read_text().replace("file: tokenizer.json", "step: bpe"))
    said = run_here(sluice, recipe, tmp_path / "run", exit_code=2)
    assert "base:model goes with a tokenizer with sha256" in said.stderr
    assert "tokenize with the model's, or start from a model of this one" in said.stderr
