"""What the commands print, write and answer, on a small run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import Result

from pipeline.lease import Lease
from pipeline.storage import Storage
from tests.workflows.conftest import LONG, MORE, RECIPE, Call, run_here, write_recipe

FAILING = RECIPE.replace("    apply:", "    expect: {kept: [0.9, 1.0], min_docs: 1, quarantined: 1.0}\n    apply:")


def fields(text: str, first: str) -> list[str]:
    """Words of the first line that begins so."""
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [first])


# -- run --------------------------------------------------------------------------------------------------------------


def test_run_tells_the_funnel_and_writes_the_report(finished: tuple[Path, Result]) -> None:
    run, result = finished
    size = len(LONG) + 4
    assert fields(result.stdout, "crawl")[:5] == ["crawl", "read", "5", "5", "0.0"]
    assert fields(result.stdout, "clean")[:5] == ["clean", "length", "5", "3", "40.0"]
    assert fields(result.stdout, "unique")[:4] == ["unique", "dedup", "3", "2"]
    assert "quarantined 1, short 1" in result.stdout
    assert "exact duplicate 1" in result.stdout
    assert f"{2 * size} B" in result.stdout
    assert str(run / "report.html") in result.stdout
    assert "<!doctype html>" in (run / "report.html").read_text()
    assert f"sluice why {run}" in result.stdout


def test_run_again_does_nothing_anew(finished: tuple[Path, Result], sluice: Call) -> None:
    run, _ = finished
    before = {path: path.stat().st_mtime_ns for path in run.glob("*/commits/*.json")}
    run_here(sluice, run.parent / "small.yaml", run)
    assert {path: path.stat().st_mtime_ns for path in run.glob("*/commits/*.json")} == before


def test_set_limit_and_default_folder(tmp_path: Path, sluice: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = write_recipe(tmp_path / "project", shards=3)
    monkeypatch.chdir(tmp_path)
    arguments = ("run", recipe, "--backend", "inline", "--progress", "none", "--set", "clean.length.min_chars=2")
    result = sluice(*arguments, "--limit", 2)
    assert result.exit_code == 0, result.stderr
    assert fields(result.stdout, "clean")[:4] == ["clean", "length", "6", "5"]  # "no" is long enough now
    assert (tmp_path / "runs" / "small" / "run.json").is_file()


def test_a_failed_run_ends_with_1_and_leaves_a_report(tmp_path: Path, sluice: Call) -> None:
    recipe = write_recipe(tmp_path, FAILING)
    result = run_here(sluice, recipe, tmp_path / "run", exit_code=1)
    assert "error: step 'clean' kept 3 of 5 documents" in result.stderr
    assert "Traceback" not in result.stderr
    assert "not finished: clean" in (tmp_path / "run" / "report.html").read_text()
    status = json.loads(sluice("status", tmp_path / "run", "--json").stdout)
    assert [(step["step"], step["state"]) for step in status["steps"]] == [("crawl", "done"), ("clean", "failed")]
    assert status["last_command"]["outcome"] == "failed"


def test_a_users_mistake_ends_with_2_and_one_message(tmp_path: Path, sluice: Call) -> None:
    recipe = write_recipe(tmp_path, RECIPE.replace("min_chars", "min_char").replace("from: crawl", "from: craw"))
    result = sluice("run", recipe, "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "2 mistakes" in result.stderr
    assert "did you mean 'min_chars'?" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("position", [0, 3])
def test_debug_shows_the_traceback_wherever_it_stands(position: int, tmp_path: Path, sluice: Call) -> None:
    arguments: list[object] = ["run", tmp_path / "missing.yaml", "--limit", "1"]
    arguments.insert(position, "--debug")
    result = sluice(*arguments)
    assert type(result.exception).__name__ == "UserError"


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "r.yaml", "--limit", "0"),
        ("run", "r.yaml", "--backend", "spark"),
        ("runn", "r.yaml"),
        ("run", "r.yaml", "--limt", "3"),
        ("cat", "x"),
    ],
)
def test_wrong_arguments_end_with_2(arguments: tuple[str, ...], sluice: Call) -> None:
    assert sluice(*arguments).exit_code == 2


def test_a_run_that_another_holds_is_refused_and_left_alone(tmp_path: Path, sluice: Call) -> None:
    recipe = write_recipe(tmp_path)
    with Lease(Storage(tmp_path / "run")):
        result = sluice("run", recipe, "--out", tmp_path / "run", "--backend", "inline", "--progress", "none")
    assert result.exit_code == 2
    assert "another driver holds this run" in result.stderr
    assert not (tmp_path / "run" / "report.html").exists()


# -- plan, status -----------------------------------------------------------------------------------------------------


def test_plan_before_and_after(finished: tuple[Path, Result], tmp_path: Path, sluice: Call) -> None:
    recipe = finished[0].parent / "small.yaml"
    before = sluice("plan", recipe, "--out", tmp_path / "none")
    assert before.exit_code == 0, before.stderr
    assert not (tmp_path / "none").exists()
    datasets = {path.name for path in finished[0].iterdir() if path.is_dir()}
    assert fields(before.stdout, "clean")[3] in datasets
    assert fields(before.stdout, "clean")[4:7] == ["1", "0", "1"]
    assert "after bpe" in next(line for line in before.stdout.splitlines() if line.startswith("tokens"))
    after = sluice("plan", recipe, "--out", finished[0])
    assert fields(after.stdout, "clean")[4:7] == ["1", "1", "0"]
    assert "0 would run" in after.stdout
    changed = sluice("plan", recipe, "--out", finished[0], "--set", "clean.length.min_chars=4")
    assert fields(changed.stdout, "crawl")[3:6] == ["1", "1", "0"]
    assert fields(changed.stdout, "clean")[3] not in datasets


def test_status_of_a_finished_run(finished: tuple[Path, Result], sluice: Call) -> None:
    status = json.loads(sluice("status", finished[0], "--json").stdout)
    assert status["complete"] is True
    assert status["driver"] is None
    clean = next(step for step in status["steps"] if step["step"] == "clean")
    assert clean == {
        "step": "clean", "state": "done", "shards_done": 1, "shards": 1, "docs_in": 5, "docs_kept": 3, "docs_taken_down": 0,
    }  # fmt: skip
    shown = sluice("status", finished[0])
    assert fields(shown.stdout, "clean") == ["clean", "done", "1/1", "5", "3"]
    assert "no driver is at work" in shown.stdout


def test_status_while_a_driver_works_and_after_it_was_killed(tmp_path: Path, sluice: Call) -> None:
    recipe = write_recipe(tmp_path, RECIPE.replace("    apply:", "    expect: {quarantined: 1.0}\n    apply:"))
    run = tmp_path / "run"
    run_here(sluice, recipe, run)
    folder = json.loads((run / "run.json").read_text())["datasets"]["clean"]
    (run / folder / "manifest.json").unlink()
    (run / folder / "commits" / "00000000.json").unlink()
    with Lease(Storage(run)):
        status = json.loads(sluice("status", run, "--json").stdout)
        assert [step["state"] for step in status["steps"]] == ["done", "running"]
        assert status["driver"]["pid"] > 0
    log = run / "logs" / "driver.jsonl"
    log.write_text("".join(line for line in log.read_text().splitlines(keepends=True) if '"ended"' not in line))
    status = json.loads(sluice("status", run, "--json").stdout)
    assert [step["state"] for step in status["steps"]] == ["done", "stopped"]
    assert status["last_command"]["outcome"] == "killed"


@pytest.mark.parametrize(
    "command", [("status",), ("report",), ("logs",), ("stop",), ("cat", "clean"), ("why", "http://x")]
)
def test_no_run_there(command: tuple[str, ...], tmp_path: Path, sluice: Call) -> None:
    result = sluice(command[0], tmp_path, *command[1:])
    assert result.exit_code == 2
    assert "no run at" in result.stderr


# -- help -------------------------------------------------------------------------------------------------------------


def test_help_imports_no_engine() -> None:
    """Help must come at once: neither numba nor torch, ray or the engine's session is loaded for it."""
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom workflows.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "assert CliRunner().invoke(app, ['run', '--help']).exit_code == 0\n"
        "print(sorted({'numba', 'torch', 'ray', 'pyarrow', 'pipeline.session', 'operators'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "[]"


def test_every_command_of_the_recipe_is_there(sluice: Call) -> None:
    names = {
        line.split()[1]
        for line in sluice("--help").stdout.splitlines()
        if line.startswith("│ ") and line[2:3].isalpha()
    }
    assert {"run", "plan", "submit", "status", "logs", "stop", "cat", "why", "report", "doctor"} <= names


def test_a_step_behind_a_recorded_one_waits(tmp_path: Path, sluice: Call) -> None:
    """A run that failed before its tokenizer: what hangs on that has no name yet, and every command says so."""
    recipe = write_recipe(tmp_path, FAILING + MORE)
    run = tmp_path / "run"
    run_here(sluice, recipe, run, exit_code=1)
    status = {step["step"]: step for step in json.loads(sluice("status", run, "--json").stdout)["steps"]}
    assert (status["tokens"]["state"], status["tokens"]["shards"]) == ("waiting", None)
    result = sluice("cat", run, "tokens")
    assert result.exit_code == 2
    assert "has not begun" in result.stderr
