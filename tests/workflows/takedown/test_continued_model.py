"""What a base learned is told of the models that began with its weights: in this run, and of those of another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.dataset import Run
from tests.workflows.conftest import Call
from tests.workflows.takedown.conftest import MIDDLE, RECIPE, made, write_inputs, write_list

FIELDS = "sequence_length: 64, steps: {steps}, batch_size: 8, checkpoint_every: 1, held_out_fraction: 0.1, evaluate_every: 20, workers: 1"
BASE = f"""\
  base:
    from: tokens
    pretrain: {{shape: {{layers: 1, dim: 32, heads: 2, kv_heads: 1, ffn_dim: 32}}, {FIELDS.format(steps=30)}}}
"""
OTHER = """\
  more:
    read: {format: jsonl, paths: ["more.jsonl"], source: web}
  others:
    from: more
    tokenize: {tokenizer: {file: tokenizer.json}}
"""
GO_ON = "    pretrain: {{start_from: {start}, learning_rate: 0.001, " + FIELDS.format(steps=2) + "}}\n"
NEXT = f"  next:\n    from: others\n{GO_ON.format(start='{step: base}')}"
LAST = f"  last:\n    from: others\n{GO_ON.format(start='{step: next}')}"
ABROAD = f"  abroad:\n    from: others\n{GO_ON.format(start='run:base')}"
NAMES = {"base", "next", "last"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, sluice: Call) -> Path:
    """Run 1: ``base`` on the pages, ``next`` and ``last`` on others, one after the other; run 2 goes on from run 1's base."""
    folder = write_inputs(tmp_path_factory.mktemp("continued"))
    pages = [{"url": f"http://more.example/{k}", "text": f"other words {k} " * 60} for k in range(30)]
    (folder / "more.jsonl").write_text("".join(json.dumps(page) + "\n" for page in pages))
    made(sluice, folder, folder / "run", recipe=RECIPE + BASE + OTHER + NEXT + LAST)
    made(sluice, folder, folder / "second", recipe="name: second\nsteps:\n" + OTHER + ABROAD)
    return folder


def test_models_that_went_on_elsewhere_have_what_their_base_learned(folder: Path, tmp_path: Path, sluice: Call) -> None:
    asked = write_list(tmp_path, MIDDLE)
    told = sluice("takedown", folder / "run", "--urls", asked, "--dry-run", "--json")
    assert told.exit_code == 0, told.stderr
    found = json.loads(told.stdout)
    models = {one["step"]: one for one in found["models"]}
    assert set(models) == NAMES
    (steps,) = models["base"]["steps"].values()
    assert steps
    assert {name: one["learned_before"] for name, one in models.items()} == {
        "base": [], "next": ["base"], "last": ["base"],
    }  # fmt: skip
    for name in ("next", "last"):
        home = folder / "run" / Run.open(str(folder / "run"))[name].folder
        kept = {f"{home.name}/checkpoints/{path.name}" for path in (home / "checkpoints").glob("step-*")}
        assert kept
        assert set(models[name]["checkpoints"]) == kept
    assert {"next", "last"} <= set(found["learned_from_them"])
    words = sluice("takedown", folder / "run", "--urls", asked, "--dry-run").stdout
    line = f"it began with the weights of step base, which learned from them at steps {', '.join(map(str, steps[:10]))}"
    assert words.count(line) == 2
    assert "if that model saw them" not in words


def test_a_run_that_began_with_a_model_of_another_says_that_it_did(folder: Path, tmp_path: Path, sluice: Call) -> None:
    told = sluice("takedown", folder / "second", "--urls", write_list(tmp_path, MIDDLE), "--dry-run")
    assert told.exit_code == 2
    refused = " ".join(told.stderr.split())
    assert "nothing in" in refused
    assert f"step abroad began with the weights of {folder / 'run'}:base, which was not searched" in refused


def test_why_names_the_models_that_trained_on_the_tokens(folder: Path, sluice: Call) -> None:
    words = sluice("why", folder / "run", MIDDLE).stdout
    assert "model base trained on these tokens to step 30; `sluice takedown --dry-run` says at which steps" in words
    assert words.count("began with the weights of base") == 2
    tokenized = json.loads(sluice("why", folder / "run", MIDDLE, "--json").stdout)["steps"][-1]
    assert {one["step"]: (one["trained_to"], one["base"]) for one in tokenized["facts"]["models"]} == {
        "base": (30, None), "next": (2, "base"), "last": (2, "base"),
    }  # fmt: skip
    other = sluice("why", folder / "run", "http://more.example/3").stdout
    assert "model next trained on these tokens to step 2" in other
    assert "model base" not in other
