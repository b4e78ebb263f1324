"""Whole runs, inline, whose token shards have planned sizes: what is in them, killed, verified, asked why."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from token_fakes import numbered

from operators.tokenize.shards.reader import TokenShard
from operators.tokenize.shards.verify import verify_dataset
from operators.tokenize.tokens import Tokenize
from pipeline.dataset import Run
from pipeline.errors import RunFailedError
from pipeline.ledger import Count, total
from pipeline.readers.read import Read
from pipeline.report.account import Account
from pipeline.session import Settings, run
from pipeline.trace import follow
from pipeline.whatif.ask import what_if
from pipeline.workflow import Step, Workflow
from pipeline.works import Apply, ReadWork
from tests.pipeline.small_operators import Length
from tests.pipeline.test_runs import committed_payloads
from workflows.commands.verify import verify

ROOT = Path(__file__).parents[3]
PLANS: dict[str, dict[str, Any]] = {
    "streamed": {},
    "sized": {"tokens_per_shard": 300},
    "shuffled": {"tokens_per_shard": 200, "shuffle": {"window_tokens": 900}},
}


def write_inputs(folder: Path, sizes: tuple[int, ...] = (40, 25, 0, 30)) -> None:
    """Files of documents of 0 to 24 words; a document is the same whatever file it lies in."""
    folder.mkdir(parents=True)
    number = 0
    for k, size in enumerate(sizes):
        lines = []
        for _ in range(size):
            text = " ".join(f"w{(7 * number + 13 * j) % 400}" for j in range(11 * number % 25)) or "  "
            lines.append(json.dumps({"id": str(number), "text": text}) + "\n")
            number += 1
        (folder / f"in-{k}.jsonl").write_text("".join(lines), encoding="utf-8")
    numbered(folder / "tokenizer.json", 500)


def workflow(folder: Path, plan: str) -> Workflow:
    read = Read(format="jsonl", paths=("in-*.jsonl",), source="demo")
    verb = Tokenize.model_validate(
        {"tokenizer": {"file": str(folder / "tokenizer.json")}, "keep": ["record_id"], **PLANS[plan]}
    )
    steps = (Step(name="crawl", verb=ReadWork(read=read)), Step(name="tokens", source="crawl", verb=verb))
    return Workflow(name="sized", base_dir=str(folder), steps=steps, seed=5)


def go(folder: Path, out: Path, plan: str, limit: int | None = None) -> Run:
    return run(workflow(folder, plan), str(out), Settings(backend="inline", progress="none", limit=limit))


def inputs_of(runs: dict[str, Run]) -> Path:
    return Path(runs["sized"].storage.uri).parent / "in"


def token_shards(done: Run) -> list[TokenShard]:
    return [TokenShard.of(shard) for shard in done["tokens"].shards()]


def documents(done: Run) -> list[tuple[bytes, list[int]]]:
    return [(bytes(key), s.document(k).tolist()) for s in token_shards(done) for k, key in enumerate(s.ids)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A finished run of each plan over the same inputs."""
    folder = tmp_path_factory.mktemp("sized")
    write_inputs(folder / "in")
    return {plan: go(folder / "in", folder / plan, plan) for plan in PLANS}


def test_the_same_documents_whatever_the_plan(runs: dict[str, Run]) -> None:
    streamed, sized, shuffled = (documents(runs[plan]) for plan in PLANS)
    assert len(streamed) == 91
    assert sized == streamed
    assert shuffled != streamed
    assert sorted(shuffled) == sorted(streamed)


def test_sizes(runs: dict[str, Run]) -> None:
    for plan, most in (("sized", 300), ("shuffled", 200)):
        sizes = [shard.num_tokens for shard in token_shards(runs[plan])]
        assert max(sizes) <= most + 25
        assert min(sizes) >= most / 2 - 25
    assert [len(shard.lengths) for shard in token_shards(runs["streamed"])] == [38, 24, 0, 29]


def test_the_account_is_the_same(runs: dict[str, Run]) -> None:
    ledgers = {plan: done["tokens"].ledger.to_json() for plan, done in runs.items()}
    for ledger in ledgers.values():
        for flow in ledger["operators"]:
            del flow["seconds"]
    assert ledgers["streamed"]["in"][0] == 95
    assert ledgers["streamed"]["dropped"] == {"tokenize:no_tokens": [4, 8, 0]}
    assert ledgers["sized"] == ledgers["shuffled"] == ledgers["streamed"]
    for done in runs.values():
        rows = [row for table in done["tokens"].rejected("dropped") for row in table.to_pylist()]
        assert sorted(row["origin"].rpartition("/")[2].partition("#")[0] for row in rows) == [
            "in-0.jsonl", "in-0.jsonl", "in-1.jsonl", "in-3.jsonl",
        ]  # fmt: skip
    assert total(c.ledger for c in runs["sized"]["tokens.encoded"].commits.values()).kept.docs == 91


def test_how_the_input_is_cut_into_files_does_not_show_in_order(runs: dict[str, Run], tmp_path: Path) -> None:
    write_inputs(tmp_path / "in", (3, 50, 42))
    other = go(tmp_path / "in", tmp_path / "out", "sized")
    names = {
        plan: [s.payload.read_bytes() for s in token_shards(done)]
        for plan, done in (("a", other), ("b", runs["sized"]))
    }
    assert names["a"] == names["b"]


def test_a_document_is_followed_to_its_tokens_and_back(runs: dict[str, Run]) -> None:
    for plan in ("sized", "shuffled"):
        account = Account.of(runs[plan])
        shard = token_shards(runs[plan])[1]
        position = shard.num_tokens // 2
        row = shard.row(shard.document_at(position))
        fates = follow(account, row["id"])
        assert [(fate.step, fate.outcome) for fate in fates] == [("crawl", "kept"), ("tokens", "tokenized")]
        facts = fates[-1].facts
        assert facts["file"].endswith(shard.payload.name)
        assert facts["start"] <= position < facts["start"] + facts["num_tokens"]
        (dropped, *_) = [row for table in runs[plan]["tokens"].rejected("dropped") for row in table.to_pylist()]
        assert [fate.outcome for fate in follow(account, dropped["id"])] == ["kept", "dropped"]


@pytest.mark.parametrize("plan", list(PLANS))
def test_verify_finds_nothing_wrong(runs: dict[str, Run], plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    verify(runs[plan].storage.uri, repair=False)
    shards = len(runs[plan]["tokens"].commits)
    assert (
        f"tokens: {shards} token shards, 91 documents, 1,231 tokens, as every reader expects" in capsys.readouterr().out
    )


def test_a_limit(runs: dict[str, Run], tmp_path: Path) -> None:
    limited = go(inputs_of(runs), tmp_path / "out", "sized", limit=1)
    assert len(documents(limited)) == 38
    assert documents(go(inputs_of(runs), tmp_path / "out", "sized")) == documents(runs["sized"])


def _commit(done: Run, index: int) -> Path:
    return Path(done.storage.uri) / done["tokens"].folder / "commits" / f"{index:08d}.json"


def _other_facts(done: Run) -> None:
    record = json.loads(_commit(done, 0).read_bytes())
    record["facts"]["docs"] = 1
    _commit(done, 0).write_text(json.dumps(record))


def _other_tokenizer(done: Run) -> None:
    record = json.loads(_commit(done, 1).read_bytes())
    record["facts"]["tokenizer_sha256"] = "0" * 64
    _commit(done, 1).write_text(json.dumps(record))


def _other_manifest(done: Run) -> None:
    path = Path(done.storage.uri) / done["tokens"].folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["shards"].pop()
    path.write_text(json.dumps(manifest))


def _twice_a_document(done: Run) -> None:
    """A shard that holds a document of another one, and is sound in itself."""
    record, other = (json.loads(_commit(done, k).read_bytes()) for k in (0, 1))
    record["outputs"], record["facts"] = other["outputs"], other["facts"]
    _commit(done, 0).write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_other_facts, r"its commit says docs=1, it has \d+"),
        (_other_tokenizer, "shards differ in tokenizer_sha256"),
        (_other_manifest, "the manifest names other files than the commits do"),
        (_twice_a_document, "tokens are here, tokens.encoded has 1,231"),
    ],
)
def test_verify_says_what_is_wrong(
    runs: dict[str, Run], tmp_path: Path, change: Callable[[Run], None], words: str
) -> None:
    shutil.copytree(runs["sized"].storage.uri, tmp_path / "out")
    change(Run.open(str(tmp_path / "out")))
    problems = verify_dataset(Run.open(str(tmp_path / "out"))["tokens"])
    assert any(re.search(words, problem) for problem in problems), problems
    with pytest.raises(RunFailedError, match="problems in shards"):
        verify(str(tmp_path / "out"), repair=False)


def test_verify_knows_the_vocabulary(runs: dict[str, Run], tmp_path: Path) -> None:
    shutil.copytree(runs["sized"].storage.uri, tmp_path / "out")
    done = Run.open(str(tmp_path / "out"))
    record = json.loads(_commit(done, 0).read_bytes())
    record["facts"]["vocab_size"] = 300
    _commit(done, 0).write_text(json.dumps(record))
    problems = verify_dataset(Run.open(str(tmp_path / "out"))["tokens"])
    assert any("token 499 in a vocabulary of 300" in problem for problem in problems), problems


def test_what_if_counts_tokens_wherever_they_were_put(tmp_path: Path) -> None:
    """Texts of more than 30 code points would go; a rerun says how many tokens they have."""
    write_inputs(tmp_path / "in", (10, 8, 12))
    was, then = (Length(min_chars=1, max_chars=most) for most in (1000, 30))

    def done(plan: str, length: Length) -> Run:
        flow = workflow(tmp_path / "in", plan)
        steps = (
            flow["crawl"],
            Step(name="short", source="crawl", verb=Apply(operators=(length,))),
            flow["tokens"].model_copy(update={"source": "short"}),
        )
        flow = flow.model_copy(update={"steps": steps})
        return run(flow, str(tmp_path / plan), Settings(backend="inline", progress="none"))

    for plan in ("sized", "shuffled"):
        before = done(plan, was)
        found = what_if(before, {"short": ((was,), (then,))})["tokens"].tally.total("go")
        was_kept, then_kept = (one["tokens"].ledger.kept for one in (before, done(plan, then)))
        assert found == Count(
            was_kept.docs - then_kept.docs, was_kept.bytes - then_kept.bytes, was_kept.tokens - then_kept.tokens
        )
        assert found.tokens > 50


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, "{tests}")
import operators.tokenize.shards.writer as module
from test_sized_runs import go
write, calls = module.ShardWriter._write, 0
def dying(self, rows, tokens):
    global calls
    write(self, rows, tokens)
    calls += 1
    if calls == {nth}:
        self._payload.flush()
        os.kill(os.getpid(), signal.SIGKILL)
module.ShardWriter._write = dying
go(Path("{inputs}"), Path("{out}"), "{plan}")
"""


@pytest.mark.parametrize(("plan", "nth"), [("streamed", 2), ("shuffled", 6)])
def test_a_killed_writer_leaves_nothing_and_the_run_goes_on(
    runs: dict[str, Run], tmp_path: Path, plan: str, nth: int
) -> None:
    """The first three writes are of encoded shards, or of streamed ones, each of the others of a shuffled token shard."""
    code = KILLED.format(tests=Path(__file__).parent, nth=nth, inputs=inputs_of(runs), out=tmp_path / "run", plan=plan)
    killed = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    commits = [json.loads(path.read_bytes()) for path in (tmp_path / "run").glob("tokens*/commits/*.json")]
    assert len(commits) == {"streamed": 1, "shuffled": 6}[plan]
    named = {output["path"] for commit in commits for output in commit["outputs"]}
    there = {str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").glob("tokens*/[sd]*/*")}
    assert there == named
    go(inputs_of(runs), tmp_path / "run", plan)
    assert committed_payloads(tmp_path / "run") == committed_payloads(Path(runs[plan].storage.uri))
    assert not (tmp_path / "run" / ".scratch").exists()
