"""Checkpoints and metrics on disk: complete or not there, and never of another run."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.errors import RunFailedError, UserError
from pipeline.pretrain.config import Job
from pipeline.pretrain.ranks import Place
from pipeline.pretrain.training.checkpoint import Checkpoints, latest
from pipeline.pretrain.training.loop import train
from pipeline.pretrain.training.metrics import MetricsFile, read_metrics

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


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what the only checkpoint says of itself."""
    (path,) = folder.glob("step-*/complete.json")
    complete = json.loads(path.read_text())
    change(complete)
    path.write_text(json.dumps(complete))


def test_muon_of_the_old_rule_is_not_gone_on_with(make_job: MakeJob) -> None:
    folder = trained(make_job("old", steps=2, optimizer="muon"))
    trained(make_job("old", steps=2, optimizer="muon"))
    rewrite(folder, lambda complete: complete["config"].pop("optimizer.muon"))
    with pytest.raises(
        UserError, match=r"optimizer\.muon=None, this run has 'apart' \(an older Sluice, whose Muon took q, k and v"
    ):
        trained(make_job("old", steps=2, optimizer="muon"))


@pytest.mark.parametrize("version", [0, 2, None])
def test_another_format_is_refused(make_job: MakeJob, version: int | None) -> None:
    folder = trained(make_job("format", steps=2))
    rewrite(folder, lambda complete: complete.update(format_version=version))
    with pytest.raises(
        UserError, match=f"has format_version {version}, this Sluice reads 1: go on with the Sluice that"
    ):
        trained(make_job("format", steps=2))


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


class Small:
    """A model and its optimizer after one update, and where its checkpoints are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = torch.nn.Linear(40, 40, bias=False)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.model.weight.grad = torch.ones_like(self.model.weight)
        self.optimizer.step()

    def checkpoints(self, **fields: object) -> Checkpoints:
        return Checkpoints(self.folder, **{"config": {"seed": 1}, "keep": 2, **fields})


def test_what_changes_after_the_copy_is_not_written(tmp_path: Path) -> None:
    small = Small(tmp_path)
    before = small.model.weight.detach().clone()
    moments = small.optimizer.state[small.model.weight]["exp_avg"].clone()
    checkpoints = small.checkpoints()
    folder = checkpoints.save(small.model, [small.optimizer], 7, {"left_out": [3], "mean": 0.1})
    small.optimizer.step()
    checkpoints.wait()
    assert folder.is_dir()
    assert not torch.equal(small.model.weight, before)
    fresh = small.checkpoints()
    assert fresh.load_latest(small.model, small.optimizer) == 7
    assert torch.equal(small.model.weight, before)
    assert torch.equal(small.optimizer.state[small.model.weight]["exp_avg"], moments)
    assert fresh.extra == {"left_out": [3], "mean": 0.1}


def test_every_nth_stays_beside_the_newest(tmp_path: Path) -> None:
    small = Small(tmp_path)
    checkpoints = small.checkpoints(keep=1, keep_every=4)
    for step in range(2, 12, 2):
        checkpoints.save(small.model, small.optimizer, step)
    checkpoints.close()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-00000004", "step-00000008", "step-00000010"]


def test_a_full_disk_leaves_the_last_one_and_says_so(tmp_path: Path) -> None:
    """A limit of this process on the size of files stands in for the disk: the same call of the system fails."""
    small = Small(tmp_path)
    checkpoints = small.checkpoints()
    checkpoints.save(small.model, small.optimizer, 1)
    checkpoints.wait()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limit[1]))
    try:
        checkpoints.save(small.model, small.optimizer, 2)  # returns: the words come with the next call
        with pytest.raises(RunFailedError, match=r"step-00000002 could not be written to .*make room"):
            checkpoints.save(small.model, small.optimizer, 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert latest(tmp_path) == tmp_path / "step-00000001"
    checkpoints.save(small.model, small.optimizer, 3)
    checkpoints.wait()
    assert latest(tmp_path) == tmp_path / "step-00000003"


def test_fields_that_an_older_version_did_not_know_had_no_effect(make_job: MakeJob) -> None:
    job = make_job("old", steps=4)
    complete = trained(job) / "step-00000004" / "complete.json"
    record = json.loads(complete.read_text())
    for name in ("optimizer", "z_loss", "shape.experts"):
        del record["config"][name]
    complete.write_text(json.dumps(record))
    trained(job)
    with pytest.raises(UserError, match=r"written with optimizer='adamw', this run has 'muon'"):
        trained(make_job("old", steps=4, optimizer="muon"))
