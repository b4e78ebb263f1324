"""``dedup_substrings`` in a recipe: a run of it, what ``why`` says, and what its rejected rows show."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.dataset import Run
from pipeline.report.account import Account
from pipeline.report.funnel import funnel
from tests.workflows.conftest import Call

RECIPE = """
name: substrings
steps:
  docs:
    read: {format: jsonl, paths: [docs-*.jsonl], source: demo}
  cut:
    from: docs
    dedup_substrings: {min_tokens: 20}
  fewer:
    from: docs
    dedup_substrings: {min_tokens: 20, action: drop, max_duplicate_fraction: 0.3, keep_dropped_text: all}
  marked:
    from: docs
    dedup_substrings: {min_tokens: 20, action: mark}
  clean:
    from: fewer
    apply: [scrub_pii: {types: [email]}]
"""


def words(first: int, count: int) -> str:
    return " ".join(f"item{k}" for k in range(first, first + count))


TEXTS = [
    f"{words(0, 100)}.",
    f"Write to someone@example.org. {words(10, 25)}! The end",  # 25 of 32 words stand in the first
    words(60, 30),
    words(500, 30),
]


def test_a_run_cuts_drops_and_accounts(tmp_path: Path, sluice: Call) -> None:
    for k, text in enumerate(TEXTS):
        (tmp_path / f"docs-{k}.jsonl").write_text(json.dumps({"text": text, "url": f"http://site/{k}"}) + "\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    out = tmp_path / "run"
    command = ("run", tmp_path / "recipe.yaml", "--out", out, "--backend", "inline", "--progress", "none")
    result = sluice(*command)
    assert result.exit_code == 0, result.stderr

    run = Run.open(str(out))
    cut = [text for docs in run["cut"].documents() for text in docs["text"].to_pylist()]
    assert sorted(cut) == sorted([TEXTS[0], "Write to someone@example.org. The end", TEXTS[3]])
    assert run["cut"].ledger.dropped["cut:nothing_left"].docs == 1
    clean = [text for docs in run["clean"].documents() for text in docs["text"].to_pylist()]
    assert sorted(clean) == sorted([TEXTS[0], TEXTS[3]])

    dropped = {row["url"]: row for table in run["fewer"].rejected("dropped") for row in table.to_pylist()}
    assert {row["reason"] for row in dropped.values()} == {"repeated"}
    assert "someone@example.org" not in dropped["http://site/1"]["text"]  # scrubbed by the later step's scrubber
    why = sluice("why", out, "http://site/1")
    assert "DROPPED by fewer: repeated" in why.stdout
    assert "MISSING" not in why.stdout

    # 25 repeated words beside seven: write to someone example org, the end.
    assert f"{'':<16} marked.num_tokens=32  marked.duplicate_tokens=25\n" in why.stdout
    rows = {row.step: row.operator for row in funnel(Account.of(run))}
    assert {rows[step] for step in ("cut", "fewer", "marked")} == {"dedup_substrings"}
    assert (rows["docs"], rows["clean"]) == ("read", "scrub_pii")

    files = sorted((out / run.nodes["cut"]["dataset"] / "repeats").glob("*.parquet"))
    stretches = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert sorted((row["tokens"], row["rep_token"]) for row in stretches) == [(25, 10), (30, 60)]
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.parent.name in ("shards", "commits")}
    assert sluice(*command).exit_code == 0
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())  # nothing was done twice
