"""Works whose tasks are planned from what their inputs noted: when they are known, and when they stand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.commit import Commit
from pipeline.dataset import Run
from pipeline.errors import RunFailedError, UserError
from pipeline.graph import Graph
from pipeline.ledger import Ledger
from pipeline.planned import plan_key, standing
from pipeline.preview import NodePlan, preview
from pipeline.session import freeze_inputs
from pipeline.storage import Storage
from pipeline.work import TaskPlan
from tests.pipeline.small_groups import grouped
from tests.pipeline.small_runs import INLINE, go, payloads, write_inputs
from tests.pipeline.test_runs import committed_payloads, count_executions
from workflows.commands.status import step_statuses


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Five shards of which 12 rows each stay."""
    write_inputs(tmp_path / "inputs", shards=5)
    return tmp_path / "inputs"


def groups(run: Run) -> list[list[int]]:
    commits = run["groups"].commits
    assert [commits[k].facts["group"] for k in sorted(commits)] == list(range(len(commits)))
    return [commits[k].facts["shards"] for k in sorted(commits)]


def planned(inputs: Path, out: Path, limit: int | None = None) -> dict[str, NodePlan]:
    flow, storage = grouped(inputs), Storage(out)
    plans = preview(flow, Graph(flow.nodes(), freeze_inputs(flow, storage), limit), storage)
    return {plan.name: plan for plan in plans}


def test_tasks_follow_from_what_the_inputs_noted(inputs: Path, tmp_path: Path) -> None:
    assert groups(go(grouped(inputs), tmp_path / "a")) == [[0, 1, 2], [3, 4]]
    assert groups(go(grouped(inputs, min_rows=12), tmp_path / "b")) == [[0], [1], [2], [3], [4]]
    # All 20 rows of a shard stay.
    assert groups(go(grouped(inputs, max_chars=100), tmp_path / "c")) == [[0, 1], [2, 3], [4]]


def test_before_the_inputs_are_complete_neither_plan_nor_status_know_the_tasks(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(inputs, tmp_path / "run")
    assert (plan["long"].num_shards, plan["groups"].num_shards, plan["groups"].dataset) == (5, None, None)
    assert plan["groups"].after == ("long",)
    assert plan["groups"].to_run is None

    with monkeypatch.context() as patched:
        patched.setattr("tests.pipeline.small_groups.Group.run", _refuse)
        with pytest.raises(RunFailedError, match="not today"):
            go(grouped(inputs), tmp_path / "run")
    plan = planned(inputs, tmp_path / "run")
    assert (plan["groups"].num_shards, plan["groups"].num_committed) == (2, 0)
    statuses = {one.step: one for one in step_statuses(Run.open(str(tmp_path / "run")), driven=False, last=None)}
    assert (statuses["groups"].state, statuses["groups"].shards) == ("stopped", 2)
    assert groups(go(grouped(inputs), tmp_path / "run")) == [[0, 1, 2], [3, 4]]


def _refuse(self: object, task: object) -> None:
    del self, task
    msg = "not today"
    raise RunFailedError(msg)


def test_a_step_that_waits_for_its_plan_is_waiting(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.pipeline.small_operators.Length.measure", _refuse)
    with pytest.raises(RunFailedError):
        go(grouped(inputs), tmp_path / "run")
    statuses = {one.step: one for one in step_statuses(Run.open(str(tmp_path / "run")), driven=False, last=None)}
    assert (statuses["groups"].state, statuses["groups"].shards) == ("waiting", None)


def test_the_same_command_again_runs_nothing(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go(grouped(inputs), tmp_path / "run")
    before = payloads(tmp_path / "run")
    ran = count_executions(monkeypatch)
    go(grouped(inputs), tmp_path / "run")
    assert (ran, payloads(tmp_path / "run")) == ([], before)


def test_a_limit_has_a_plan_of_its_own(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited = go(grouped(inputs), tmp_path / "run", replace(INLINE, limit=2))
    assert groups(limited) == [[0, 1]]
    ran = count_executions(monkeypatch)
    whole = go(grouped(inputs), tmp_path / "run")
    assert groups(whole) == [[0, 1, 2], [3, 4]]
    assert {index for name, index in ran if name == "long"} == {2, 3, 4}
    assert limited.nodes["groups"]["dataset"] != whole.nodes["groups"]["dataset"]


def test_a_lost_shard_is_made_anew_alike(inputs: Path, tmp_path: Path) -> None:
    run = go(grouped(inputs), tmp_path / "run")
    before = payloads(tmp_path / "run")
    (tmp_path / "run" / run["groups"].folder / "commits" / "00000001.json").unlink()
    (tmp_path / "run" / run["groups"].folder / "manifest.json").unlink()
    go(grouped(inputs), tmp_path / "run")
    assert payloads(tmp_path / "run") == before


def _forget_a_row(out: Path, run: Run) -> None:
    """As a takedown would: shard 0 of the input holds 11 fewer rows."""
    record = out / run["long"].folder / "commits" / "00000000.json"
    data = json.loads(record.read_bytes())
    data["facts"]["rows"] = 1
    record.write_text(json.dumps(data))


def test_a_complete_dataset_stands_whatever_becomes_of_its_inputs(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = go(grouped(inputs, min_rows=12), tmp_path / "run")
    _forget_a_row(tmp_path / "run", run)
    before = payloads(tmp_path / "run", "groups")
    ran = count_executions(monkeypatch)
    assert len(groups(go(grouped(inputs, min_rows=12), tmp_path / "run"))) == 5
    assert (ran, payloads(tmp_path / "run", "groups")) == ([], before)


def test_an_incomplete_dataset_cut_by_another_plan_is_refused(inputs: Path, tmp_path: Path) -> None:
    run = go(grouped(inputs, min_rows=12), tmp_path / "run")
    _forget_a_row(tmp_path / "run", run)
    (tmp_path / "run" / run["groups"].folder / "commits" / "00000001.json").unlink()
    with pytest.raises(UserError, match=rf"remove the folder {run['groups'].folder} of the run"):
        go(grouped(inputs, min_rows=12), tmp_path / "run")


@pytest.mark.parametrize("nth", [10, 11])
def test_killed_the_run_goes_on_to_the_same_bytes(inputs: Path, tmp_path: Path, nth: int) -> None:
    """Ten commits are of crawl and long; the plan stands between the tenth and the eleventh."""
    go(grouped(inputs), tmp_path / "whole")
    code = KILLED.format(nth=nth, inputs=str(inputs), out=str(tmp_path / "run"))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.run([sys.executable, "-c", code], env=env, check=False)
    assert killed.returncode == -9
    go(grouped(inputs), tmp_path / "run")
    assert committed_payloads(tmp_path / "run") == committed_payloads(tmp_path / "whole")


KILLED = """
import os, signal
from pathlib import Path
from pipeline.storage import Storage
from tests.pipeline.small_groups import grouped
from tests.pipeline.small_runs import go
create = Storage.create_if_absent
commits = 0
def dying(self, name, data):
    global commits
    commits += "/commits/" in name
    if commits == {nth}:
        os.kill(os.getpid(), signal.SIGKILL)
    return create(self, name, data)
Storage.create_if_absent = dying
go(grouped(Path("{inputs}")), Path("{out}"))
"""


def test_what_stands() -> None:
    plans = [TaskPlan(0, {}, {"start": 0}), TaskPlan(1, {}, {"start": 5})]
    assert plan_key(1, plans) == ("2/2", "start=5")

    def commit(index: int, count: int) -> Commit:
        return Commit(index, {"plan": [f"{index + 1}/{count}"]}, (), Ledger(), {}, {})

    def own(_: Commit) -> bool:
        return True

    assert standing("x", plans, {}, own) == plans
    assert standing("x", plans, {1: commit(1, 2)}, own) == plans
    whole = {k: commit(k, 3) for k in range(3)}
    assert [plan.index for plan in standing("x", plans, whole, own)] == [0, 1, 2]
    with pytest.raises(UserError, match="shard 2 was cut"):
        standing("x", plans, {2: commit(2, 4)}, own)
    with pytest.raises(UserError, match="shard 0 was cut"):
        standing("x", plans, {0: commit(0, 4)}, lambda _: False)
