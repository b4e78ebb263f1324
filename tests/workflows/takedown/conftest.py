"""A small run with every kind of dataset, and ways to compare two states of one."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from pipeline.dataset import Run
from tests.workflows.conftest import Call, run_here

BAD, COPY, NEAR, SHORT = (
    "https://Bad.example/page?x=1",
    "http://other.example/copy",
    "http://third.example/near",
    "http://sub.worse.example/short",
)
MIDDLE = "http://host3.example/0/10"
"""An ordinary page, kept to the end."""

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
        min_chars: 8
        max_chars: 40000
  unique:
    from: clean
    dedup: {alarm: null, audit: 10}
  tokens:
    from: unique
    tokenize: {tokenizer: {file: tokenizer.json}}
"""


def write_inputs(folder: Path, *, shards: int = 3, rows: int = 14) -> Path:
    """Pages of made-up words, with a page, a copy of it, nearly a copy, and one that is too short; the recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(5)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9))) for _ in range(2000)]

    def text() -> str:
        return " ".join(rng.choices(words, k=rng.randint(40, 120)))

    secret = text()
    for shard in range(shards):
        pages = [{"url": f"http://host{r % 7}.example/{shard}/{r}", "text": text()} for r in range(rows)]
        if shard == 1:
            pages[3] = {"url": BAD, "text": secret}
            pages[4] = {"url": COPY, "text": secret}
            pages[5] = {"url": SHORT, "text": "tiny"}
        if shard == 2:  # longer, so that it is the one that stays
            pages[2] = {"url": NEAR, "text": secret + " and three more"}
        (folder / f"in-{shard}.jsonl").write_text("".join(json.dumps(page) + "\n" for page in pages), encoding="utf-8")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(words)], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_list(folder: Path, *lines: str) -> Path:
    """A file of URLs, domains or ids."""
    path = folder / f"list-{len(lines)}-{hashlib.sha256(repr(lines).encode()).hexdigest()[:8]}"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def made(call: Call, folder: Path, out: Path, *, recipe: str = RECIPE) -> Path:
    """Run a recipe over a folder of inputs."""
    path = folder / f"{hashlib.sha256(recipe.encode()).hexdigest()[:8]}.yaml"
    path.write_text(recipe, encoding="utf-8")
    run_here(call, path, out)
    return out


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory, sluice: Call) -> Path:
    """The finished run; tests work on copies of it."""
    folder = write_inputs(tmp_path_factory.mktemp("takedown"))
    out = made(sluice, folder, folder / "run")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return out


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, with its recipe and inputs at their old place."""
    return Path(shutil.copytree(original, tmp_path / "run"))


def again(call: Call, original: Path, run: Path, *more: str) -> str:
    """Give the recipe once more to a copy of a run."""
    return run_here(call, original.parent / "recipe.yaml", run, *more, progress="plain").stderr


def urls(run: Path, step: str) -> list[str]:
    """URLs of the documents of a step, in order."""
    return [str(url) for table in Run.open(str(run))[step].documents() for url in table["url"].to_pylist()]


def state(run: Path, *but: str) -> dict[str, str]:
    """Every file with its hash."""
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name not in (*but, "run.lock", "driver.jsonl")
    }


def files(run: Path, step: str, suffix: str) -> list[bytes]:
    """Files of a step's shards that end so, by shard."""
    return [
        (run / output.name).read_bytes()
        for _, commit in sorted(Run.open(str(run))[step].commits.items())
        for output in commit.outputs
        if output.suffix == suffix and output.folder == "shards"
    ]
