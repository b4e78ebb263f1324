"""Small recipes, their runs, and a way to call the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from workflows.cli import app
from workflows.models import find_model

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

TRAINED = """\
name: trained
steps:
  crawl:
    read: {format: jsonl, paths: ["in.jsonl"], source: web}
  bpe:
    from: crawl
    train_tokenizer: {algorithm: byte_bpe, vocab_size: 384}
  tokens:
    from: crawl
    tokenize: {tokenizer: {step: bpe}}
  model:
    from: tokens
    pretrain: {sequence_length: 32, steps: 20, workers: 1, batch_size: 2}
  small_model:
    from: tokens
    pretrain: {sequence_length: 32, steps: 2, workers: 1, batch_size: 2}
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


def run_here(call: Call, recipe: Path, out: Path, *more: object, progress: str = "none", exit_code: int = 0) -> Result:
    """Run a recipe in this process; a test that wants another end than 0 names it."""
    result = call("run", recipe, "--out", out, "--backend", "inline", "--progress", progress, *more)
    assert result.exit_code == exit_code, result.stderr
    return result


def run_of_rows(call: Call, folder: Path, recipe: str, rows: Iterable[Mapping[str, object]]) -> Path:
    """The run of a recipe that reads in.jsonl beside it."""
    (folder / "in.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    (folder / "recipe.yaml").write_text(recipe)
    run_here(call, folder / "recipe.yaml", folder / "run")
    return folder / "run"


def fox(number: int) -> str:
    return f"the quick brown fox jumps over lazy dog number {number} and sleeps for {number % 7} hours"


def copy_model(named: str, folder: Path) -> Path:
    """The files of a run's model as Hugging Face has them."""
    found = find_model(named)
    assert found.tokenizer is not None
    for path, name in (
        (found.weights, "model.safetensors"),
        (found.config, "config.json"),
        (found.tokenizer, "tokenizer.json"),
    ):
        shutil.copy(path, folder / name)
    return folder


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
    return root / "run", run_here(sluice, recipe, root / "run", progress="plain")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, sluice: Call) -> Path:
    """A run with two models of one tokenizer."""
    rows = ({"url": f"http://a.example/{number}", "text": fox(number)} for number in range(40))
    return run_of_rows(sluice, tmp_path_factory.mktemp("trained"), TRAINED, rows)
