"""Whole runs, inline: resume, added and changed inputs, limits, expectations, leases, full disks."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline import commit as commit_module
from pipeline.dataset import Run
from pipeline.errors import RunFailedError, StoppedError, UserError
from pipeline.lease import Lease
from pipeline.ledger import Count, Ledger
from pipeline.operator import Map
from pipeline.storage import Storage
from pipeline.workflow import Expect
from tests.pipeline.small_operators import HideDigits
from tests.pipeline.small_runs import INLINE, go, payloads, texts, workflow, write_inputs


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    write_inputs(tmp_path / "inputs")
    return tmp_path / "inputs"


def test_a_run_accounts_for_every_document(inputs: Path, tmp_path: Path) -> None:
    done = go(workflow(inputs), tmp_path / "run")
    assert done["crawl"].ledger.into == Count(60, sum(len("text 0 " + "ae " * row) for row in range(20)) * 3)
    long = done["long"].ledger
    # "text 0 " and then 3 characters a row: rows up to 11 have at most 40.
    assert (long.kept.docs, long.dropped["length:long"].docs) == (36, 24)
    for shard in done["long"].commits.values():
        shard.ledger.check("shard")
        assert shard.ledger.into.docs == 20
    assert all(text == text.upper() for text in texts(done, "upper"))
    assert len(texts(done, "upper")) == 36
    assert len(texts(done, "crawl")) == 60


def test_the_same_command_again_runs_nothing(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go(workflow(inputs), tmp_path / "run")
    before = payloads(tmp_path / "run")
    ran = count_executions(monkeypatch)
    go(workflow(inputs), tmp_path / "run")
    assert (ran, payloads(tmp_path / "run")) == ([], before)


def test_an_added_file_runs_only_its_shard(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go(workflow(inputs), tmp_path / "run")
    (inputs / "in-0-added.jsonl").write_text('{"text": "an added text"}\n', encoding="utf-8")
    ran = count_executions(monkeypatch)
    done = go(workflow(inputs), tmp_path / "run")
    assert ran == [("crawl", 3), ("long", 3), ("upper", 3)]
    assert "AN ADDED TEXT" in texts(done, "upper")


def test_a_changed_parameter_runs_only_what_hangs_on_it(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(workflow(inputs), tmp_path / "run")
    ran = count_executions(monkeypatch)
    go(workflow(inputs, max_chars=30), tmp_path / "run")
    assert {name for name, _ in ran} == {"long", "upper"}
    # A scrubber also runs over what the steps before it reject, so those are others too.
    go(workflow(inputs, last=(HideDigits(),)), tmp_path / "run")
    assert {name for name, _ in ran} == {"crawl", "long", "upper"}


def test_an_input_that_changes_while_it_is_read_is_refused(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import worker

    real = worker.read_shard

    def meddled(read, pieces, suppression):
        for batch in real(read, pieces, suppression):
            with Path(pieces[0].path).open("a", encoding="utf-8") as file:
                file.write('{"text": "one more"}\n')
            yield batch

    monkeypatch.setattr(worker, "read_shard", meddled)
    with pytest.raises(UserError, match=r"in-0\.jsonl changed since this run began"):
        go(workflow(inputs), tmp_path / "run")
    assert not list((tmp_path / "run").glob("*-*/commits/*"))


def test_another_recipe_in_between_does_not_hide_a_changed_input(inputs: Path, tmp_path: Path) -> None:
    write_inputs(tmp_path / "others", shards=1)
    go(workflow(inputs), tmp_path / "run")
    other = workflow(inputs)
    read = other["crawl"].verb.read.model_copy(update={"paths": ("../others/*.jsonl",)})
    steps = (
        other["crawl"].model_copy(update={"verb": other["crawl"].verb.model_copy(update={"read": read})}),
        *other.steps[1:],
    )
    go(other.model_copy(update={"steps": steps}), tmp_path / "run")
    (inputs / "in-1.jsonl").write_text('{"text": "something else"}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"made from other content than .*in-1\.jsonl"):
        go(workflow(inputs), tmp_path / "run")


def test_excerpts_of_unreadable_records_are_scrubbed(inputs: Path, tmp_path: Path) -> None:
    (inputs / "in-8.jsonl").write_text('{"text": 5, "phone": "123456"}\n', encoding="utf-8")
    done = go(workflow(inputs, last=(HideDigits(),)), tmp_path / "run")
    (row,) = [row for table in done["crawl"].rejected("quarantine") for row in table.to_pylist()]
    assert row["excerpt"] == '{"text": #, "phone": "######"}'


def test_memory_and_disk_errors_are_no_verdict_on_a_document(inputs: Path, tmp_path: Path) -> None:
    class Hungry(Map):
        def map(self, docs):
            raise MemoryError

    with pytest.raises(RunFailedError, match="failed 3 times, last: MemoryError"):
        go(workflow(inputs, last=(Hungry(),)), tmp_path / "run")


@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_an_input_that_changed_is_refused(inputs: Path, tmp_path: Path, damage: str) -> None:
    go(workflow(inputs), tmp_path / "run")
    victim = inputs / "in-1.jsonl"
    if damage == "removed":
        victim.unlink()
    else:
        victim.write_text('{"text": "something else"}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"in-1\.jsonl"):
        go(workflow(inputs), tmp_path / "run")


def test_a_limit_runs_the_first_shards_and_the_full_run_reuses_them(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = go(workflow(inputs), tmp_path / "run", INLINE.__class__(backend="inline", progress="none", limit=2))
    assert sorted(limited["upper"].commits) == [0, 1]
    ran = count_executions(monkeypatch)
    done = go(workflow(inputs), tmp_path / "run")
    assert {index for _, index in ran} == {2}
    go(workflow(inputs), tmp_path / "whole")
    assert payloads(tmp_path / "whole") == payloads(tmp_path / "run")
    assert len(texts(done, "upper")) == 36


def test_what_was_expected_is_checked(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match=r"step 'long' kept 36 of 60 documents of the whole step \(60\.0%\)"):
        go(workflow(inputs, expect=Expect(kept=(0.7, 1.0))), tmp_path / "run")
    assert go(workflow(inputs, expect=Expect(kept=(0.5, 0.7))), tmp_path / "run")["upper"].complete


def test_too_many_quarantined_documents_fail_the_run(inputs: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"boom {row}"}) for row in range(30)]
    (inputs / "in-9.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(RunFailedError, match=r"30 of 90 documents are in quarantine .* 'length'"):
        go(workflow(inputs), tmp_path / "run")


def test_an_imbalance_fails_the_run_and_commits_nothing(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Ledger.merge

    def forgetful(self: Ledger, other: Ledger) -> None:
        honest(self, other)
        self.kept.docs -= 1

    monkeypatch.setattr(Ledger, "merge", forgetful)
    with pytest.raises(RunFailedError, match="does not balance"):
        go(workflow(inputs), tmp_path / "run")
    assert not list((tmp_path / "run").glob("long-*/commits/*"))


def test_two_drivers_do_not_share_a_run(inputs: Path, tmp_path: Path) -> None:
    with Lease(Storage(tmp_path / "run")), pytest.raises(UserError, match="another driver holds this run"):
        go(workflow(inputs), tmp_path / "run")
    assert go(workflow(inputs), tmp_path / "run")["upper"].complete


def test_a_lease_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pipeline.lease import Lease
from pipeline.storage import Storage
with Lease(Storage({str(tmp_path / "run")!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f'"pid":{holder.pid}'):
            Lease(Storage(tmp_path / "run")).__enter__()
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with Lease(Storage(tmp_path / "run")):
        pass


def test_a_lease_on_an_object_store_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage("memory://leases/run")
    first = Lease(storage)
    first.__enter__()
    with pytest.raises(UserError, match="another driver holds this run"):
        Lease(storage).__enter__()
    later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: later)
    with Lease(storage):
        assert len(storage.list("lease")) == 2
    first.__exit__(None, None, None)
    assert storage.list("lease") == []


def test_a_stop_file_stops_between_shards_and_the_run_goes_on(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list = []

    def execute_then_ask(assignment, storage):
        seen.append(assignment)
        storage.write_bytes("stop", b"")
        time.sleep(1.1)  # the driver looks once a second
        return real(assignment, storage)

    from pipeline.backends import inline

    real = inline.execute
    monkeypatch.setattr(inline, "execute", execute_then_ask)
    with pytest.raises(StoppedError):
        go(workflow(inputs), tmp_path / "run")
    assert len(seen) == 1
    monkeypatch.setattr(inline, "execute", real)
    assert len(texts(go(workflow(inputs), tmp_path / "run"), "upper")) == 36


def test_a_full_disk_leaves_no_half_visible_shard(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(workflow(inputs), tmp_path / "whole")
    real = Storage.write_file
    calls = 0

    def full(self: Storage, path: Path, name: str) -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise OSError(errno.ENOSPC, "No space left on device", name)
        real(self, path, name)

    monkeypatch.setattr(Storage, "write_file", full)
    with pytest.raises(RunFailedError, match="No space left on device"):
        go(workflow(inputs), tmp_path / "run")
    for record in (tmp_path / "run").glob("*-*/commits/*.json"):
        for output in json.loads(record.read_bytes())["outputs"]:
            assert (tmp_path / "run" / output["path"]).stat().st_size == output["bytes"]
    assert not list((tmp_path / "run" / ".scratch").glob("*"))
    monkeypatch.setattr(Storage, "write_file", real)
    go(workflow(inputs), tmp_path / "run")
    assert committed_payloads(tmp_path / "run") == committed_payloads(tmp_path / "whole")


def test_a_disk_that_is_really_full(inputs: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], check=False).returncode
    ):
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        with pytest.raises((RunFailedError, OSError), match=r"No space left|ENOSPC|space"):
            go(workflow(inputs), disk / "run")
        for record in (disk / "run").glob("*-*/commits/*.json"):
            for output in json.loads(record.read_bytes())["outputs"]:
                assert (disk / "run" / output["path"]).stat().st_size == output["bytes"]
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


POINTS = ["before_publish", "between_publish_and_record", "while_linking", "after_record"]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("nth", [1, 4])
def test_killed_at_a_commit_boundary_the_run_goes_on(inputs: Path, tmp_path: Path, point: str, nth: int) -> None:
    go(workflow(inputs), tmp_path / "whole")
    code = KILLED.format(point=point, nth=nth, inputs=str(inputs), out=str(tmp_path / "run"))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.run([sys.executable, "-c", code], env=env, check=False)
    assert killed.returncode == -9
    assert list((tmp_path / "run" / ".scratch").glob("*"))
    go(workflow(inputs), tmp_path / "run")
    assert committed_payloads(tmp_path / "run") == committed_payloads(tmp_path / "whole")
    assert not (tmp_path / "run" / ".scratch").exists()
    assert not list((tmp_path / "run").rglob("*.tmp"))


KILLED = """
import os, signal
from pathlib import Path
import pipeline.commit as module
from pipeline.storage import Storage
from tests.pipeline.small_runs import go, workflow
calls = {{"n": 0}}
def die(at):
    if at == "{point}":
        calls["n"] += 1
        if calls["n"] == {nth}:
            os.kill(os.getpid(), signal.SIGKILL)
publish, create = module.publish, Storage.create_if_absent
def dying_publish(*args):
    die("before_publish")
    result = publish(*args)
    die("between_publish_and_record")
    return result
def dying_create(self, name, data):
    result = create(self, name, data)
    if "/commits/" in name:
        die("after_record")
    return result
link = os.link
def dying_link(source, target, **more):
    if "/commits/" in str(target):
        die("while_linking")
    return link(source, target, **more)
os.link = dying_link
module.publish = dying_publish
Storage.create_if_absent = dying_create
go(workflow(Path({inputs!r})), Path({out!r}))
"""


def test_of_two_attempts_one_counts_and_both_report_it(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(tmp_path / "run")
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"other")
    first = commit_module.commit(storage, "d-1", 0, result(tmp_path / "a"), {}, 0.0)
    second = commit_module.commit(storage, "d-1", 0, result(tmp_path / "b"), {}, 0.0)
    assert second == first
    assert storage.list("d-1/shards") == [first.outputs[0].name]


def result(path: Path):
    from pipeline.work import Output, Result

    return Result([Output(path, ".bin")])


def test_a_shard_cut_off_after_its_commit_is_named(inputs: Path, tmp_path: Path) -> None:
    done = go(workflow(inputs), tmp_path / "run")
    victim = next((tmp_path / "run").glob("upper-*/shards/00000001-*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-7])
    with pytest.raises(RunFailedError, match=r"its commit says .*run again: it is made anew"):
        texts(done, "upper")


def test_an_unfinished_run_can_be_read(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFailedError):
        go(workflow(inputs, expect=Expect(kept=(0.9, 1.0))), tmp_path / "run")
    found = Run.open(str(tmp_path / "run"))
    assert found["long"].ledger.kept.docs == 36
    with pytest.raises(UserError, match="no step 'nope'"):
        found["nope"]
    with pytest.raises(UserError, match="no run at"):
        Run.open(str(tmp_path / "elsewhere"))


def test_a_run_on_an_object_store(inputs: Path, tmp_path: Path) -> None:
    from pipeline.session import run

    done = run(workflow(inputs), "memory://bucket/run", INLINE)
    assert len(texts(done, "upper")) == 36
    go(workflow(inputs), tmp_path / "run")
    local = {name: sha for name, sha in payloads(tmp_path / "run").items() if "/shards/" in name}
    assert {name for name in done.storage.list("") if "/shards/" in name} == set(local)
    shutil.rmtree(tmp_path / "run")


def count_executions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Tasks that are really done from now on."""
    from pipeline.backends import inline

    ran: list[tuple[str, int]] = []
    real = inline.execute

    def counting(assignment, storage):
        ran.extend((task.node, task.index) for task in assignment.tasks)
        return real(assignment, storage)

    monkeypatch.setattr(inline, "execute", counting)
    return ran


def committed_payloads(out: Path) -> dict[str, str]:
    """Files that manifests name, with their hashes, and the manifests."""
    found = {}
    for manifest in sorted(out.glob("*-*/manifest.json")):
        found[manifest.parent.name] = manifest.read_text()
        for shard in json.loads(manifest.read_bytes())["shards"]:
            for output in shard["outputs"]:
                found[output["path"]] = output["sha256"]
                assert (out / output["path"]).stat().st_size == output["bytes"]
    return found
