"""Removal by counted similarity through the whole step: against all pairs, in slabs, recorded with both numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from operators.dedup.columns import open_columns
from operators.dedup.near.ngram_sets import NGRAMS, NgramReader
from operators.dedup.order import addresses
from operators.dedup.verb import Dedup
from pipeline.work import Epochs, Extent
from tests.operators.dedup.runner import Outcome, documents, run
from tests.operators.dedup.test_dedup import corpus, sharded
from tests.operators.dedup.twins import Doc, shingles, sketch_bytes

BANDS, ROWS, NGRAM = 20, 3, 5


def step(verify: str, threshold: float = 0.5, **fields: Any) -> Dedup:
    near = {"verify": verify, "bands": BANDS, "rows": ROWS, "ngram": NGRAM, "threshold": threshold, "num_perm": 60}
    return Dedup.model_validate({"minhash": near, "audit": 0, **fields})


def slow(docs: list[Doc], verify: str, threshold: float) -> dict[bytes, tuple[bytes, float]]:
    """Near duplicates of documents without exact copies, longest first: id to representative and similarity."""
    removed: dict[bytes, tuple[bytes, float]] = {}
    stays: list[tuple[bytes, bytes, set[int]]] = []
    for doc in sorted(docs, key=lambda doc: (-len((doc.text or "").encode()), doc.id)):
        sketch, own = sketch_bytes(doc.text or "", NGRAM, BANDS * ROWS), set(shingles(doc.text or "", NGRAM))
        if sketch is None:
            continue
        best: tuple[bytes, float] | None = None
        for key, other, theirs in stays:
            if any(sketch[k : k + ROWS] == other[k : k + ROWS] for k in range(0, BANDS * ROWS, ROWS)):
                found = len(own & theirs) / (len(own) if verify == "containment" else len(own | theirs))
                if found >= threshold and (best is None or found > best[1]):
                    best = key, found
        if best:
            removed[doc.id] = best
        else:
            stays.append((doc.id, sketch, own))
    return removed


def near_of(found: Outcome) -> dict[bytes, tuple[bytes, float]]:
    return {row["id"]: (row["rep_id"], row["similarity"]) for row in found.removed() if row["kind"] == "near"}


def distinct(seed: int, size: int) -> list[Doc]:
    return list({doc.text: doc for doc in corpus(seed, size)}.values())


@pytest.mark.parametrize("memory_gib", [1.0, 1e-6], ids=["whole", "slabs"])
@pytest.mark.parametrize("verify", ["jaccard", "containment"])
def test_equals_counting_all_pairs_of_python_sets(tmp_path: Path, verify: str, memory_gib: float) -> None:
    docs = distinct(4, 70)
    found = run(step(verify, memory_gib=memory_gib, partitions=2), sharded(docs, 3), tmp_path)
    expected = slow(docs, verify, 0.5)
    assert near_of(found) == expected
    assert len(expected) > 10
    assert all(0 <= row["estimate"] <= 1 for row in found.removed())


def test_counting_removes_what_the_estimate_misses_and_keeps_what_it_overrates(tmp_path: Path) -> None:
    docs = distinct(7, 70)
    counted = near_of(run(step("jaccard", 0.6), sharded(docs, 1), tmp_path / "j"))
    estimated = run(step("estimate", 0.6), sharded(docs, 1), tmp_path / "e")
    assert all(row["similarity"] is None for row in estimated.removed())
    by_estimate = {row["id"] for row in estimated.removed() if row["kind"] == "near"}
    assert by_estimate - set(counted)
    assert set(counted) - by_estimate
    assert all(value >= 0.6 for _, value in counted.values())


def test_an_excerpt_goes_for_the_whole(tmp_path: Path) -> None:
    words = [f"w{k}" for k in range(60)]
    whole, part = " ".join(words), " ".join(words[:35])
    docs = documents([part, whole], ids=[b"a" * 16, b"b" * 16])
    assert near_of(run(step("jaccard", 0.9), [[docs]], tmp_path / "j")) == {}
    assert near_of(run(step("containment", 0.9), [[docs]], tmp_path / "c")) == {b"a" * 16: (b"b" * 16, 1.0)}
    # The other way round the whole is the one that would go, and 31 of its 56 n-grams are in the part.
    shortest = run(step("containment", 0.9, keep=["shortest"]), [[docs]], tmp_path / "s")
    assert near_of(shortest) == {}
    half = run(step("containment", 0.5, keep=["shortest"]), [[docs]], tmp_path / "h")
    assert near_of(half) == {b"b" * 16: (b"a" * 16, 31 / 56)}


def test_a_copy_of_what_went_has_its_similarity(tmp_path: Path) -> None:
    words = " ".join(f"w{k}" for k in range(100))
    docs = documents(
        [words + " and more", words, words, "alone", "alone"], ids=[bytes([k]) * 16 for k in (3, 2, 1, 5, 4)]
    )
    found = {row["row"]: (row["kind"], row["similarity"]) for row in run(step("jaccard"), [[docs]], tmp_path).removed()}
    assert found == {1: ("exact", 96 / 98), 2: ("near", 96 / 98), 3: ("exact", None)}


def test_sets_on_disk_are_read_back_in_any_order(tmp_path: Path) -> None:
    texts = ["a b c d e f", None, "", "one two three four five " * 3, "a b c d e f"]
    found = run(step("jaccard"), [[documents(texts[:2])], [documents(texts[2:])]], tmp_path)
    shards = found.shards["unique.signatures"]
    made = open_columns(shards[1].file(NGRAMS), "shingles", verify=True)
    assert made["starts"].tolist()[:2] == [0, 0]
    at = np.concatenate([addresses(1, np.array([1])), addresses(0, np.array([0, 1])), addresses(1, np.array([0, 2]))])
    loaded = NgramReader(shards, made.parameters, tmp_path).load(at)
    sets = [loaded.hashes[a:b].tolist() for a, b in zip(loaded.starts, loaded.ends, strict=True)]
    assert sets == [
        sorted(set(shingles(text or "", NGRAM))) for text in (texts[3], texts[0], texts[1], texts[2], texts[4])
    ]
    assert not (tmp_path / "ngrams_of_some").exists()
    nothing = NgramReader(shards, made.parameters, tmp_path).load(at[:0])
    assert len(nothing.starts) == 0


def test_estimates_store_no_ngrams(tmp_path: Path) -> None:
    found = run(step("estimate"), sharded(corpus(1), 1), tmp_path)
    assert NGRAMS not in found.shards["unique.signatures"][0].files


def test_an_epoch_needs_the_ngrams_of_those_before_it() -> None:
    epochs = step("jaccard").model_copy(update={"epochs": ("a", "b", "c")})
    (clusters,) = [node.work for node in epochs.nodes("u", "docs", 0) if node.name == "u.b.clusters"]
    per_shard = Extent(5, {"a": (0, 3), "b": (1,), "c": (2, 4)})
    (plan, *_) = clusters.tasks({"signatures": per_shard, "ngrams": per_shard, "components": Extent(1)})
    assert plan.needs["signatures"] == Epochs(("b",))
    assert per_shard.named(plan.needs["ngrams"]) == (0, 1, 3)


def test_an_epoch_without_shards_changes_nothing(tmp_path: Path) -> None:
    shards = sharded(corpus(3), 3)
    plain = run(step("jaccard"), shards, tmp_path / "plain", epochs={"a": (0, 1), "b": (2,)})
    empty = run(step("jaccard"), shards, tmp_path / "empty", epochs={"a": (0, 1), "none": (), "b": (2,), "last": ()})
    assert empty.kept() == plain.kept()
    assert empty.removed() == plain.removed()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rule": "transitive"}, "rule: transitive compares nothing"),
        ({"against": [{"run": "x", "step": "u"}]}, "index of another run holds no n-grams"),
        ({"minhash": {"verify": "jacard"}}, "verify"),
    ],
)
def test_what_cannot_be_counted_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        step("jaccard", **fields)
