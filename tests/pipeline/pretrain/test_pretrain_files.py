"""Checkpoints and metrics on disk: complete or not there, and never of another run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.pretrain.checkpoint import latest
from pipeline.pretrain.config import Job
from pipeline.pretrain.loop import train
from pipeline.pretrain.metrics import MetricsFile, read_metrics
from pipeline.pretrain.ranks import Place

MakeJob = Callable[..., Job]


def trained(job: Job) -> Path:
    train(job, Place())
    return Path(job.home) / "checkpoints"


def test_the_last_ones_are_kept(make_job: MakeJob) -> None:
    folder = trained(make_job("kept", steps=11, checkpoint_every=2, keep_checkpoints=3))
    assert [path.name for path in sorted(folder.iterdir())] == ["step-00000008", "step-00000010", "step-00000011"]
    complete = json.loads((folder / "step-00000011" / "complete.json").read_text())
    assert complete["step"] == 11
    sizes = {path.name: path.stat().st_size for path in (folder / "step-00000011").iterdir()}
    del sizes["complete.json"]
    assert complete["files"] == sizes
    assert len(sizes) >= 2


@pytest.mark.parametrize("damage", ["cut", "unfinished"])
def test_a_damaged_one_does_not_count(make_job: MakeJob, damage: str) -> None:
    job = make_job("damaged", steps=6, checkpoint_every=3)
    folder = trained(job)
    newest = folder / "step-00000006"
    if damage == "cut":
        payload = max(newest.iterdir(), key=lambda path: path.stat().st_size)
        payload.write_bytes(payload.read_bytes()[:-1])
    else:
        (newest / "complete.json").unlink()
    (folder / ".step-00000009-dead").mkdir()
    assert latest(folder) == folder / "step-00000003"
    curve = [line["loss"] for line in read_metrics(Path(job.home) / "metrics.jsonl")]
    trained(job)
    assert latest(folder) == newest
    assert [line["loss"] for line in read_metrics(Path(job.home) / "metrics.jsonl")] == curve
    assert not list(folder.glob(".step-*"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"learning_rate": 2e-2}, r"learning_rate=0\.01, this run has 0\.02"),
        ({"seed": 4}, "seed=0, this run has 4|corpus|training_tokens"),
        ({"sequence_length": 8}, "sequence_length=16, this run has 8"),
    ],
)
def test_another_configuration_is_refused_by_the_name_of_its_field(
    make_job: MakeJob, change: dict[str, object], named: str
) -> None:
    trained(make_job("same", steps=2))
    with pytest.raises(UserError, match=named):
        trained(make_job("same", steps=2, **change))


def test_what_is_only_how_it_runs_may_change(make_job: MakeJob) -> None:
    trained(make_job("same", steps=2))
    trained(make_job("same", steps=2, checkpoint_every=1, keep_checkpoints=5, micro_batch_tokens=64))


def test_the_curve_is_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [{"step": 1}, {"step": 2}, {"evaluation": "held_out", "step": 2}, {"step": 3}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 4, "lo')
    with MetricsFile(path, step=2) as metrics:
        assert read_metrics(path) == lines[:3]
        metrics.write({"step": 3, "loss": 1.0})
        assert read_metrics(path) == [*lines[:3], {"step": 3, "loss": 1.0}]
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_curve_that_was_lost_is_not_continued(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(UserError, match="holds 1 of the 3 steps"):
        MetricsFile(tmp_path / "metrics.jsonl", step=3)
