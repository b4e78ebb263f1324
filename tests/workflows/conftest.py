"""A small recipe, its run, and a way to call the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from workflows.cli import app

RECIPE = """\
name: small
steps:
  crawl:
    read: {format: jsonl, paths: ["in-*.jsonl"], source: web}
  clean:
    from: crawl
    apply:
      - use: tests.pipeline.small_operators:Length
        as: length
        min_chars: 3
        max_chars: 400
      - use: tests.pipeline.small_operators:HideDigits
"""

MORE = """\
  unique:
    from: clean
    dedup: {exact: true, minhash: null}
  bpe:
    from: unique
    train_tokenizer: {algorithm: byte_bpe, vocab_size: 384}
  tokens:
    from: unique
    tokenize: {tokenizer: {step: bpe}}
"""

LONG = "the quick brown fox jumps over the lazy dog "

ROWS = (
    ("http://a.example/kept", LONG + "once"),
    ("http://a.example/short", "no"),
    ("http://a.example/\x1b[31mred", LONG + "boom"),  # raises; its URL would colour a terminal
    ("http://a.example/copy", LONG + "once"),
    ("http://a.example/digits", LONG + "1234"),
)

Call = Callable[..., Result]


@pytest.fixture(scope="session")
def sluice() -> Call:
    """Calls the command line; the result has exit_code, stdout and stderr."""

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return call


def write_recipe(folder: Path, text: str = RECIPE, *, shards: int = 1) -> Path:
    """The recipe and its input: the rows in the first file, one more document in each further one."""
    folder.mkdir(parents=True, exist_ok=True)
    first = [json.dumps({"url": url, "text": body}) for url, body in ROWS]
    (folder / "in-0.jsonl").write_text("\n".join(first) + "\n")
    for shard in range(1, shards):
        row = {"url": f"http://b.example/{shard}", "text": f"{LONG}page {shard} of many"}
        (folder / f"in-{shard}.jsonl").write_text(json.dumps(row) + "\n")
    recipe = folder / "small.yaml"
    recipe.write_text(text)
    return recipe


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, sluice: Call) -> tuple[Path, Result]:
    """A run of the whole recipe and what the command said."""
    root = tmp_path_factory.mktemp("finished")
    # One document in twenty may fail unless a recipe says otherwise; here it is one in five.
    text = RECIPE.replace("    apply:", "    expect: {quarantined: 0.5}\n    apply:") + MORE
    recipe = write_recipe(root, text)
    result = sluice("run", recipe, "--out", root / "run", "--backend", "inline", "--progress", "plain")
    assert result.exit_code == 0, result.stderr
    return root / "run", result
