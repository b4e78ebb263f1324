"""A model trained on packed sequences, from a recipe: what it read, and who is told of it at a takedown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.dataset import Run
from pipeline.pretrain.data.batches import checked_batches
from pipeline.pretrain.training.metrics import read_metrics
from pipeline.pretrain.work import Pretrain
from pipeline.session import Settings
from tests.workflows.conftest import Call
from tests.workflows.takedown.conftest import MIDDLE, RECIPE, write_inputs, write_list
from workflows import load, run

STEPS = """\
  packed:
    from: tokens
    pack: {sequence_length: 128}
  model:
    from: packed
    pretrain:
      {preset: tiny, sequence_length: 128, steps: 4, workers: 1, batch_size: 2, evaluate_every: 4, document_mask: true}
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = write_inputs(tmp_path_factory.mktemp("packed") / "in")
    (folder / "recipe.yaml").write_text(RECIPE + STEPS, encoding="utf-8")
    return run(
        load(folder / "recipe.yaml"), folder.parent / "run", settings=Settings(backend="inline", progress="none")
    )


def test_it_trains_on_the_rows_of_the_step_it_names(done: Run) -> None:
    assert done.nodes["model"]["inputs"] == {"documents": "tokens", "sequences": "packed"}
    lines = read_metrics(Path(done.storage.uri) / done["model"].folder / "metrics.jsonl")
    losses = [line["loss"] for line in lines if "lr" in line]
    assert len(losses) == 4
    # 300 ids in a softmax over 384 rows: ln 384 = 5.95 before anything is learned.
    assert losses[0] == pytest.approx(np.log(384), abs=0.15)
    assert losses[-1] < losses[0]


def test_a_takedown_tells_the_steps_whose_rows_held_it(done: Run, tmp_path: Path, sluice: Call) -> None:
    told = sluice("takedown", done.storage.uri, "--urls", write_list(tmp_path, MIDDLE), "--dry-run", "--json")
    (model,) = json.loads(told.stdout)["models"]
    work = Pretrain.model_validate({**done.facts["recipe"]["model"]["Pretrain"], "seed": done.facts["seed"]})
    home = Path(done.storage.uri)
    job = work.job(done["tokens"].shards(), home, sequences=done["packed"].shards()).model_copy(
        update={"home": str(home)}
    )
    _, source = checked_batches(job, 1)
    touched = {step: source.documents_of(source.rows(step)) for step in range(1, 5)}
    assert model["unknown"] is None
    assert model["trained_to"] == 4
    for identity, steps in model["steps"].items():
        assert steps == [step for step, ids in touched.items() if identity in ids]
    assert model["steps"]
