"""What ``run``, ``plan``, ``whatif`` and the report say of deduplicating and splitting steps, through a pipe too."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipeline.dataset import Run
from pipeline.report.account import Account
from pipeline.report.funnel import funnel
from pipeline.report.page import render
from tests.workflows.conftest import Call, run_here

RECIPE = """\
name: {name}
steps:
  crawl:
    read: {{format: jsonl, paths: [{name}.jsonl], source: web}}
  unique:
    from: crawl
    dedup: {{minhash: null, {dedup}}}
"""
HELD = """\
  held:
    from: unique
    split: {held_out: {validation: 0.000001}}
"""


def write(folder: Path, name: str, dedup: str, texts: list[str], more: str = "") -> Path:
    (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps({'text': text})}\n" for text in texts))
    path = folder / f"{name}.yaml"
    path.write_text(RECIPE.format(name=name, dedup=dedup) + more)
    return path


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory, sluice: Call) -> tuple[Path, str, str]:
    """The folder of a run with an index and an empty held-out set; its output and its errors."""
    folder = tmp_path_factory.mktemp("indexed")
    path = write(folder, "first", "index: true", [f"the page of number {k}" for k in range(9)], HELD)
    result = run_here(sluice, path, folder / "first")
    return folder, result.stdout, result.stderr


def test_a_warning_is_told_though_progress_is_not(indexed: tuple[Path, str, str]) -> None:
    _, _, errors = indexed
    (line,) = errors.splitlines()
    assert line.endswith("warning: held.validation is empty: none of 9 documents went into it")


def test_whatif_advises_no_setting_that_would_be_refused(indexed: tuple[Path, str, str], sluice: Call) -> None:
    run = indexed[0] / "first"
    wrong = sluice("whatif", run, "unique.dedup.threshold=0.8")
    assert wrong.exit_code == 2
    assert "did you mean 'minhash.threshold'?" in wrong.stderr
    assert "--set" not in wrong.stderr
    bad = sluice("whatif", run, "held.split.bands=many")
    assert "valid integer" in bad.stderr
    assert "--set" not in bad.stderr
    right = sluice("whatif", run, "held.split.bands=10")  # held_out, which is required, is not given here
    assert right.stderr.endswith(f"needs a rerun: sluice run RECIPE --out {run} --set held.split.bands=10\n")


def test_a_plan_through_a_pipe_is_not_cut(tmp_path: Path, sluice: Call) -> None:
    labels = [f"a-rather-long-label-of-epoch-{k}" for k in range(3)]
    path = write(tmp_path, "long", "index: true", ["a page"])
    epochs = ", ".join(f"{label}: [{label}.jsonl]" for label in labels)
    path.write_text(path.read_text().replace("paths: [long.jsonl]", f"epochs: {{{epochs}}}"))
    for label in labels:
        (tmp_path / f"{label}.jsonl").write_text('{"text": "a page"}\n')
    shown = sluice("plan", path, "--out", tmp_path / "run")
    assert shown.exit_code == 0, shown.stderr
    assert "…" not in shown.stdout
    head, *rows, _ = shown.stdout.splitlines()
    assert head.split() == ["step", "from", "verb", "dataset", "shards", "done", "to", "run", "input"]
    counts = [re.search(r"  dedup +(\S+) +(\d+) +(\d+) +(\d+) +\S", row) for row in rows[1:]]
    assert all(counts)
    assert {f"unique.{label}.exact" for label in labels} <= {row.split()[0] for row in rows}


def test_nothing_read_does_not_look_like_success(tmp_path: Path, sluice: Call) -> None:
    path = write(tmp_path, "empty", "index: false", [])
    result = run_here(sluice, path, tmp_path / "run")
    first, _, *rows = result.stdout.splitlines()
    assert first == "0 documents were read from 1 file by crawl"
    assert [row.split()[:5] for row in rows[:2]] == [
        ["crawl", "read", "0", "0", "-"],
        ["unique", "dedup", "0", "0", "-"],
    ]


def test_a_damaged_index_of_another_run_is_said_to_be_of_that_run(tmp_path: Path, sluice: Call) -> None:
    texts = [f"the page of number {k}" for k in range(9)]
    first = write(tmp_path, "first", "index: true", texts)
    second = write(tmp_path, "second", "against: [{run: first, step: unique}]", texts)
    options = ("--backend", "inline", "--progress", "none", "--out")
    assert sluice("run", first, *options, tmp_path / "first").exit_code == 0
    (hashes,) = tmp_path.glob("first/unique.index-*/shards/*.hashes")
    hashes.write_bytes(hashes.read_bytes()[:-1])
    refused = sluice("run", second, *options, tmp_path / "second")
    assert refused.exit_code == 1
    home = tmp_path / "first"
    assert f"`sluice verify {home} --repair`, run that run's recipe again with `--out {home}`" in refused.stderr
    # and doing so helps
    assert sluice("verify", home, "--repair").exit_code in (0, 1)
    assert sluice("run", first, *options, home).exit_code == 0
    assert sluice("run", second, *options, tmp_path / "second").exit_code == 0
    assert Run.open(str(tmp_path / "second"))["unique"].ledger.kept.docs == 0


def test_what_is_in_another_set_is_not_dropped(indexed: tuple[Path, str, str]) -> None:
    folder, printed, _ = indexed
    run = Run.open(str(folder / "first"))
    gone = {row.step: row.gone for row in funnel(Account.of(run))}
    assert gone["unique"] == "0.0 %"
    assert gone["held.validation"] == "100.0 % in other sets"
    assert "100.0 % in other sets" in printed
    assert "100.0 % in other sets" in render(run)


def test_groups_are_told_where_languages_are(indexed: tuple[Path, str, str]) -> None:
    """The read step has not told languages yet, so it is left out; one group is no groups."""
    page = render(Run.open(str(indexed[0] / "first")))
    assert "unique (1 group)" in page
    assert "crawl (1 group" not in page
    assert "(1 groups)" not in page
