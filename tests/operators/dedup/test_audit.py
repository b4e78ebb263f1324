"""The audit: a sample that hangs on ids alone, true similarities against Python sets, bounds on what is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from operators.dedup.checks import audit
from operators.dedup.checks.audit import Audit, excerpts
from operators.dedup.verb import Dedup
from operators.scrub.pii import ScrubPii
from pipeline.work import Task
from tests.operators.dedup.runner import LocalShard, Outcome, documents, run
from tests.operators.dedup.test_dedup import corpus, sharded
from tests.operators.dedup.twins import shingles

HOSTILE = "\0 \u202e مرحبا بالعالم 👩\u200d👩\u200d👧 中文字符 e\u0301 " * 8


def table(found: Outcome) -> list[dict[str, Any]]:
    return pq.read_table(found.shards["unique.audit"][0].file(".audit.parquet")).to_pylist()


def test_every_number_equals_that_of_python_sets(tmp_path: Path) -> None:
    docs = corpus(3, 80)
    found = run(Dedup(audit=500), sharded(docs, 3), tmp_path)
    pairs = table(found)
    near = {row["id"]: row for row in found.removed() if row["kind"] == "near"}
    assert {pair["id"] for pair in pairs} == set(near)
    assert len(pairs) > 5
    text = {doc.id: doc.text or "" for doc in docs}
    jaccards = []
    for pair in pairs:
        a, b = set(shingles(text[pair["id"]], 5)), set(shingles(text[pair["rep_id"]], 5))
        assert (pair["jaccard"], pair["containment"]) == (len(a & b) / len(a | b), len(a & b) / len(a))
        assert pair["rep_containment"] == len(a & b) / len(b)
        assert (pair["rep_id"], pair["estimate"]) == (near[pair["id"]]["rep_id"], near[pair["id"]]["estimate"])
        jaccards.append(pair["jaccard"])
    facts = found.results["unique.audit"][0].facts
    errors = np.array([pair["estimate"] for pair in pairs]) - np.array(jaccards)
    assert facts["pairs"] == len(pairs) == sum(facts["histogram"])
    assert facts["below_half"] == np.mean([value < 0.5 for value in jaccards])
    assert (facts["mean_error"], facts["mean_absolute_error"]) == (errors.mean(), np.abs(errors).mean())


def test_the_sample_hangs_on_ids_alone(tmp_path: Path) -> None:
    docs = corpus(8, 120)
    few, other, all_of_them = (
        table(run(Dedup(audit=n), sharded(order, shards), tmp_path / f"{n}-{shards}"))
        for n, order, shards in ((6, docs, 2), (6, docs[::-1], 5), (1000, docs, 1))
    )
    assert len(few) == 6
    assert few == other == all_of_them[:6]
    assert [pair["id"] for pair in all_of_them] != sorted(pair["id"] for pair in all_of_them)


def again(found: Outcome, pairs: int, folder: Path, **replaced: Any) -> list[dict[str, Any]]:
    """The audit alone over other documents."""
    (node,) = [n for n in Dedup(audit=pairs).nodes("unique", "docs", 0) if n.name == "unique.audit"]
    folder.mkdir()
    inputs = {role: replaced.get(role, found.shards[name]) for role, name in node.inputs.items()}
    assert isinstance(node.work, Audit)
    result = node.work.run(Task("unique.audit", 0, inputs, folder))
    return pq.read_table(result.outputs[0].path).to_pylist()


def test_of_a_source_few_shards_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = corpus(8, 120)
    found = run(Dedup(), sharded(docs, 40), tmp_path / "run")
    source = [LocalShard(shard.index, shard.tables, source=True) for shard in found.shards["docs"]]
    whole, some = again(found, 50, tmp_path / "a"), again(found, 50, tmp_path / "b", documents=source)
    shard_of = {key: shard.index for shard in source for one in shard.tables for key in one["id"].to_pylist()}
    opened = {shard_of[pair[name]] for pair in some for name in ("id", "rep_id")}
    assert 2 < len(opened) <= 16 < len({shard_of[p[name]] for p in whole for name in ("id", "rep_id")})
    assert some == [pair for pair in whole if pair in some]
    assert some[0] == whole[0]
    monkeypatch.setattr(audit, "_MOST_BYTES", 1)
    assert again(found, 50, tmp_path / "c") == whole[:1]


def test_hostile_texts_and_pairs_without_urls(tmp_path: Path) -> None:
    docs = documents([HOSTILE + "end", HOSTILE, "", None])
    (pair,) = table(run(Dedup(), [[docs]], tmp_path))
    assert (pair["url"], pair["rep_url"]) == (None, None)
    short, long = set(shingles(HOSTILE, 5)), set(shingles(HOSTILE + "end", 5))
    assert short < long
    assert (pair["jaccard"], pair["containment"]) == (len(short) / len(long), 1.0)
    assert HOSTILE.endswith(pair["excerpt"])
    assert pair["rep_excerpt"] == pair["excerpt"] + "end"


def test_excerpts_begin_shortly_before_the_difference() -> None:
    same = "".join(chr(0x4E00 + k % 500) for k in range(3000))
    found = excerpts(f"{same}😀left{same}", f"{same}😀right{same}")
    assert found.left.startswith(same[-199:] + "😀left")
    assert found.right.startswith(same[-199:] + "😀right")
    assert len(found.left) == len(found.right) == audit.EXCERPT_CHARS
    assert excerpts("", "") == audit.Excerpts("", "")
    assert excerpts("a", "a" * 1000) == audit.Excerpts("a", "a" * audit.EXCERPT_CHARS)


def test_excerpts_are_scrubbed_and_numbers_are_not(tmp_path: Path) -> None:
    words = " ".join(f"w{k}" for k in range(80))
    docs = documents([f"{words} write to jane@example.org now", f"{words} write to john@example.org now"])
    found = run(Dedup(), [[docs]], tmp_path / "run")
    (node,) = [n for n in Dedup().nodes("unique", "docs", 0) if n.name == "unique.audit"]
    scrubbing = node.work.model_copy(update={"scrubbers": (ScrubPii(types=("email",)),)})
    assert isinstance(scrubbing, Audit)
    (tmp_path / "a").mkdir()
    inputs = {role: found.shards[name] for role, name in node.inputs.items()}
    (pair,) = pq.read_table(scrubbing.run(Task("a", 0, inputs, tmp_path / "a")).outputs[0].path).to_pylist()
    assert "@example.org" not in pair["excerpt"] + pair["rep_excerpt"]
    assert "write to" in pair["excerpt"]
    assert pair["jaccard"] < 1.0
    (plain,) = table(found)
    assert "jane@example.org" in plain["excerpt"] + plain["rep_excerpt"]


def test_nothing_removed_gives_an_empty_table(tmp_path: Path) -> None:
    for name, shards in (("a", [[documents(["a b c d e f"])]]), ("b", [[]]), ("c", [])):
        found = run(Dedup(), shards, tmp_path / name)
        assert table(found) == []
        assert found.results["unique.audit"][0].facts == {"pairs": 0, "histogram": [0] * 20}


def test_it_is_left_out_where_it_has_no_use_and_nothing_waits_for_it() -> None:
    def names(**fields: Any) -> dict[str, dict[str, str]]:
        return {node.name: dict(node.inputs) for node in Dedup.model_validate(fields).nodes("u", "docs", 0)}

    assert "u.audit" not in names(audit=0)
    assert "u.audit" not in names(minhash=None)
    both = names()
    assert both["u.audit"] == {"documents": "docs", "signatures": "u.signatures", "clusters": "u.clusters"}
    assert all("u.audit" not in inputs.values() for inputs in both.values())
    assert pa.schema(audit.AUDIT_SCHEMA).names[:4] == ["id", "url", "rep_id", "rep_url"]
    with pytest.raises(ValidationError):
        Dedup.model_validate({"audit": -1})
