"""Signatures as datasketch has them, held against datasketch itself over the same shingles."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
from datasketch import LeanMinHash, MinHash, MinHashLSH

from operators.dedup.full_signatures import MINHASH
from operators.dedup.interchange import lean_minhashes, minhashes, same_hash, shingles
from pipeline.dataset import Run
from pipeline.errors import UserError
from pipeline.session import Settings, run
from tests.operators.dedup import twins
from workflows import load

WORDS = [f"word{k}" for k in range(60)]
TEXTS = {
    "a": " ".join(WORDS),
    "near a": " ".join([*WORDS[:-2], "other", "end"]),
    "half": " ".join([*WORDS[:30], *(f"else{k}" for k in range(30))]),
    "far": " ".join(f"far{k}" for k in range(50)),
    "short": "only four words here",
    "chinese": "今天天气很好，我们一起去公园散步吧，明天再去图书馆看书。",
    "copy of a": " ".join(WORDS),
}
"""Of ``a``: all 56 5-grams; ``near a`` shares 54 of 58 with it, ``half`` 26 of 86."""

RECIPE = """
seed: 0
steps:
  docs:
    read: {{format: jsonl, paths: [docs-*.jsonl], source: demo}}
  unique:
    from: docs
    dedup: {dedup}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    folder = tmp_path_factory.mktemp("interchange")
    rows = [orjson.dumps({"text": text, "url": name}) for name, text in TEXTS.items()]
    (folder / "docs-0.jsonl").write_bytes(b"\n".join(rows[:3]))
    (folder / "docs-1.jsonl").write_bytes(b"\n".join(rows[3:]))

    def make(dedup: str) -> Run:
        recipe = folder / "recipe.yaml"
        recipe.write_text(RECIPE.format(dedup=dedup))
        return run(load(recipe), str(folder / "run"), Settings(backend="inline", progress="none"))

    return make


@pytest.fixture(scope="module")
def full(made: Callable[[str], Run]) -> Run:
    return made("{minhash: {threshold: 0.8, full: true}}")


def names(run: Run) -> dict[bytes, str]:
    found: dict[bytes, str] = {}
    for docs in run["docs"].documents():
        ids: list[Any] = docs["id"].to_pylist()
        found.update(zip(ids, map(str, docs["url"].to_pylist()), strict=True))
    return found


def by_datasketch(text: str) -> MinHash:
    """A signature that none of our code has touched, but for the table that folds characters."""
    one = MinHash(num_perm=112, seed=1, scheme="affine32", hashfunc=lambda value: value)
    one.update_batch(twins.shingles(text, 5))
    return one


def test_every_signature_is_datasketchs_own(full: Run) -> None:
    known = names(full)
    found = {known[identity]: one for identity, one in lean_minhashes(full, "unique", removed_too=True)}
    assert set(found) == set(TEXTS) - {"short"}
    for name, one in found.items():
        assert one == LeanMinHash(by_datasketch(TEXTS[name]))


def test_only_what_the_step_keeps(full: Run) -> None:
    known = names(full)
    kept = sorted(known[identity] for identity, _ in lean_minhashes(full, "unique"))
    assert kept in (["a", "chinese", "far", "half"], ["chinese", "copy of a", "far", "half"])  # by the smaller id


def test_an_index_answers_as_one_that_datasketch_built(full: Run) -> None:
    known = names(full)
    ours, theirs = (MinHashLSH(num_perm=112, params=(14, 8)) for _ in range(2))
    for identity, one in minhashes(full, "unique", removed_too=True):
        ours.insert(known[identity], one)
    for name, text in TEXTS.items():
        if name != "short":
            theirs.insert(name, by_datasketch(text))
    for text in TEXTS.values():
        asked = MinHash(num_perm=112, seed=1, scheme="affine32", hashfunc=same_hash)
        asked.update_batch(shingles(text).tolist())
        assert set(ours.query(asked)) == set(theirs.query(by_datasketch(text)))
    near = by_datasketch(TEXTS["near a"])
    assert set(ours.query(near)) == {"a", "near a", "copy of a"}


def test_estimates_merges_and_goes_on(full: Run) -> None:
    known = names(full)
    found = {known[identity]: one for identity, one in minhashes(full, "unique", removed_too=True)}
    assert found["a"].jaccard(found["near a"]) == pytest.approx(54 / 58, abs=0.1)
    assert found["a"].jaccard(found["half"]) == pytest.approx(26 / 86, abs=0.15)
    both = found["a"].copy()
    both.merge(found["far"])
    union = MinHash(num_perm=112, seed=1, scheme="affine32", hashfunc=lambda value: value)
    union.update_batch([*twins.shingles(TEXTS["a"], 5), *twins.shingles(TEXTS["far"], 5)])
    assert both == union
    further = found["a"].copy()
    for value in shingles(TEXTS["far"]).tolist():
        further.update(value)
    assert further == union
    assert pickle.loads(pickle.dumps(found["a"])) == found["a"]


@pytest.mark.parametrize("ngram", [1, 3, 5])
def test_shingles(ngram: int) -> None:
    for text in TEXTS.values():
        assert shingles(text, ngram).tolist() == twins.shingles(text, ngram)
    assert shingles("").dtype == np.uint32


def test_the_file_can_be_read_without_us(full: Run) -> None:
    (file,) = (o.name for o in full["unique.signatures"].commits[1].outputs if o.suffix == MINHASH)
    table = pq.read_table(full.storage.local_path(file))
    known = names(full)
    by_name = {known[row["id"]]: row["minhash"] for row in table.to_pylist()}
    assert by_name["short"] is None
    assert by_name["far"] == by_datasketch(TEXTS["far"]).hashvalues.tolist()
    metadata = table.schema.field("minhash").metadata or {}
    assert (metadata[b"scheme"], metadata[b"seed"], metadata[b"num_perm"], metadata[b"ngram"]) == (
        b"affine32", b"1", b"112", b"5",
    )  # fmt: skip


def test_a_step_without_whole_signatures_says_what_to_set(made: Callable[[str], Run]) -> None:
    with pytest.raises(UserError, match=r"full: true"):
        next(lean_minhashes(made("{minhash: {threshold: 0.8}}"), "unique"))
    with pytest.raises(UserError, match="no step 'uniqe'"):
        next(lean_minhashes(made("{minhash: {threshold: 0.8}}"), "uniqe"))
