"""What the commands that look into a run print: cat, why, report, logs; and stop."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

from typer.testing import Result

from pipeline.eventlog import events
from pipeline.holder import holder
from pipeline.lease import Lease
from pipeline.session import STOP_FILE
from pipeline.storage import Storage
from tests.workflows.conftest import LONG, RECIPE, Call, write_recipe


def fields(text: str, first: str) -> list[str]:
    """Words of the first line that begins so."""
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [first])


def ids(run: Path, sluice: Call, step: str = "clean") -> dict[str, str]:
    """URL -> id of what a step holds."""
    return {row["url"]: row["id"] for row in map(json.loads, sluice("cat", run, step, "--json").stdout.splitlines())}


# -- cat, why, report -------------------------------------------------------------------------------------------------


def test_cat_as_text_is_safe_for_a_terminal(finished: tuple[Path, Result], sluice: Call) -> None:
    lines = sluice("cat", finished[0], "crawl").stdout.splitlines()
    assert len(lines) == 10
    assert lines[1] == f"    {LONG}once"
    assert "\x1b" not in "".join(lines)


def test_cat_as_json_applies_bitmaps_and_keeps_every_column(finished: tuple[Path, Result], sluice: Call) -> None:
    rows = [json.loads(line) for line in sluice("cat", finished[0], "unique", "--json").stdout.splitlines()]
    assert {row["text"] for row in rows} == {f"{LONG}once", f"{LONG}####"}
    assert all(len(bytes.fromhex(row["id"])) == 16 for row in rows)
    assert {row["length.chars"] for row in rows} == {len(LONG) + 4}
    assert len(sluice("cat", finished[0], "unique", "--json", "--limit", 1).stdout.splitlines()) == 1


def test_cat_of_tokens_and_files(finished: tuple[Path, Result], sluice: Call) -> None:
    rows = [json.loads(line) for line in sluice("cat", finished[0], "tokens", "--json").stdout.splitlines()]
    assert [row["start"] for row in rows] == [0, rows[0]["num_tokens"]]
    assert f"num_tokens={rows[0]['num_tokens']}" in sluice("cat", finished[0], "tokens").stdout
    path = Path(sluice("cat", finished[0], "bpe").stdout.splitlines()[0])
    said = json.loads(sluice("cat", finished[0], "bpe", "--json").stdout.splitlines()[0])
    assert said["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    result = sluice("cat", finished[0], "nothing")
    assert result.exit_code == 2
    assert "there are: crawl, clean" in result.stderr


def test_why_follows_a_document(finished: tuple[Path, Result], sluice: Call) -> None:
    run, _ = finished
    dropped = sluice("why", run, "http://a.example/short").stdout
    assert fields(dropped, "crawl") == ["crawl", "kept"]
    assert "DROPPED by length: short: measured 2, wanted chars >= 3" in dropped
    assert "length.chars=2" in dropped
    failed = sluice("why", run, "http://a.example/\x1b[31mred").stdout
    assert "QUARANTINED by length: ValueError: boom" in failed
    assert "\x1b" not in failed
    kept = sluice("why", run, "http://a.example/digits").stdout
    assert fields(kept, "tokens")[:2] == ["tokens", "tokens"]
    both = "".join(sluice("why", run, f"http://a.example/{name}").stdout for name in ("kept", "copy"))
    assert both.count("DUPLICATE (exact) of ") == 1
    assert both.count(".bin") == 1


def test_why_by_id_and_as_json(finished: tuple[Path, Result], sluice: Call) -> None:
    run, _ = finished
    identity = ids(run, sluice)["http://a.example/digits"]
    found = json.loads(sluice("why", run, identity[:10], "--json").stdout)
    assert (found["id"], found["url"]) == (identity, "http://a.example/digits")
    outcomes = [(step["step"], step["outcome"]) for step in found["steps"]]
    assert outcomes == [("crawl", "kept"), ("clean", "kept"), ("unique", "kept"), ("tokens", "tokenized")]
    row = next(
        row
        for row in map(json.loads, sluice("cat", run, "tokens", "--json").stdout.splitlines())
        if row["id"] == identity
    )
    tokenized = found["steps"][-1]["facts"]
    assert (tokenized["start"], tokenized["num_tokens"]) == (row["start"], row["num_tokens"])
    assert (run / tokenized["file"]).is_file()


def test_why_of_what_is_not_there(finished: tuple[Path, Result], sluice: Call) -> None:
    result = sluice("why", finished[0], "http://a.example/dropped")
    assert result.exit_code == 2
    assert "http://a.example/copy" in result.stderr


def test_report_is_written_anew(finished: tuple[Path, Result], sluice: Call) -> None:
    path = finished[0] / "report.html"
    before = path.read_text()
    path.unlink()
    assert sluice("report", finished[0]).stdout.strip() == str(path)
    assert path.read_text() == before


# -- logs, stop -------------------------------------------------------------------------------------------------------


def test_logs_in_words(finished: tuple[Path, Result], sluice: Call) -> None:
    lines = sluice("logs", finished[0]).stdout.splitlines()
    assert lines[0].split()[3] == "started"
    clean = [line.split()[2:4] for line in sluice("logs", finished[0], "--step", "clean").stdout.splitlines()]
    assert ["clean", "planned"] in clean
    assert ["clean", "committed"] in clean
    assert {step for step, _ in clean} == {"clean"}
    assert sluice("logs", finished[0], "--step", "cleen").exit_code == 2


def test_logs_follow_until_the_driver_ends(tmp_path: Path, sluice: Call) -> None:
    """A log that grows while it is followed: everything is told once, and the command ends with the lease."""
    recipe = write_recipe(tmp_path, RECIPE.replace("    apply:", "    expect: {quarantined: 1.0}\n    apply:"))
    run = tmp_path / "run"
    sluice("run", recipe, "--out", run, "--backend", "inline", "--progress", "none")
    from pipeline.eventlog import EventLog

    storage = Storage(run)
    with Lease(storage):
        log = EventLog(storage)
        writer = threading.Thread(target=lambda: [time.sleep(0.2), log.write("note", text="later")])
        closer = threading.Timer(1.2, lambda: None)
        writer.start()
        closer.start()
        told: list[Result] = []
        follower = threading.Thread(target=lambda: told.append(sluice("logs", run, "--follow")))
        follower.start()
        closer.join()
        assert follower.is_alive()
    follower.join(timeout=20)
    log.close()
    assert told[0].stdout.count("text=later") == 1
    assert len(told[0].stdout.splitlines()) == len(events(storage)[0])


DRIVER = """
import sys
from pipeline.lease import Lease
from pipeline.session import _stoppable
from pipeline.storage import Storage
import time
storage = Storage(sys.argv[1])
with Lease(storage), _stoppable(storage) as should_stop:
    print("ready", flush=True)
    while not should_stop():
        time.sleep(0.05)
"""


def test_stop_waits_until_the_driver_has_ended(finished: tuple[Path, Result], tmp_path: Path, sluice: Call) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_bytes((finished[0] / "run.json").read_bytes())
    assert "no driver is at work" in sluice("stop", run).stdout
    root = Path(__file__).parents[2]
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(run)], stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "ready\n"
        result = sluice("stop", run, "--timeout", 30)
        assert result.exit_code == 0, result.stderr
        assert driver.wait(timeout=10) == 0
    finally:
        driver.kill()
        driver.stdout.close()
    storage = Storage(run)
    assert holder(storage) is None
    assert not storage.exists(STOP_FILE)


def test_stop_says_when_it_waits_in_vain(finished: tuple[Path, Result], tmp_path: Path, sluice: Call) -> None:
    (tmp_path / "run.json").write_bytes((finished[0] / "run.json").read_bytes())
    with Lease(Storage(tmp_path)):
        result = sluice("stop", tmp_path, "--timeout", 0)
    assert result.exit_code == 1
    assert "still works" in result.stderr
