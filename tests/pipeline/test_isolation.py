"""A document that kills its process costs itself, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.apply import Chain
from pipeline.errors import RunFailedError
from pipeline.isolation import Limits, run_isolated
from pipeline.readers.read import Read
from pipeline.session import Settings
from pipeline.workflow import Expect, Step, Workflow
from pipeline.works import Apply, ReadWork
from tests.pipeline.deadly_operators import Deadly, DeadlyTogether
from tests.pipeline.small_operators import LosesRows, Upper, Vowels
from tests.pipeline.small_runs import go, texts

LIMITS = Limits(cpu_s=0.1, cpu_s_per_document=0.01, memory_gib=1)


def docs(*found: str) -> pa.Table:
    return pa.table(
        {
            "id": pa.array([f"{k:016d}".encode() for k in range(len(found))], pa.binary(16)),
            "text": pa.array(found, pa.large_string()),
            "source": ["small"] * len(found),
            "origin": [f"file#{k}" for k in range(len(found))],
        }
    )


def test_without_deaths_it_is_the_chain_itself(tmp_path: Path) -> None:
    chain = Chain((Vowels(), Deadly(), Upper()))
    table = docs("aba", "xyz", "error", "gone", "eee")
    outcome, plain = run_isolated(chain, table, tmp_path, LIMITS), chain.run(table)
    assert outcome.kept.equals(plain.kept)
    assert outcome.dropped.equals(plain.dropped)
    assert outcome.quarantined.equals(plain.quarantined)
    assert outcome.kept["text"].to_pylist() == ["ABA", "EEE"]


def test_the_culprits_alone_go_to_quarantine(tmp_path: Path) -> None:
    table = docs("aba", "xyz", "a segv here", "a memory here", "gone", "a loop here")
    outcome = run_isolated(Chain((Vowels(), Deadly(), Upper()), "all"), table, tmp_path, LIMITS)
    assert outcome.kept["text"].to_pylist() == ["ABA"]
    assert outcome.dropped["reason"].to_pylist() == ["consonants", "nothing_left"]
    rows = outcome.quarantined.to_pylist()
    assert [(row["operator"], row["origin"], row["excerpt"]) for row in rows] == [
        ("deadly", "file#2", None), ("deadly", "file#3", None), ("deadly", "file#5", None)
    ]  # fmt: skip
    causes = ("ended by SIGSEGV", "asked for more than 1 GiB of memory", "more than 0.11 s of CPU")
    assert [row["error"] for row in rows] == [f"killed its process 3 times of 3: {cause}" for cause in causes]
    assert (outcome.ledger.into.docs, outcome.ledger.kept.docs) == (6, 1)
    assert outcome.ledger.into.bytes == sum(map(len, table["text"].to_pylist()))


def test_a_kill_from_outside_leaves_no_trace(tmp_path: Path) -> None:
    once = tmp_path / "once"
    once.touch()
    table = docs("aba", "xyz", "eee")
    outcome = run_isolated(Chain((Vowels(), Deadly(once=str(once)))), table, tmp_path / "scratch", LIMITS)
    assert not once.exists()
    assert outcome.quarantined.num_rows == 0
    assert outcome.kept.equals(Chain((Vowels(), Deadly(once=str(once)))).run(table).kept)


def test_documents_that_die_together_and_not_alone_are_kept(tmp_path: Path) -> None:
    outcome = run_isolated(Chain((DeadlyTogether(),)), docs("fire 1", "a", "b", "fire 2"), tmp_path, LIMITS)
    assert outcome.kept["text"].to_pylist() == ["fire 1", "a", "b", "fire 2"]
    assert outcome.quarantined.num_rows == 0


def test_what_is_wrong_with_the_code_is_raised(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match="a map keeps both"):
        run_isolated(Chain((LosesRows(),)), docs("a", "b"), tmp_path, LIMITS)


@pytest.mark.ray
def test_a_run_goes_on_without_the_culprit(tmp_path: Path) -> None:
    found = ["one", "two", "three", "this one will loop for ever"]
    lines = [json.dumps({"id": str(k), "text": text}) for k, text in enumerate(found)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    limits = Limits(cpu_s=1, cpu_s_per_document=0.01)
    flow = Workflow(
        name="deadly",
        base_dir=str(tmp_path),
        steps=(
            Step(name="crawl", verb=ReadWork(read=Read(format="jsonl", paths=("in.jsonl",), source="small"))),
            Step(
                name="clean",
                source="crawl",
                verb=Apply(operators=(Deadly(),), limits=limits),
                expect=Expect(quarantined=0.3),
            ),
        ),
    )
    done = go(flow, tmp_path / "run", Settings(backend="ray", progress="none", workers=1))
    assert texts(done, "clean") == found[:3]
    (quarantined,) = pq.read_table(next((tmp_path / "run").glob("clean-*/quarantine/*.parquet"))).to_pylist()
    assert quarantined["error"] == "killed its process 3 times of 3: more than 1.01 s of CPU"
