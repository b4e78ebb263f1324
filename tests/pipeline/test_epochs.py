"""Epochs declared on ``read``: which shards are whose, and what a further epoch leaves alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import ValidationError

from pipeline.errors import UserError
from pipeline.inputs import FrozenInputs, freeze
from pipeline.readers.read import Read
from pipeline.report.page import write_report
from pipeline.work import EpochVerb, Extent, Kind, Node, Result, ShardWork, Task, TaskPlan
from pipeline.workflow import Step, Workflow
from pipeline.works import Apply, ReadWork
from tests.pipeline.small_operators import Length
from tests.pipeline.small_runs import go, write_inputs

TWO = (("old", ("in-1.jsonl", "in-2.jsonl")), ("new", ("in-0.jsonl",)))


class Count(ShardWork):
    """A barrier over one epoch: a single task that notes how many documents it was given."""

    kind: ClassVar[Kind] = "work"
    barrier: ClassVar[bool] = True

    epoch: str | None = None

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        return [TaskPlan(0, {"documents": shards["documents"].shards(self.epoch)})]

    def run(self, task: Task) -> Result:
        rows = sum(docs.num_rows for shard in task.inputs["documents"] for docs in shard.documents())
        return Result(facts={"rows": rows, "shards": [shard.index for shard in task.inputs["documents"]]})


class CountEpochs(EpochVerb):
    """A count per epoch, then one of all."""

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:
        del seed
        inputs = {"documents": source or ""}
        each = [Node(f"{step}.{label}", Count(epoch=label), inputs) for label in self.epochs]
        return (*each, Node(step, Count(), inputs))


def read(epochs: object, **fields: object) -> Read:
    return Read.model_validate({"format": "jsonl", "source": "small", "epochs": epochs, **fields})


def flow(folder: Path, epochs: object = TWO) -> Workflow:
    return Workflow(
        name="epochs",
        base_dir=str(folder),
        steps=(
            Step(name="crawl", verb=ReadWork(read=read(epochs))),
            Step(name="long", source="crawl", verb=Apply(operators=(Length(max_chars=1000),))),
            Step(name="counts", source="long", verb=CountEpochs()),
        ),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_inputs(tmp_path / "in", shards=4, rows=5)
    return tmp_path / "in"


def paths(frozen: FrozenInputs) -> list[tuple[str, list[str]]]:
    return [
        (label, [Path(piece.path).name for piece in shard])
        for label, shard in zip(frozen.epochs, frozen.shards, strict=True)
    ]


def test_a_shard_is_of_one_epoch(folder: Path) -> None:
    frozen = freeze(read(TWO, group_bytes=10**6), folder)
    assert paths(frozen) == [("old", ["in-1.jsonl", "in-2.jsonl"]), ("new", ["in-0.jsonl"])]
    assert frozen.extent() == Extent(2, {"old": (0,), "new": (1,)})
    assert frozen.extent(1) == Extent(1, {"old": (0,), "new": ()})
    assert frozen.extent().shards("new") == (1,)
    assert frozen.extent().shards() == (0, 1)


def test_further_files_and_epochs_make_further_shards(folder: Path) -> None:
    first = freeze(read(TWO), folder)
    later = freeze(read({"old": ["in-1.jsonl", "in-2.jsonl", "in-3.jsonl"], "new": ["in-0.jsonl"]}), folder, first)
    assert later.shards[:3] == first.shards
    assert paths(later)[3:] == [("old", ["in-3.jsonl"])]
    assert later.extent().epochs == {"old": (0, 1, 3), "new": (2,)}


def test_a_file_stays_in_its_epoch(folder: Path) -> None:
    first = freeze(read(TWO), folder)
    with pytest.raises(UserError, match=r"in-0\.jsonl was read in epoch 'new' and is now in 'old'"):
        freeze(read({"old": ["in-*.jsonl"]}), folder, first)
    with pytest.raises(UserError, match=r"in-2\.jsonl is in the epochs 'a' and 'b'"):
        freeze(read({"a": ["in-2.jsonl"], "b": ["in-*.jsonl"]}), folder)


@pytest.mark.parametrize(
    ("epochs", "more", "said"),
    [
        ({}, {}, "needs paths, paths_from or epochs"),
        ({"a": ["x"]}, {"paths": ["y"]}, "both epochs and paths"),
        ({"a/b": ["x"]}, {}, "epoch 'a/b'"),
        ({"a": []}, {}, "epoch 'a'"),
        ([("a", ["x"]), ("a", ["y"])], {}, "given twice"),
    ],
)
def test_what_is_no_epoch(epochs: object, more: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        read(epochs, **more)


def facts(folder: Path, out: Path, epochs: object) -> dict[str, tuple[str, object]]:
    """Of each node of the counts: its dataset, and what it noted."""
    run = go(flow(folder, epochs), out)
    return {
        name: (run.nodes[name]["dataset"], run[name].commits[0].facts)
        for name in run.nodes
        if name.startswith("counts")
    }


def test_a_barrier_of_an_epoch_sees_its_shards_and_no_later_epoch_changes_it(folder: Path, tmp_path: Path) -> None:
    first = facts(folder, tmp_path / "out", TWO)
    assert first["counts.old"][1] == {"rows": 10, "shards": [0, 1]}
    assert first["counts.new"][1] == {"rows": 5, "shards": [2]}
    assert first["counts"][1] == {"rows": 15, "shards": [0, 1, 2]}

    later = facts(folder, tmp_path / "out", (*TWO, ("newest", ("in-3.jsonl",))))
    assert {name: later[name] for name in ("counts.old", "counts.new")} == {
        name: first[name] for name in ("counts.old", "counts.new")
    }
    assert later["counts.newest"][1] == {"rows": 5, "shards": [3]}
    assert later["counts"][1] == {"rows": 20, "shards": [0, 1, 2, 3]}
    assert later["counts"][0] != first["counts"][0]


def test_more_files_in_an_epoch_change_its_barrier_alone(folder: Path, tmp_path: Path) -> None:
    first = facts(folder, tmp_path / "a", TWO)
    other = facts(folder, tmp_path / "b", (TWO[0], ("new", ("in-0.jsonl", "in-3.jsonl"))))
    assert other["counts.old"] == first["counts.old"]
    assert other["counts.new"][0] != first["counts.new"][0]
    assert other["counts.new"][1] == {"rows": 10, "shards": [2, 3]}


def test_the_report_names_the_files_of_each_epoch(folder: Path, tmp_path: Path) -> None:
    run = go(flow(folder), tmp_path / "out")
    write_report(run)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "old: in-1.jsonl in-2.jsonl, new: in-0.jsonl" in page
