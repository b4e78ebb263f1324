"""A takedown from a run with every kind of step: rows stay in line, the trainer's steps are right, others are told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.dataset import Dataset, Run
from pipeline.errors import UserError
from pipeline.pairs import representative
from pipeline.pretrain.data.batches import Batches
from pipeline.pretrain.data.corpus import open_corpus
from pipeline.pretrain.work import Pretrain
from pipeline.session import Settings
from pipeline.session import run as run_workflow
from tests.workflows.conftest import Call
from tests.workflows.takedown.conftest import (
    BAD,
    COPY,
    MIDDLE,
    NEAR,
    SHORT,
    made,
    state,
    urls,
    write_inputs,
    write_list,
)
from workflows.recipe import load

RECIPE = """\
name: all
steps:
  crawl:
    read: {format: jsonl, paths: ["in-*.jsonl"], source: web}
  first:
    from: crawl
    dedup: {alarm: null, minhash: null}
  clean:
    from: first
    apply:
      - use: tests.pipeline.small_operators:Length
        as: length
        min_chars: 8
        max_chars: 40000
  lines:
    from: clean
    dedup_lines: {}
  parts:
    from: lines
    dedup_substrings: {}
  unique:
    from: parts
    dedup: {alarm: null}
  sets:
    from: unique
    split: {held_out: {test: 0.2}}
  tokens:
    from: sets
    tokenize: {tokenizer: {file: tokenizer.json}, tokens_per_shard: 6000, shuffle: {seed: 1}}
  packed:
    from: tokens
    pack: {sequence_length: 128, policy: best_fit}
  mixed:
    from: tokens
    mix: {by: source, tokens: 1000, upsample: {"*": 1}}
  model:
    from: tokens
    pretrain: {preset: tiny, sequence_length: 32, steps: 4, workers: 1, batch_size: 2, checkpoint_every: 2, evaluate_every: 4}
"""
EXPORTS = (
    ("tokens", "nanogpt"),
    ("packed", "parquet"),
    ("mixed", "megatron"),
    ("clean", "jsonl"),
    ("unique", "parquet"),
)
AGAIN = ("packed-", "mixed-")
IN_SHARD_2 = "http://host4.example/2/4"
STEPS = ("first", "clean", "lines", "parts", "unique", "sets.test", "sets")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, sluice: Call) -> Path:
    """The finished run, exported in every way."""
    folder = write_inputs(tmp_path_factory.mktemp("all"))
    run = made(sluice, folder, folder / "run", recipe=RECIPE)
    for step, to in EXPORTS:
        exported = sluice("export", run, step, "--to", to, "--out", folder / "exported" / step)
        assert exported.exit_code == 0, exported.stderr
    return run


@pytest.fixture(scope="module")
def after(whole: Path, tmp_path_factory: pytest.TempPathFactory, sluice: Call) -> tuple[Path, dict[str, Any]]:
    """A copy of it after a takedown, and what that said."""
    folder = tmp_path_factory.mktemp("after")
    run = Path(shutil.copytree(whole, folder / "run"))
    (run / "logs" / "driver.jsonl").open("ab").write(b'{"event": "note", "about": "%s"}\n' % MIDDLE.encode())
    done = sluice("takedown", run, "--urls", write_list(folder, MIDDLE, NEAR, SHORT, IN_SHARD_2), "--yes", "--json")
    assert done.exit_code == 0, done.stderr + done.stdout
    return run, json.loads(done.stdout)


def test_it_is_gone_from_every_step_and_nothing_else_is(whole: Path, after: tuple[Path, dict[str, Any]]) -> None:
    run, told = after
    assert told["proof"]["absent"]
    assert {page["url"] for page in told["documents"]} == {MIDDLE, NEAR, SHORT, IN_SHARD_2}
    for step in STEPS:
        left = [url for url in urls(whole, step) if url not in (MIDDLE, NEAR, SHORT, IN_SHARD_2)]
        assert urls(run, step) == left, step


def beside(dataset: Dataset) -> list[tuple[int, dict[str, Any]]]:
    """Rows of files that name rows of the step's input."""
    return [
        (shard.index, row)
        for shard in dataset.shards()
        for output in shard.spec.outputs
        if output.suffix in (".removed.parquet", ".held_out.parquet") or output.folder == "repeats"
        for row in pq.read_table(dataset.run.storage.local_path(output.name)).to_pylist()
    ]


def test_every_number_of_a_row_names_its_document(after: tuple[Path, dict[str, Any]]) -> None:
    opened = Run.open(str(after[0]))
    checked = 0
    for step in ("first", "parts", "unique", "sets.test", "sets"):
        base = opened[opened.nodes[step]["inputs"]["documents"]].shards()
        for index, row in beside(opened[step]):
            assert base[index].take([row["row"]], ["id"])["id"].to_pylist() == [row["id"]]
            if any(row.get("rep_id", b"")):
                place = representative(opened, step, row).read(("id",))
                assert place == {"id": row["rep_id"]}
            checked += 1
        for shard in opened[step].shards() if opened[step].kind == "selection" else ():
            assert sum(len(table) for _, table in shard.rows()) == len(shard._keep())
    assert checked > 5
    for step in STEPS:
        for commit in opened[step].commits.values():
            commit.ledger.check(step)


def test_the_steps_of_the_trainer_are_those_whose_windows_held_it(
    whole: Path, after: tuple[Path, dict[str, Any]]
) -> None:
    (model,) = after[1]["models"]
    opened = Run.open(str(whole))
    work = Pretrain.model_validate({**opened.facts["recipe"]["model"]["Pretrain"], "seed": opened.facts["seed"]})
    job = work.job(opened["tokens"].shards(), whole)
    corpus = open_corpus(job.data, held_out_fraction=job.config.held_out_fraction, seed=job.config.seed)
    batches = Batches(corpus, job.config)
    touched = {step: corpus.documents_of(batches.rows(step), 33) for step in range(1, 5)}
    assert model["trained_to"] == 4
    assert model["steps"]
    for identity, steps in model["steps"].items():
        assert steps == [step for step, ids in touched.items() if identity in ids]


def test_exports_and_the_log_are_told_of(after: tuple[Path, dict[str, Any]]) -> None:
    run, told = after
    assert {(one["step"], one["to"], one["certain"]) for one in told["exports"]} == {(*one, True) for one in EXPORTS}
    assert told["log_lines"] == 1
    lines = (run / "logs" / "driver.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[-1]) == {"event": "line taken down", "request": 1}


@pytest.mark.parametrize(
    ("url", "steps"),
    [(None, {step for step, _ in EXPORTS}), (BAD, {"clean"}), (COPY, set()), (SHORT, set())],
    ids=["kept", "near", "copy", "dropped"],
)
def test_exports_of_steps_that_let_it_go_are_not_told(
    whole: Path, tmp_path: Path, sluice: Call, url: str | None, steps: set[str]
) -> None:
    if url is None:
        url = pq.read_table(Run.open(str(whole))["tokens"].shards()[0].file(".docs.parquet"))["url"][0].as_py()
    told = json.loads(sluice("takedown", whole, "--urls", write_list(tmp_path, url), "--dry-run", "--json").stdout)
    assert len(told["documents"]) == 1
    assert {one["step"] for one in told["exports"]} == steps


def test_the_run_goes_on_with_what_was_forgotten_and_nothing_else(
    whole: Path, after: tuple[Path, dict[str, Any]], tmp_path: Path, sluice: Call
) -> None:
    run = Path(shutil.copytree(after[0], tmp_path / "run"))
    before = state(run, "report.html", "run.json")
    assert set(after[1]["shards"]["made_by_the_next_run"]) == {"packed", "mixed"}
    flow = load(next(iter(whole.parent.glob("*.yaml"))))
    run_workflow(flow, str(run), Settings(backend="inline", progress="none"))
    now = state(run, "report.html", "run.json")
    assert {name: now.get(name) for name in before if not name.startswith(AGAIN)} == {
        name: value for name, value in before.items() if not name.startswith(AGAIN)
    }
    assert {name.partition("-")[0] for name in now.keys() - before.keys()} <= {"packed", "mixed"}
    done = sluice("verify", run)
    assert done.exit_code == 0, done.stdout + done.stderr


def test_a_training_under_way_is_not_gone_on_with_over_other_shards(
    whole: Path, after: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(after[0], tmp_path / "run"))
    (model,) = run.glob("model-*")
    shutil.rmtree(model / "commits")
    (model / "manifest.json").unlink()
    flow = load(next(iter(whole.parent.glob("*.yaml"))))
    with pytest.raises(UserError, match="as after a takedown"):
        run_workflow(flow, str(run), Settings(backend="inline", progress="none"))


def test_shards_that_a_limit_leaves_out_are_searched_too(whole: Path, tmp_path: Path, sluice: Call) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    facts = json.loads((run / "run.json").read_text())
    for node in facts["nodes"].values():
        node["num_shards"] = 1
    (run / "run.json").write_text(json.dumps(facts))
    done = sluice("takedown", run, "--urls", write_list(tmp_path, IN_SHARD_2), "--yes", "--json")
    assert done.exit_code == 0, done.stderr
    assert np.all([page["url"] == IN_SHARD_2 for page in json.loads(done.stdout)["documents"]])
    assert IN_SHARD_2.encode() not in b"".join(
        p.read_bytes() for p in run.rglob("*.json") if p.name != "suppressed.json"
    )


def test_without_the_input_what_was_copied_is_taken_down_and_what_bitmaps_count_is_refused(
    tmp_path: Path, sluice: Call
) -> None:
    folder = write_inputs(tmp_path / "in")
    copied = made(sluice, folder, tmp_path / "copied")
    selected = 'name: s\nsteps:\n  crawl:\n    read: {format: jsonl, paths: ["in-*.jsonl"], source: web}\n'
    selected += "  unique:\n    from: crawl\n    dedup: {alarm: null, minhash: null}\n"
    uncopied = made(sluice, folder, tmp_path / "uncopied", recipe=selected)
    told = sluice("takedown", uncopied, "--urls", write_list(tmp_path, NEAR), "--yes")
    assert told.exit_code == 0, told.stderr
    assert NEAR not in urls(uncopied, "unique")
    for path in folder.glob("in-*.jsonl"):
        path.unlink()
    told = sluice("takedown", copied, "--urls", write_list(tmp_path, MIDDLE), "--yes")
    assert told.exit_code == 0, told.stderr
    assert MIDDLE not in urls(copied, "unique")
    refused = sluice("takedown", uncopied, "--urls", write_list(tmp_path, MIDDLE), "--yes")
    assert (refused.exit_code, "bring the file back" in refused.stderr) == (2, True)
