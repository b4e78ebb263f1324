"""``split`` in a recipe: sets by name everywhere a step's name goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from operators import ScrubPii
from pipeline.dataset import Run
from pipeline.errors import UserError
from pipeline.works import Apply
from tests.workflows.conftest import Call
from workflows import load

WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "was",
    "with",
    "for",
    "that",
    "have",
    "be",
    "on",
    "as",
    "by",
    "at",
    "from",
    "or",
    "an",
    "it",
]

RECIPE = """
name: held-out
steps:
  docs:
    read: {format: jsonl, paths: [docs.jsonl], source: demo}
  clean:
    from: docs
    apply: [gopher_quality: {min_words: 3}]
  unique:
    from: clean
    dedup: {}
  parts:
    from: SOURCE
    split: {held_out: {validation: 0.2, test: 0.2}}
  evaluation:
    from: parts.validation
    apply: [scrub_pii: {types: [email]}]
  training:
    from: parts
    apply: [gopher_quality: {min_words: 3}]
"""


def text(number: int) -> str:
    return " ".join(f"{WORDS[(number * k) % 20]} item{number}x{k}" for k in range(20))


def write(folder: Path, recipe: str) -> Path:
    rows = [{"text": text(k // 2), "url": f"http://site/{k}"} for k in range(60)]
    (folder / "docs.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    path = folder / "recipe.yaml"
    path.write_text(recipe)
    return path


@pytest.fixture(scope="module", params=["unique", "clean"])
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sluice: Call) -> tuple[str, Run]:
    folder = tmp_path_factory.mktemp(request.param)
    recipe = write(folder, RECIPE.replace("SOURCE", request.param))
    result = sluice("run", recipe, "--out", folder / "run", "--backend", "inline")
    assert result.exit_code == 0, result.output
    return str(request.param), Run.open(str(folder / "run"))


def urls(run: Run, step: str) -> set[str]:
    return {str(url) for docs in run[step].documents() for url in docs["url"].to_pylist()}


def test_the_parts_make_up_the_whole(done: tuple[str, Run]) -> None:
    source, run = done
    parts = [urls(run, step) for step in ("parts", "parts.validation", "parts.test")]
    assert all(parts)
    assert sum(len(part) for part in parts) == len(set().union(*parts)) == len(urls(run, source))
    texts = [{int(url.rpartition("/")[2]) // 2 for url in part} for part in parts]  # two documents have one text
    assert sum(len(part) for part in texts) == len(set().union(*texts)) > 20
    assert urls(run, "evaluation") == parts[1]
    assert urls(run, "training") == parts[0]


def test_every_command_takes_a_set_by_name(done: tuple[str, Run], sluice: Call) -> None:
    _, run = done
    folder = run.storage.uri
    shown = sluice("cat", folder, "parts.validation", "--json").output.splitlines()
    assert {json.loads(line)["url"] for line in shown} == urls(run, "parts.validation")
    steps = {row["step"]: row for row in json.loads(sluice("status", folder, "--json").output)["steps"]}
    assert steps["parts.validation"]["docs_kept"] == len(urls(run, "parts.validation"))
    assert steps["parts"]["docs_in"] == sum(
        steps[name]["docs_kept"] for name in ("parts", "parts.validation", "parts.test")
    )
    pointed = sluice("sample", folder, "parts", "--dropped")
    assert pointed.exit_code == 2
    assert "it holds documents out: see parts.validation, parts.test" in pointed.stderr
    assert "is a set of step 'parts'" in sluice("sample", folder, "parts.test", "--dropped").stderr
    wrong = sluice("cat", folder, "parts.validaton")
    assert wrong.exit_code == 2
    assert "did you mean 'parts.validation'?" in wrong.output


def test_why_names_the_set(done: tuple[str, Run], sluice: Call) -> None:
    source, run = done
    for step, words in (("parts.validation", "HELD OUT in validation"), ("parts", "parts          kept")):
        output = sluice("why", run.storage.uri, min(urls(run, step))).output
        assert words in output
        assert "MISSING" not in output
        assert ("evaluation     kept" in output) == (step == "parts.validation")
        assert ("training       kept" in output) == (step == "parts")
    if source == "clean":
        assert "whole cluster of 2" in sluice("why", run.storage.uri, min(urls(run, "parts.test"))).output


def test_the_report_has_every_set(done: tuple[str, Run], sluice: Call) -> None:
    _, run = done
    assert sluice("report", run.storage.uri).exit_code == 0
    page = (Path(run.storage.uri) / "report.html").read_text()
    assert "Held-out sets" in page
    assert all(name in page for name in ("parts.validation", "parts.test"))


def test_a_set_without_documents_is_told(tmp_path: Path, sluice: Call) -> None:
    recipe = write(tmp_path, RECIPE.replace("SOURCE", "docs").replace("test: 0.2", "test: 0.000001"))
    output = sluice("run", recipe, "--out", tmp_path / "run", "--backend", "inline").output
    assert "warning: parts.test is empty: none of 60 documents went into it" in output


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("parts.validaton", "did you mean 'parts.validation'?"),
        ("parts.signatures", "which does not exist"),
        ("part.validation", "did you mean 'parts.validation'?"),
    ],
)
def test_a_misspelt_set(tmp_path: Path, source: str, words: str) -> None:
    recipe = write(tmp_path, RECIPE.replace("SOURCE", "docs").replace("from: parts.validation", f"from: {source}"))
    with pytest.raises(UserError) as error:
        load(recipe)
    assert words in str(error.value)
    assert "1 mistake" in str(error.value)


def test_a_circle_through_a_set(tmp_path: Path) -> None:
    recipe = write(tmp_path, RECIPE.replace("SOURCE", "evaluation"))
    with pytest.raises(UserError, match=r"cycle: .*evaluation"):
        load(recipe)


def test_rejected_rows_are_scrubbed_by_what_stands_behind_a_set(tmp_path: Path) -> None:
    workflow = load(write(tmp_path, RECIPE.replace("SOURCE", "clean")))
    work = workflow.nodes_by_step()["clean"][0].work
    assert isinstance(work, Apply)
    assert [type(one) for one in work.scrubbers] == [ScrubPii]
