"""``sluice around``: the documents of the batches around a step, by the run's name or the training's folder."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.dataset import Run
from pipeline.pretrain.config import Job
from pipeline.pretrain.data.batches import checked_batches
from tests.workflows.conftest import Call


def test_a_run_is_asked_for_the_model_that_is_named(trained: Path, sluice: Call) -> None:
    for named, options, steps in (
        ("small_model", ["--of", "small_model"], [1, 2]),
        ("model", ["--of", "model"], [1, 2, 3]),
    ):
        home = trained / Run.open(str(trained))[named].folder
        _, source = checked_batches(Job.model_validate_json((home / "job.json").read_bytes()), 1)
        expected = [source.documents_of(source.rows(step)) for step in steps]
        for place in (trained, home):
            told = sluice("around", place, "--step", 2, *(options if place == trained else []))
            assert told.exit_code == 0, told.stderr
            lines = [json.loads(line) for line in told.stdout.splitlines()]
            assert [line["step"] for line in lines] == steps
            assert [line["documents"] for line in lines] == expected


def test_what_cannot_be_told_is_refused(trained: Path, tmp_path: Path, sluice: Call) -> None:
    for arguments, words in (
        ((trained,), "trains several models; name one with --of: model, small_model"),
        ((trained, "--of", "tokens"), "step 'tokens' does not train; there are: model, small_model"),
        ((trained, "--of", "modle"), "did you mean 'model'?"),
        ((trained, "--of", "model", "--step", 21), "step 21 is not in"),
        ((tmp_path,), "no run at"),
    ):
        told = sluice("around", *arguments)
        assert told.exit_code == 2
        assert words in told.stderr
