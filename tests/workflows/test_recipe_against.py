"""Recipes that go against another run, by a path relative to the recipe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.dataset import Run
from pipeline.errors import UserError
from pipeline.session import Settings
from workflows import load, run

INLINE = Settings(backend="inline", progress="none")
FIRST = """\
name: first
steps:
  crawl:
    read: {format: jsonl, source: web, paths: [first.jsonl]}
  unique:
    from: crawl
    dedup: {index: true}
"""
SECOND = """\
name: second
steps:
  crawl:
    read: {format: jsonl, source: web, epochs: {spring: [spring.jsonl], summer: [summer.jsonl]}}
  unique:
    from: crawl
    dedup:
      against:
        - {run: ../runs/first, step: unique}
"""
TEXTS = {
    "first": ["the first page of the first crawl", "a page of the first crawl alone"],
    "spring": ["the first page of the first crawl", "a page of the spring that summer has too"],
    "summer": ["a page of the spring that summer has too", "the last page there is in summer"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "recipes"
    folder.mkdir()
    for name, texts in TEXTS.items():
        lines = [json.dumps({"id": f"{name}/{k}", "text": text}) for k, text in enumerate(texts)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "first.yaml").write_text(FIRST, encoding="utf-8")
    (folder / "second.yaml").write_text(SECOND, encoding="utf-8")
    return folder


def texts(found: Run) -> list[str]:
    return [text for docs in found["unique"].documents() for text in docs["text"].to_pylist()]


def test_a_new_crawl_against_an_old_one(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(load(folder / "first.yaml"), str(tmp_path / "runs" / "first"), settings=INLINE)
    monkeypatch.chdir("/")  # the path is relative to the recipe, wherever the command is given
    found = run(load(folder / "second.yaml"), str(tmp_path / "runs" / "second"), settings=INLINE)
    assert texts(found) == [TEXTS["spring"][1], TEXTS["summer"][1]]
    assert found.facts["recipe"]["unique"]["Dedup"]["against"] == [
        {"Against": {"run": str(tmp_path / "runs" / "first"), "step": "unique"}}
    ]


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (None, r"second\.yaml:8: .*no run at .*runs/first"),
        (("index: true", "index: false"), r"second\.yaml:8: .*add `index: true` to its dedup and run it again"),
        (("index: true", "index: true, minhash: {bands: 10}"), r"index was made with bands 10, this step has bands 14"),
    ],
    ids=["no run", "no index", "other bands"],
)
def test_what_is_wrong_is_said_with_its_line(
    folder: Path, tmp_path: Path, before: tuple[str, str] | None, said: str
) -> None:
    if before is not None:
        recipe = folder / "first.yaml"
        recipe.write_text(FIRST.replace(*before), encoding="utf-8")
        run(load(recipe), str(tmp_path / "runs" / "first"), settings=INLINE)
    with pytest.raises(UserError, match=said):
        load(folder / "second.yaml")
