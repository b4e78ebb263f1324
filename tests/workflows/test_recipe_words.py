"""What the loader says of a deduplicating step that is written wrongly: each mistake once, with what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import UserError
from workflows.recipe import load

RECIPE = """\
name: words
steps:
  crawl:
    read: {{format: jsonl, paths: [in.jsonl]}}
  unique:
    from: crawl
    {verb}
"""


def refusal(folder: Path, verb: str) -> str:
    path = folder / "words.yaml"
    path.write_text(RECIPE.format(verb=verb), encoding="utf-8")
    with pytest.raises(UserError) as refused:
        load(path)
    return str(refused.value).partition("unique.")[2]


@pytest.mark.parametrize(
    ("verb", "meant"),
    [
        ("dedup: {threshold: 0.8}", "did you mean 'minhash.threshold'?"),
        ("dedup: {treshold: 0.8}", "did you mean 'minhash.threshold'?"),
        ("dedup: {minhash: {treshold: 0.8}}", "did you mean 'threshold'?"),
        ("dedup: {minhash: {rule: greedy}}", "did you mean 'rule' beside 'minhash', not in it?"),
        ("dedup: {min_docs: 5}", "did you mean 'alarm.min_docs'?"),
    ],
    ids=["a level further in", "misspelt there", "misspelt here", "a level further out", "of another value"],
)
def test_a_parameter_at_the_wrong_level(tmp_path: Path, verb: str, meant: str) -> None:
    assert refusal(tmp_path, verb).endswith(meant)


@pytest.mark.parametrize(
    ("verb", "remedy"),
    [
        ("dedup: {against: [runs/one]}", "write {run: runs/one, step: STEP}"),
        ("dedup: {against: {run: runs/one, step: unique}}", "write [{run: runs/one, step: unique}]"),
        ("dedup: {alarm: 0.5}", "write {removed: 0.5}"),
        ("dedup: {alarm: 1}", "write {removed: 1}"),
        ("dedup: {minhash: 0.8}", "write {threshold: 0.8}"),
        ("dedup_substrings: {action: remove}", "did you mean 'cut'?"),
    ],
    ids=["run", "one run", "share", "whole", "threshold", "synonym"],
)
def test_a_value_of_another_shape_is_told_how_to_be_written(tmp_path: Path, verb: str, remedy: str) -> None:
    assert refusal(tmp_path, verb).endswith(remedy)


def test_no_shape_is_guessed_where_none_fits(tmp_path: Path) -> None:
    assert refusal(tmp_path, "dedup: {minhash: true}") == "dedup.minhash: needs a mapping, got True"


@pytest.mark.parametrize(
    "verb",
    ["dedup: {keep: [longest, longest]}", "dedup: {minhash: {bands: 1000, rows: 1000}}", "split: {held_out: {a: 2.0}}"],
    ids=["keep", "minhash", "held_out"],
)
def test_what_was_given_is_told_at_most_once(tmp_path: Path, verb: str) -> None:
    assert refusal(tmp_path, verb).count(" got ") <= 1


def test_an_epoch_without_paths_is_told_as_that(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("name: words\nsteps:\n  crawl:\n    read: {format: jsonl, epochs: {old: []}}\n", encoding="utf-8")
    with pytest.raises(UserError) as refused:
        load(path)
    assert str(refused.value).endswith(
        "crawl.read: epoch 'old' has no paths; write it as in epochs: {2024-10: [crawl/*.warc.gz]}"
    )


@pytest.mark.parametrize("name", ["train", "training"])
def test_what_is_left_is_no_held_out_set(tmp_path: Path, name: str) -> None:
    said = refusal(tmp_path, f"split: {{held_out: {{{name}: 0.9}}}}")
    assert f"set {name!r}: what is not held out is the step itself" in said
