"""From documents to a model while the documents are still made: the same curve as with all shards there, and after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from pipeline.dataset import Run
from pipeline.pretrain.data.arrivals import ARRIVALS
from pipeline.session import Settings, run
from tests.operators.tokenize.token_fakes import numbered
from tests.pipeline.small_runs import INLINE
from tests.pipeline.small_trainings import wait_for_file
from workflows.recipe import load

RECIPE = """\
name: streamed
seed: 3
steps:
  crawl:
    read: {{format: jsonl, paths: [inputs/in-*.jsonl], source: small}}
  docs:
    from: crawl
    apply:
      - use: tests.pipeline.small_trainings:Late
        sign: {sign}
  tokens:
    from: docs
    tokenize: {{tokenizer: {{file: tokenizer.json}}}}
"""
MODEL = """\
  model:
    from: tokens
    pretrain:
      sequence_length: 16
      batch_size: 4
      steps: 60
      evaluate_every: 30
      checkpoint_every: 10
      workers: {workers}
      streaming: {{window: 2}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six shards of documents, of which the third comes once ``sign`` is there; a tokenizer whose ids are its words."""
    random = np.random.default_rng(11)
    tmp_path = tmp_path_factory.mktemp("streamed")
    (tmp_path / "inputs").mkdir()
    for shard in range(6):
        rows = []
        for number in range(30):
            words, word = [], int(random.integers(90))
            for _ in range(24 + shard):
                words.append(f"w{word}")
                word = (5 * word + int(random.integers(3))) % 90
            rows.append({"id": f"{shard}/{number}", "text": ("late " if shard == 2 else "") + " ".join(words)})
        (tmp_path / "inputs" / f"in-{shard}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    numbered(tmp_path / "tokenizer.json", 128)
    return tmp_path


def recipe(folder: Path, *, model: bool = True, workers: int = 1) -> Path:
    path = folder / "streamed.yaml"
    path.write_text(RECIPE.format(sign=folder / "sign") + (MODEL.format(workers=workers) if model else ""))
    return path


def curve(out: Path) -> list[dict]:
    (path,) = out.glob("model-*/metrics.jsonl")
    times = ("tokens_per_s", "mfu", "seconds")
    return [
        {name: value for name, value in json.loads(line).items() if not name.startswith(times)}
        for line in path.read_text().splitlines()
    ]


def weights(opened: Run) -> str:
    return opened["model"].commits[0].outputs[0].sha256


def sign_after_a_step(folder: Path, out: Path) -> threading.Thread:
    """Let the third shard come once the model has learned ten steps."""

    def watch() -> None:
        wait_for_file(out / "model-*" / "checkpoints" / "step-00000010")
        (folder / "sign").touch()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


@pytest.fixture(scope="module")
def committed_before(folder: Path) -> Run:
    """A run that makes all token shards, and then a model from them."""
    (folder / "sign").touch()
    run(load(recipe(folder, model=False)), str(folder / "before"), INLINE)
    return run(load(recipe(folder)), str(folder / "before"), INLINE)


@pytest.mark.slow
def test_the_model_learns_while_shards_are_made_and_learns_the_same(folder: Path, committed_before: Run) -> None:
    (folder / "sign").unlink(missing_ok=True)
    thread = sign_after_a_step(folder, folder / "beside")
    # Were the training to wait for the third shard, the third shard would wait for it, in vain.
    beside = run(load(recipe(folder)), str(folder / "beside"), INLINE)
    thread.join()
    assert curve(folder / "beside") == curve(folder / "before")
    assert weights(beside) == weights(committed_before)
    assert beside["model"].folder == committed_before["model"].folder
    told = [
        json.loads(line) for line in (folder / "beside" / beside["model"].folder / ARRIVALS).read_text().splitlines()
    ]
    assert [line.get("shard") for line in told] == [None, 0, 1, 2, 3, 4, 5]
    (first,) = (json.loads(line) for line in _metrics(folder / "beside") if "seconds_to_first_step" in line)
    assert first["step"] == 1
    assert first["seconds_to_first_step"] > 0
    _takedown_finds_its_steps(beside)


def _metrics(out: Path) -> list[str]:
    return next(out.glob("model-*/metrics.jsonl")).read_text().splitlines()


def _takedown_finds_its_steps(opened: Run) -> None:
    """Which steps saw a document, asked as a takedown does, against the documents of every step."""
    from workflows.takedown.seen import _data, _Span, _steps

    corpus, source, window = _data(opened, "model", opened.nodes["model"]["inputs"])
    by_step = {step: source.documents_of(source.rows(step)) for step in range(1, 61)}
    some = sorted({identity for of in by_step.values() for identity in of})[::7]
    spans = []
    for number, shard in enumerate(opened["tokens"].shards()):
        table = shard_table(shard.file(".docs.parquet"))
        spans += [
            _Span(row["id"].hex(), number, k, row["start"], row["num_tokens"])
            for k, row in enumerate(table)
            if row["id"].hex() in some
        ]
    found = _steps((corpus, source, window), spans, 60)
    assert found == {identity: [step for step, of in by_step.items() if identity in of] for identity in found}
    assert len(found) == len(some) > 10


def shard_table(path: Path) -> list[dict]:
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=["id", "start", "num_tokens"]).to_pylist()


@pytest.mark.slow
def test_killed_beside_it_goes_on_with_other_ranks(folder: Path, committed_before: Run) -> None:
    (folder / "sign").unlink(missing_ok=True)
    out = folder / "killed"
    code = """
import sys
from pipeline.session import run
from tests.pipeline.small_runs import INLINE
from workflows.recipe import load
run(load(sys.argv[1]), sys.argv[2], INLINE)
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    driver = subprocess.Popen([sys.executable, "-c", code, recipe(folder), out], env=env)
    try:
        wait_for_file(out / "model-*" / "checkpoints" / "step-00000020")
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    assert not list(out.glob("tokens-*/commits/00000002.json")), "it had not even begun with the third shard"
    (folder / "sign").touch()
    done = run(load(recipe(folder, workers=2)), str(out), INLINE)
    whole, resumed = curve(folder / "before"), curve(out)
    assert [line["step"] for line in resumed] == [line["step"] for line in whole]
    for one, other in zip(resumed, whole, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
    assert done["model"].folder == committed_before["model"].folder


@pytest.mark.slow
@pytest.mark.ray
def test_beside_a_pool_of_ray_workers(folder: Path, committed_before: Run) -> None:
    (folder / "sign").unlink(missing_ok=True)
    thread = sign_after_a_step(folder, folder / "ray")
    done = run(load(recipe(folder)), str(folder / "ray"), Settings(backend="ray", workers=1, progress="none"))
    thread.join()
    assert curve(folder / "ray") == curve(folder / "before")
    assert weights(done) == weights(committed_before)
