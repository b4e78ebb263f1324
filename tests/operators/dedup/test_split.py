"""Held-out sets by whole clusters, against an O(n^2) twin."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from operators.dedup.split.draw import TRAINING, drawn
from operators.dedup.split.hosts import hosts
from operators.dedup.split.verb import Split
from pipeline.errors import UserError
from tests.operators.dedup import runner, twins

M64 = (1 << 64) - 1
HALVES = {"validation": 0.3, "test": 0.2}


def split(**parameters: Any) -> Split:
    return Split.model_validate({"held_out": HALVES, **parameters})


def identity(number: int) -> bytes:
    return hashlib.md5(b"%d" % number).digest()


# -- twins ----------------------------------------------------------------------------------------------------------


def mixed(value: int) -> int:
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & M64
    value = (value ^ value >> 27) * 0x94D049BB133111EB & M64
    return value ^ value >> 31


def slow_draw(key: bytes, shares: dict[str, float], seed: int) -> str:
    step = 0x9E3779B97F4A7C15
    high, low = int.from_bytes(key[:8], "big"), int.from_bytes(key[8:], "big")
    value = mixed((mixed(mixed(seed + step & M64) ^ high) + step & M64) ^ low)
    total = 0.0
    for name, share in shares.items():
        total += share
        if value / 2**64 < total:
            return name
    return "training"


def slow_split(docs: Sequence[tuple[bytes, str | None]], rule: Split, seed: int) -> dict[bytes, str]:
    """Connect what is equal or shares a band, until nothing changes; then draw by the smallest id."""
    label = {key: key for key, _ in docs}
    size = rule.bands * rule.rows
    signed = {key: twins.sketch_bytes(text, rule.ngram, max(112, size)) for key, text in docs if text is not None}

    def similar(one: tuple[bytes, str | None], other: tuple[bytes, str | None]) -> bool:
        if one[1] is None or other[1] is None:
            return False
        left, right = signed[one[0]], signed[other[0]]
        if left is None or right is None:
            return one[1] == other[1]
        return any(left[k : k + rule.rows] == right[k : k + rule.rows] for k in range(0, size, rule.rows))

    edges = [(a[0], b[0]) for k, a in enumerate(docs) for b in docs[:k] if similar(a, b)]
    changed = True
    while changed:
        changed = False
        for one, other in edges:
            smallest = min(label[one], label[other])
            changed |= {label[one], label[other]} != {smallest}
            label[one] = label[other] = smallest
    sizes = Counter(label.values())
    shares = dict(rule.held_out)
    return {
        key: "training" if sizes[own] > rule.max_cluster else slow_draw(own, shares, seed) for key, own in label.items()
    }


# -- documents ------------------------------------------------------------------------------------------------------


def edited(words: list[str], rate: float, draw: random.Random) -> list[str]:
    return [f"x{draw.getrandbits(20)}" if draw.random() < rate else word for word in words]


def planted(families: int, seed: int) -> list[str | None]:
    """Families of a text, edits of it, edits of edits, exact copies; texts too short to have a shingle; nulls."""
    draw = random.Random(seed)
    texts: list[str | None] = []
    for family in range(families):
        words = [f"w{draw.getrandbits(24)}" for _ in range(draw.randint(20, 90))]
        texts.append(" ".join(words))
        for _ in range(draw.choice([0, 0, 1, 2, 4])):
            words = edited(words, draw.choice([0.01, 0.03, 0.05, 0.1]), draw)
            texts += [" ".join(words)] * draw.choice([1, 1, 2])
        if family % 9 == 0:
            texts += ["too short", f"short {family}", None]
    return texts


def tables(docs: Sequence[tuple[bytes, str | None]], shards: int) -> list[list[pa.Table]]:
    return [
        [runner.documents([text for _, text in docs[k::shards]], ids=[key for key, _ in docs[k::shards]])]
        for k in range(shards)
    ]


def sets_of(rule: Split, shards: Sequence[Sequence[pa.Table]], folder: Path) -> dict[bytes, str]:
    """The set of each document; every one is in exactly one."""
    done = runner.run(rule, shards, folder, "parts")  # pyrefly: ignore[bad-argument-type]
    found: dict[bytes, str] = {}
    for part in ("training", *(name for name, _ in rule.held_out)):
        node = "parts" if part == "training" else f"parts.{part}"
        outcome = runner.Outcome(done.shards, done.results, node)
        for k, shard in enumerate(shards):
            ids: list[Any] = pa.concat_tables(shard)["id"].to_pylist()
            for key, stays in zip(ids, outcome.keep(k), strict=True):
                if stays:
                    assert found.setdefault(key, part) == part
    return found


# -- tests ----------------------------------------------------------------------------------------------------------


def test_draw_against_its_twin() -> None:
    keys = [identity(k) for k in range(500)]
    ids = np.frombuffer(b"".join(keys), ">u8").reshape(-1, 2).astype(np.uint64)
    names = [*HALVES, *["training"] * (TRAINING + 1 - len(HALVES))]
    for seed in (0, 1, 2**62):
        found = [names[k] for k in drawn(ids, tuple(HALVES.items()), seed).tolist()]
        assert found == [slow_draw(key, HALVES, seed) for key in keys]


@pytest.mark.parametrize(
    "rule",
    [split(), split(max_cluster=3), split(bands=8, rows=3, ngram=2, seed=7), split(partitions=3)],
    ids=["default", "small clusters only", "other bands", "three tasks"],
)
def test_equals_the_twin(rule: Split, tmp_path: Path) -> None:
    docs = [(identity(k), text) for k, text in enumerate(planted(60, seed=4))]
    found = sets_of(rule, tables(docs, 3), tmp_path)
    assert found == slow_split(docs, rule, rule.seed or 0)
    assert set(found.values()) == {"training", *HALVES}


def test_shards_and_order_do_not_matter(tmp_path: Path) -> None:
    docs = [(identity(k), text) for k, text in enumerate(planted(80, seed=5))]
    first = sets_of(split(), tables(docs, 1), tmp_path / "one")
    random.Random(6).shuffle(docs)
    assert sets_of(split(partitions=2), tables(docs, 4), tmp_path / "four") == first
    assert sets_of(split(seed=1), tables(docs, 1), tmp_path / "seed") != first


def test_no_near_copy_on_two_sides(tmp_path: Path) -> None:
    docs = [(identity(k), text) for k, text in enumerate(planted(120, seed=8)) if text]
    found = sets_of(split(), tables(docs, 3), tmp_path)
    words = {key: text.split() for key, text in docs}
    ngrams = {key: {tuple(some[k : k + 5]) for k in range(len(some) - 4)} or {key} for key, some in words.items()}
    across, held = Counter(), Counter()
    for k, (key, _) in enumerate(docs):
        for other, _ in docs[:k]:
            shared = len(ngrams[key] & ngrams[other])
            if not shared or {found[key], found[other]} == {"training"}:
                continue
            low = shared * 10 // len(ngrams[key] | ngrams[other])
            held[low] += 1
            across[low] += found[key] != found[other]
    assert sum(held[low] for low in (7, 8, 9, 10)) > 50
    assert not any(across[low] for low in (7, 8, 9, 10))


def test_shares_of_many_documents_without_copies(tmp_path: Path) -> None:
    """20,000 documents of their own: each set within 4 standard deviations of its share."""
    docs = [(identity(k), f"number {k}") for k in range(20_000)]
    rule = split(held_out={"validation": 0.005, "test": 0.05})
    counts = Counter(sets_of(rule, tables(docs, 2), tmp_path).values())
    for name, share in rule.held_out:
        assert abs(counts[name] - 20_000 * share) < 4 * (20_000 * share * (1 - share)) ** 0.5
    assert counts.total() == 20_000


def test_facts_and_held_out_rows(tmp_path: Path) -> None:
    copies = ["one two three four five six seven"] * 4
    docs = [(identity(k), text) for k, text in enumerate([*copies, *(f"alone {k}" for k in range(30))])]
    rule = split(max_cluster=3, held_out={"validation": 0.5})
    done = runner.run(rule, tables(docs, 2), tmp_path, "parts")  # pyrefly: ignore[bad-argument-type]
    sides = [done.results[name] for name in ("parts", "parts.validation")]
    facts = [[result.facts for result in side] for side in sides]
    assert sum(one["clusters"] for side in facts for one in side) == 31
    assert [sum(one["oversized"] for one in side) for side in facts] == [4, 0]
    assert [max(one["largest_cluster"] for one in side) for side in facts] == [4, 1]
    held = [
        (row["id"], row["set"], row["cluster_size"])
        for name in ("parts", "parts.validation")
        for shard in done.shards[name]
        for row in runner.pq.read_table(shard.file(".held_out.parquet")).to_pylist()
    ]
    assert len(held) == 2 * len(set(held)) == 2 * sum(result.ledger.kept.docs for result in sides[1])
    assert {row[1:] for row in held} == {("validation", 1)}
    for training, validation in zip(*sides, strict=True):
        assert training.ledger.dropped["split:validation"] == validation.ledger.kept
        assert validation.ledger.dropped["split:training"] == training.ledger.kept


URLS = [
    ("http://a.org/1", "a.org"),
    ("https://A.org.:8080/2?x=http://b.org/", "a.org"),
    ("https://user:word@a.org", "a.org"),
    ("http://[::1]:80/x", "[::1]"),
    ("http://b.org", "b.org"),
    ("ftp://例え.jp/x", "例え.jp"),
    ("a.org/no/scheme", None),
    ("http:///nothing", None),
    ("", None),
    (None, None),
]


def test_hosts() -> None:
    assert hosts(pa.array([url for url, _ in URLS], pa.string())).to_pylist() == [host for _, host in URLS]


def test_whole_hosts_stay_together(tmp_path: Path) -> None:
    """120 documents of 12 hosts, one of them without URLs; two copies of one text connect host 0 with host 1."""
    docs = [(identity(k), f"text number {k}") for k in range(120)]
    docs[12] = (identity(12), "on two hosts")
    docs[25] = (identity(25), "on two hosts")
    urls = [None if k % 12 == 9 else f"http://host{k % 12}.org/{k}" for k in range(120)]
    shards = [
        [table.append_column("url", pa.array(urls[k::3], pa.string())) for table in shard]
        for k, shard in enumerate(tables(docs, 3))
    ]
    rule = split(by=("host",), partitions=2)
    found = sets_of(rule, shards, tmp_path / "a")
    for host in range(12):
        own = [k for k in range(120) if k % 12 in ({0, 1} if host < 2 else {host})]
        if host == 9:
            assert [found[identity(k)] for k in own] == [slow_draw(identity(k), HALVES, 0) for k in own]
        else:
            smallest = min(identity(k) for k in own)
            assert {found[identity(k)] for k in own} == {slow_draw(smallest, HALVES, 0)}
    assert sets_of(split(by=("host",), memory_gib=2e-7), shards, tmp_path / "b") == found


def test_by_host_without_any_host(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"by: \[host\]"):
        sets_of(split(by=("host",)), tables([(identity(0), "text")], 1), tmp_path)


def test_no_documents(tmp_path: Path) -> None:
    assert sets_of(split(), [], tmp_path / "none") == {}
    assert sets_of(split(), [[runner.documents([])]], tmp_path / "empty") == {}


@pytest.mark.parametrize(
    ("held_out", "words"),
    [
        ({"validation": 0}, "above 0"),
        ({"validation": 1.0}, "below 1"),
        ({"validation": 0.5, "test": 0.5}, "add up to 1"),
        ({}, "1 to 64 sets"),
        ({"signatures": 0.1}, "cannot be called"),
        ({"Test set": 0.1}, "cannot be called"),
    ],
)
def test_wrong_shares_are_refused(held_out: dict[str, float], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        split(held_out=held_out)
