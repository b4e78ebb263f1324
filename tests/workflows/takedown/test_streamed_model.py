"""A takedown tells who saw a document of a training that took its shards as they came."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.dataset import Run
from pipeline.pretrain.around import around
from pipeline.pretrain.data.arrivals import ARRIVALS
from tests.workflows.conftest import Call
from tests.workflows.takedown.conftest import RECIPE, made, write_inputs, write_list

MODEL = """\
  model:
    from: tokens
    pretrain:
      shape: {layers: 1, dim: 32, heads: 2, kv_heads: 1, ffn_dim: 32}
      sequence_length: 128
      steps: 20
      batch_size: 8
      evaluate_every: 20
      workers: 1
      streaming: {window: 1}
"""
AGAIN = """\
  again:
    from: tokens
    pretrain: {start_from: {step: model}, learning_rate: 0.001, sequence_length: 128, steps: 1, batch_size: 1, workers: 1}
"""
LAST = "http://host3.example/2/10"
"""An ordinary page of the last shard, hence of the third window."""


def test_steps_that_saw_a_page_of_a_late_window(tmp_path: Path, sluice: Call) -> None:
    folder = write_inputs(tmp_path / "in")
    out = made(sluice, folder, tmp_path / "run", recipe=RECIPE + MODEL)
    opened = Run.open(str(out))
    home = out / opened["model"].folder
    asked = write_list(tmp_path, LAST)
    told = sluice("takedown", out, "--urls", asked, "--dry-run", "--json")
    assert told.exit_code == 0, told.stderr
    (model,) = json.loads(told.stdout)["models"]
    assert model["unknown"] is None
    ((identity, steps),) = model["steps"].items()
    seen = {line["step"]: line["documents"] for line in around(home, 10, 10)}
    assert steps == [step for step in range(1, 21) if identity in seen[step]]
    assert steps
    # What the training was given is partly unknown: the model is told of in words, and the command does not wait.
    lines = (home / ARRIVALS).read_text().splitlines(keepends=True)
    (home / ARRIVALS).write_text("".join(lines[:3]))
    told = sluice("takedown", out, "--urls", asked, "--dry-run", "--json")
    assert told.exit_code == 0, told.stderr
    (model,) = json.loads(told.stdout)["models"]
    assert "token shard 2 is not committed" in model["unknown"]
    assert model["steps"] == {}


def test_a_model_that_goes_on_from_one_that_saw_it(tmp_path: Path, sluice: Call) -> None:
    folder = write_inputs(tmp_path / "in")
    out = made(sluice, folder, tmp_path / "run", recipe=RECIPE + MODEL + AGAIN)
    asked = write_list(tmp_path, LAST)
    told = sluice("takedown", out, "--urls", asked, "--dry-run", "--json")
    assert told.exit_code == 0, told.stderr
    models = {one["step"]: one for one in json.loads(told.stdout)["models"]}
    assert {name: one["began_with"] for name, one in models.items()} == {"model": None, "again": "step model"}
    assert models["again"]["unknown"] is None
    in_words = sluice("takedown", out, "--urls", asked, "--dry-run").stdout
    assert "it began with the weights of step model, which learned from them at steps " in in_words
