"""A run killed between the token shards of a window, then a takedown, then the run again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.dataset import Run
from tests.workflows.conftest import Call
from tests.workflows.takedown.conftest import MIDDLE, RECIPE, files, made, write_inputs, write_list

WINDOWS = RECIPE.replace(
    "tokenizer: {file: tokenizer.json}", "tokenizer: {file: tokenizer.json}, tokens_per_shard: 3000, shuffle: {}"
)
SUFFIXES = (".bin", ".idx", ".docs.parquet")


def cut(run: Path) -> None:
    """As if the driver had been killed before the last token shards."""
    tokens = Run.open(str(run))["tokens"]
    assert len(tokens.commits) > 4
    for index in sorted(tokens.commits)[2:]:
        commit = tokens.commits[index]
        for output in commit.outputs:
            (run / output.name).unlink()
        (run / tokens.folder / "commits" / f"{index:08d}.json").unlink()
    (run / tokens.folder / "manifest.json").unlink()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("windows") / "in")


@pytest.fixture(scope="module")
def whole(folder: Path, sluice: Call) -> Path:
    """A run that nobody disturbed."""
    return made(sluice, folder, folder.parent / "whole", recipe=WINDOWS)


@pytest.mark.parametrize("url", [MIDDLE, "http://host1.example/2/1"], ids=["in-the-first-window", "in-the-last"])
def test_the_window_is_made_anew(folder: Path, whole: Path, tmp_path: Path, sluice: Call, url: str) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    cut(run)
    done = sluice("takedown", run, "--urls", write_list(tmp_path, url), "--yes")
    assert done.exit_code == 0, done.stderr + done.stdout
    recipe = folder / "windows.yaml"
    recipe.write_text(WINDOWS, encoding="utf-8")
    done = sluice("run", recipe, "--out", run, "--backend", "inline", "--progress", "plain")
    assert "shards of tokens, cut before a takedown changed its inputs, are made anew" in done.stderr
    assert sluice("verify", run).exit_code == 0
    listed = WINDOWS.replace("source: web}", f"source: web, suppress: {run}/suppressed.json}}")
    fresh = made(sluice, folder, tmp_path / "fresh", recipe=listed)
    for suffix in SUFFIXES:
        assert files(run, "tokens", suffix) == files(fresh, "tokens", suffix)
        assert files(run, "tokens", suffix) != files(whole, "tokens", suffix)
    assert sluice("takedown", run, "--urls", write_list(tmp_path, url), "--yes").exit_code == 0
