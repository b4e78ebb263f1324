"""The driver's log, who holds a run, and what a run would do."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import orjson
import pytest

from pipeline.errors import RunFailedError, StoppedError, UserError
from pipeline.eventlog import LOG_FILE, EventLog, events, logged
from pipeline.graph import Graph
from pipeline.holder import holder
from pipeline.lease import Lease
from pipeline.preview import preview
from pipeline.session import Settings, freeze_inputs, run
from pipeline.storage import Storage
from tests.pipeline.report.conftest import run_tiny, workflow, write_inputs


@pytest.fixture(params=["folder", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(tmp_path / "run" if request.param == "folder" else f"memory://{tmp_path.name}", tmp_path / "cache")


def test_a_log_goes_on_over_commands(storage: Storage) -> None:
    with logged(storage, {"limit": 1}) as log:
        log.write("committed", step="a", shard=0)
    found, position = events(storage)
    with pytest.raises(StoppedError), logged(storage, {}) as log:
        raise StoppedError("enough")
    later, _ = events(storage, start=position)
    assert [event["event"] for event in found] == ["started", "committed", "ended"]
    assert (found[0]["settings"], found[0]["pid"], found[2]["outcome"]) == ({"limit": 1}, os.getpid(), "done")
    assert [(event["event"], event.get("outcome")) for event in later] == [("started", None), ("ended", "stopped")]


@pytest.mark.parametrize(
    ("error", "outcome"), [(RunFailedError("x"), "failed"), (UserError("x"), "refused"), (KeyError("x"), "failed")]
)
def test_a_log_says_how_a_command_ended(tmp_path: Path, error: Exception, outcome: str) -> None:
    storage = Storage(tmp_path)
    with pytest.raises(type(error)), logged(storage, {}):
        raise error
    last = events(storage)[0][-1]
    assert (last["outcome"], last["error"]) == (outcome, f"{type(error).__name__}: {error}")


def test_half_a_line_waits(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    log = EventLog(storage)
    log.write("one")
    log.close()
    with (tmp_path / LOG_FILE).open("ab") as file:
        file.write(b'{"event":"tw')
    found, position = events(storage)
    assert [event["event"] for event in found] == ["one"]
    with (tmp_path / LOG_FILE).open("ab") as file:
        file.write(b'o"}\n')
    assert [event["event"] for event in events(storage, start=position)[0]] == ["two"]


def test_a_disk_that_is_full_does_not_end_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    (tmp_path / "logs").mkdir()
    (tmp_path / LOG_FILE).symlink_to("/dev/full")
    with pytest.raises(RunFailedError, match="the real error"), logged(Storage(tmp_path), {}):
        raise RunFailedError("the real error")
    assert capsys.readouterr().err.count("cannot be written") == 1


def test_the_holder_of_a_run_is_seen_and_never_disturbed(storage: Storage) -> None:
    assert holder(storage) is None
    with Lease(storage):
        found = holder(storage)
        assert found is not None
        assert found["pid"] == os.getpid()
        with pytest.raises(UserError, match="another driver"), Lease(storage):
            pass
    assert holder(storage) is None


def test_looking_never_keeps_a_driver_out(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    with Lease(storage):
        pass
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            holder(storage)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            with Lease(storage):
                pass
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_preview_equals_the_run_and_writes_nothing(tmp_path: Path) -> None:
    write_inputs(tmp_path / "in")
    flow, storage = workflow(tmp_path / "in"), Storage(tmp_path / "out")
    graph = Graph(flow.nodes(), freeze_inputs(flow, storage))
    before = preview(flow, graph, storage)
    assert not (tmp_path / "out").exists()
    assert [(plan.name, plan.verb, plan.num_shards, plan.num_committed, plan.to_run) for plan in before] == [
        ("crawl", "read", 2, 0, 2),
        ("pages", "apply", 2, 0, 2),
        ("clean", "apply", 2, 0, 2),
        ("unique", "first_of_each_text", 2, 0, 2),
        ("tokens", "words", 2, 0, 2),
    ]
    size = sum(path.stat().st_size for path in (tmp_path / "in").iterdir())
    assert [plan.input_bytes for plan in before] == [size, size, None, None, None]
    done = run_tiny(tmp_path)
    assert [plan.dataset for plan in before] == [done.facts["datasets"][plan.name] for plan in before]
    graph = Graph(flow.nodes(), freeze_inputs(flow, storage))
    after = preview(flow, graph, storage)
    assert [plan.to_run for plan in after] == [0] * 5
    # A selection is read through its bitmap, from the documents under it.
    clean = sum(
        path.stat().st_size for path in (tmp_path / "out" / done.facts["datasets"]["clean"] / "shards").iterdir()
    )
    assert after[-1].input_bytes == clean


def test_a_preview_of_part_of_a_source(tmp_path: Path) -> None:
    write_inputs(tmp_path / "in")
    flow, storage = workflow(tmp_path / "in", 3), Storage(tmp_path / "out")
    run(flow, storage.uri, Settings(backend="inline", progress="none", limit=1))
    plans = preview(flow, Graph(flow.nodes(), freeze_inputs(flow, storage)), storage)
    assert [(plan.num_shards, plan.num_committed) for plan in plans] == [(2, 1)] * 3


def test_a_run_leaves_its_log(tmp_path: Path) -> None:
    run_tiny(tmp_path, 3)
    lines = [orjson.loads(line) for line in (tmp_path / "out" / LOG_FILE).read_bytes().splitlines()]
    committed = [
        (line["step"], line["shard"], line["docs"], line["kept"]) for line in lines if line["event"] == "committed"
    ]
    assert sorted(committed) == [
        ("clean", 0, 2, 2),
        ("clean", 1, 3, 3),
        ("crawl", 0, 4, 4),
        ("crawl", 1, 4, 4),
        ("pages", 0, 4, 2),
        ("pages", 1, 4, 3),
    ]
    assert (lines[0]["event"], lines[-1]["event"], lines[-1]["outcome"]) == ("started", "ended", "done")
