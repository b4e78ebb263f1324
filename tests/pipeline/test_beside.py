"""Trainings that begin before their input is complete: overlap, order, failures on either side, stops, kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import orjson
import pytest

from pipeline.beside import check_streams, kept_free
from pipeline.dataset import Run
from pipeline.errors import RunFailedError, StoppedError, UserError
from pipeline.graph import Graph
from pipeline.pretrain.stopping import STOP_FILE
from pipeline.preview import preview
from pipeline.session import freeze_inputs
from pipeline.storage import Storage
from pipeline.value import Artifact
from pipeline.workflow import Step, Workflow
from tests.pipeline.small_runs import go, payloads
from tests.pipeline.small_trainings import learning, wait_for_file, write_texts


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Five shards of which the third, the first after the window, waits until the window was learned."""
    write_texts(tmp_path / "inputs", ["a", "b", "late", "d", "e"])
    return tmp_path / "inputs"


def seen(out: Path) -> list[list]:
    (path,) = out.glob("model-*/seen.jsonl")
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_it_learns_while_the_rest_is_made(inputs: Path, tmp_path: Path) -> None:
    # Were the training not to begin before shard 2 is made, shard 2 would wait in vain and fail.
    done = go(learning(inputs, tmp_path / "sign"), tmp_path / "run")
    shards = [commit.outputs for _, commit in sorted(done["docs"].commits.items())]
    assert [(number, names) for number, names, _ in seen(tmp_path / "run")] == [
        (k, [Path(output.name).name for output in outputs if output.folder == "shards"])
        for k, outputs in enumerate(shards)
    ]
    assert all(facts == {"rows": 3} for _, _, facts in seen(tmp_path / "run"))
    assert done["model"].complete
    before = payloads(tmp_path / "run")
    go(learning(inputs, tmp_path / "sign"), tmp_path / "run")
    assert payloads(tmp_path / "run") == before


def test_shards_committed_before_are_told_of_at_once(inputs: Path, tmp_path: Path) -> None:
    flow = learning(inputs, tmp_path / "sign")
    (tmp_path / "sign").touch()
    go(flow.model_copy(update={"steps": flow.steps[:2]}), tmp_path / "run")
    (tmp_path / "sign").unlink()
    done = go(flow, tmp_path / "run")
    (tmp_path / "sign").unlink()
    other = go(flow, tmp_path / "other")
    assert done["model"].commits[0].outputs[0].sha256 == other["model"].commits[0].outputs[0].sha256
    assert done["model"].folder == other["model"].folder


def test_a_window_larger_than_the_plan_waits_for_all(tmp_path: Path) -> None:
    write_texts(tmp_path / "inputs", ["a", "b"])
    with pytest.raises(RunFailedError, match="model failed: AssertionError"):
        go(learning(tmp_path / "inputs", tmp_path / "sign", window=9), tmp_path / "run")  # the stub wants nine shards


def test_a_failing_shard_ends_the_training_in_words(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipeline.session import Settings

    write_texts(inputs, ["a", "b", "late", "d", "wrong"])
    with pytest.raises(RunFailedError, match="docs shard 4 failed 3 times, last: MemoryError"):
        go(learning(inputs, tmp_path / "sign"), tmp_path / "run", Settings(backend="inline"))
    assert "model: ended; it goes on from its last checkpoint" in capsys.readouterr().err
    assert not list((tmp_path / "run").glob("model-*/commits/*"))
    assert [number for number, _, _ in seen(tmp_path / "run")][:2] == [0, 1]
    assert not [thread for thread in threading.enumerate() if thread.name == "model"], "it does not wait for ever"


def test_a_failing_training_ends_the_run_in_words(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "sign").touch()
    with pytest.raises(UserError, match="learning has failed"):
        go(learning(inputs, tmp_path / "sign", fails=True), tmp_path / "run")
    done = go(learning(inputs, tmp_path / "sign"), tmp_path / "run")
    assert done["model"].complete


def test_stopped_while_it_waits_it_goes_on(inputs: Path, tmp_path: Path) -> None:
    """The third shard asks for the stop, so the driver hears of it while the training waits for that shard."""
    write_texts(inputs, ["a", "b", "late", "d", "e"])
    sign, out = tmp_path / "sign", tmp_path / "run"

    def ask() -> None:
        wait_for_file(sign)
        Storage(out).write_bytes("stop", b"")
        time.sleep(1.2)  # the driver looks once a second
        (tmp_path / "go").touch()

    thread = threading.Thread(target=ask)
    thread.start()
    flow = learning(inputs, sign)
    late = flow["docs"].verb.operators[0].model_copy(update={"sign": str(tmp_path / "go")})
    steps = [
        flow.steps[0],
        flow.steps[1].model_copy(update={"verb": flow["docs"].verb.model_copy(update={"operators": (late,)})}),
    ]
    flow = flow.model_copy(update={"steps": (*steps, flow.steps[2])})
    with pytest.raises(StoppedError, match="stopped while training"):
        go(flow, out)
    thread.join()
    assert not list(out.glob("model-*/commits/*"))
    (home,) = out.glob("model-*")
    assert not (home / STOP_FILE).exists()
    (home / STOP_FILE).touch()  # as of a driver that was killed while it stopped
    done = go(flow, out)
    assert not (home / STOP_FILE).exists()
    assert [number for number, _, _ in seen(out)][-5:] == [0, 1, 2, 3, 4]
    assert done["model"].complete


def test_killed_beside_it_goes_on_and_learns_the_same(inputs: Path, tmp_path: Path) -> None:
    never = tmp_path / "never"
    flow = learning(inputs, tmp_path / "sign")
    code = f"""
from pathlib import Path
from tests.pipeline.small_runs import go
from tests.pipeline.small_trainings import Late, learning
import tests.pipeline.small_trainings as module
real = module.wait_for_file
module.wait_for_file = lambda path: real(Path({str(never)!r}))
go(learning(Path({str(inputs)!r}), Path({str(tmp_path / "sign")!r})), Path({str(tmp_path / "run")!r}))
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    driver = subprocess.Popen([sys.executable, "-c", code], env=env)
    try:
        wait_for_file(tmp_path / "sign")  # the first window is learned, the third shard never comes
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    (tmp_path / "sign").unlink()
    first = seen(tmp_path / "run")
    assert [number for number, _, _ in first] == [0, 1]
    done = go(flow, tmp_path / "run")
    assert seen(tmp_path / "run")[:4] == first * 2
    assert [number for number, _, _ in seen(tmp_path / "run")] == [0, 1, 0, 1, 2, 3, 4]
    assert done["model"].complete


def test_two_of_one_input_take_turns(inputs: Path, tmp_path: Path) -> None:
    flow = learning(inputs, tmp_path / "sign")
    other = flow["model"].model_copy(
        update={"name": "other", "verb": flow["model"].verb.model_copy(update={"seed": 2})}
    )
    done = go(flow.model_copy(update={"steps": (*flow.steps, other)}), tmp_path / "run")
    assert done["model"].commits[0].outputs[0].sha256 == done["other"].commits[0].outputs[0].sha256
    assert done["model"].folder.partition("-")[2] != done["other"].folder.partition("-")[2]


def test_a_shard_that_was_cut_off_since_is_made_anew(inputs: Path, tmp_path: Path) -> None:
    flow = learning(inputs, tmp_path / "sign")
    (tmp_path / "sign").touch()
    go(flow.model_copy(update={"steps": flow.steps[:2]}), tmp_path / "run")
    (victim,) = (tmp_path / "run").glob("docs-*/shards/00000003-*.parquet")
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-7])
    assert go(flow, tmp_path / "run")["model"].complete
    assert victim.read_bytes() == whole


@pytest.mark.slow
@pytest.mark.ray
def test_the_pool_of_ray_workers_leaves_cores_alone(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from pipeline.backends.ray import RayBackend  # imports ray

    backend = RayBackend(Storage(tmp_path / "run"), workers=3)
    try:
        cpus = max(3, os.cpu_count() or 1)
        assert backend.free_slots() == 3
        backend.reserve(cpus - 1, 0)
        assert backend.free_slots() == 1
        with pytest.raises(UserError, match=rf"takes {cpus} \+ 1, the cluster has {cpus} free CPUs: lower `workers`"):
            backend.reserve(cpus, 0)
        with pytest.raises(UserError, match=r"takes 1000, the cluster has \d+ GPUs"):
            backend.reserve(1, 1000)
        backend.reserve(0, 0)
        assert backend.free_slots() == 3
    finally:
        backend.close()


def graph_of(flow: Workflow, out: Path) -> Graph:
    storage = Storage(out)
    graph = Graph(flow.nodes(), freeze_inputs(flow, storage))
    preview(flow, graph, storage)
    return graph


def test_what_the_pool_leaves_alone(inputs: Path, tmp_path: Path) -> None:
    flow = learning(inputs, tmp_path / "sign")
    assert kept_free(graph_of(flow, tmp_path / "run")) == (1, 0)
    go(flow, tmp_path / "run")
    assert kept_free(graph_of(flow, tmp_path / "run")) == (0, 0)


def test_a_file_that_is_made_of_the_same_documents_is_refused(inputs: Path, tmp_path: Path) -> None:
    from tests.pipeline.small_files import MakeFile, UseFile

    def flow(of: str) -> Workflow:
        crawl, docs, model = learning(inputs, tmp_path / "sign").steps
        other = crawl.model_copy(update={"name": "other"})
        made = Step(name="words", source=of, verb=MakeFile())
        used = Step(name="docs", source="crawl", verb=UseFile(file=Artifact(step="words")))
        del docs
        return Workflow(name="made", base_dir=str(inputs), steps=(crawl, other, made, used, model))

    message = r"'model' streams from 'docs', which waits for 'words'.*all of the same documents first.*\{file: \.\.\.\}"
    with pytest.raises(UserError, match=message):
        go(flow("crawl"), tmp_path / "run")
    with pytest.raises(UserError, match=message):
        graph_of(flow("crawl"), tmp_path / "plan")
    # A file made of other documents is only waited for.
    assert go(flow("other"), tmp_path / "other")["model"].complete
    # Once it is made, as by the same recipe without the streaming step, there is nothing to wait for.
    whole = flow("crawl")
    go(whole.model_copy(update={"steps": whole.steps[:-1]}), tmp_path / "run")
    check_streams(graph_of(whole, tmp_path / "run"))
    assert Run.open(str(tmp_path / "run"))["words"].complete
    assert go(whole, tmp_path / "run")["model"].complete
