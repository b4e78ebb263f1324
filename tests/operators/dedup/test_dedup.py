"""The whole step over shards: against the O(n^2) rule, and laws of position, partition, repetition."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from operators.dedup.signatures import Signatures
from operators.dedup.sketch import group_names
from operators.dedup.verb import Dedup, MinHash
from pipeline.documents import ID_TYPE
from pipeline.errors import RunFailedError, UserError
from pipeline.fingerprint import digest
from pipeline.work import Extent, Task
from tests.operators.dedup.runner import LocalShard, Outcome, documents, run, run_work
from tests.operators.dedup.twins import Doc, Rule, Verdict, decide

WORDS = [f"w{k}" for k in range(400)]


def corpus(seed: int, size: int = 30) -> list[Doc]:
    """Texts of some families: copies, edits, chains of edits, short texts, empty and null ones."""
    draw = random.Random(seed)
    texts: list[str | None] = ["", "", None, None, "short text", "short text", "short one", "a b c d", "a b c e"]
    while len(texts) < size:
        words = draw.choices(WORDS, k=draw.choice([5, 12, 40, 120]))
        for _ in range(draw.randrange(1, 6)):
            texts.append(" ".join(words))
            if draw.random() < 0.7:
                for _ in range(1 + len(words) // 40):
                    words[draw.randrange(len(words))] = draw.choice(WORDS)
            if draw.random() < 0.3:
                words = words + draw.choices(WORDS, k=len(words) // 10 + 1)
    dates = [draw.choice(["2020-01-02", "2021-05-06", "2021-05-07", None]) for _ in texts]
    return [
        Doc(hashlib.md5(f"{seed}/{k}".encode()).digest(), text, date)
        for k, (text, date) in enumerate(zip(texts, dates, strict=True))
    ]


def tables(docs: list[Doc], cuts: list[int]) -> list[pa.Table]:
    """Documents in batches cut at these positions."""
    table = (
        documents([d.text for d in docs], ids=[d.id for d in docs], dates=[d.date for d in docs])
        if docs
        else documents([], ids=[], dates=[])
    )
    bounds = sorted({0, len(docs), *(cut % (len(docs) + 1) for cut in cuts)})
    return [table.slice(a, b - a) for a, b in itertools.pairwise(bounds)]


def sharded(docs: list[Doc], num_shards: int, cuts: list[int] | None = None) -> list[list[pa.Table]]:
    return [tables(docs[k::num_shards], cuts or []) for k in range(num_shards)]


def outcome(dedup: Dedup, shards: list[list[pa.Table]]) -> dict[bytes, tuple[str, bytes, float, int]]:
    """What every removed document became, by id."""
    with TemporaryDirectory() as folder:
        found = run(dedup, shards, Path(folder))
        consistent(found)
        return {
            row["id"]: (row["kind"], row["rep_id"], row["estimate"], row["cluster_size"]) for row in found.removed()
        }


def consistent(found: Outcome) -> None:
    """The files of a run agree with each other."""
    ids = {
        shard.index: pa.concat_tables(shard.tables)["id"].to_pylist() if shard.tables else []
        for shard in found.shards["docs"]
    }
    removed = found.removed()
    gone = {(row["shard"], row["row"]) for row in removed}
    assert len(gone) == len(removed)
    members: dict[tuple[int, int], int] = {}
    for row in removed:
        rep = row["rep_shard"], row["rep_row"]
        assert rep not in gone
        assert ids[row["shard"]][row["row"]] == row["id"]
        assert ids[rep[0]][rep[1]] == row["rep_id"]
        members[rep] = members.get(rep, 1) + 1
    assert found.sizes() == members
    assert all(row["cluster_size"] == members[row["rep_shard"], row["rep_row"]] for row in removed)
    for shard, keys in ids.items():
        keep = found.keep(shard)
        assert [(shard, row) not in gone for row in range(len(keys))] == keep
        ledger = found.results[found.step][shard].ledger
        assert (ledger.into.docs, ledger.kept.docs) == (len(keep), sum(keep))


def expected(docs: list[Doc], rule: Rule) -> dict[bytes, tuple[str, bytes, float, int]]:
    verdicts = decide(docs, rule)
    sizes: dict[bytes, int] = {}
    for verdict in verdicts.values():
        sizes[verdict.rep] = sizes.get(verdict.rep, 1) + 1

    def estimate(verdict: Verdict) -> float:
        return (verdict.equal / rule.num_perm - 1 / 256) / (1 - 1 / 256)

    return {key: (v.kind, v.rep, estimate(v), sizes[v.rep]) for key, v in verdicts.items()}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("keep", ["longest", "newest", "oldest", "id"])
def test_equals_the_rule_of_all_pairs(seed: int, keep: str) -> None:
    docs = corpus(seed, 60)
    found = outcome(Dedup.model_validate({"keep": [keep]}), sharded(docs, 3))
    assert found == expected(docs, Rule(keep=keep))
    assert {kind for kind, *_ in found.values()} == {"exact", "near"}


@pytest.mark.parametrize(
    ("dedup", "rule"),
    [
        (Dedup(exact=False), Rule(exact=False)),
        (
            Dedup(minhash=MinHash(ngram=2, bands=20, rows=5, threshold=0.5)),
            Rule(ngram=2, bands=20, rows=5, threshold=0.5),
        ),
        (
            Dedup(minhash=MinHash(ngram=1, bands=8, rows=12, threshold=0.9)),
            Rule(ngram=1, bands=8, rows=12, threshold=0.9),
        ),
        (Dedup(minhash=MinHash(threshold=0.05, rows=2)), Rule(threshold=0.05, rows=2)),
    ],
)
def test_equals_the_rule_with_other_parameters(dedup: Dedup, rule: Rule) -> None:
    docs = corpus(9, 80)
    assert outcome(dedup, sharded(docs, 2)) == expected(docs, rule)


def test_exact_alone() -> None:
    docs = corpus(5, 80)
    found = outcome(Dedup(minhash=None), sharded(docs, 4))
    by_text: dict[str, list[Doc]] = {}
    for doc in docs:
        if doc.text is not None:
            by_text.setdefault(doc.text, []).append(doc)
    survivors = {min(group, key=lambda doc: doc.id).id for group in by_text.values()}
    assert set(found) == {doc.id for group in by_text.values() for doc in group} - survivors
    assert found


@settings(deadline=None, max_examples=12)
@given(
    seed=st.integers(0, 10**6),
    order=st.randoms(use_true_random=False),
    num_shards=st.integers(1, 7),
    partitions=st.integers(1, 5),
    cuts=st.lists(st.integers(0, 100), max_size=4),
)
def test_position_and_partition_change_no_verdict(
    seed: int, order: random.Random, num_shards: int, partitions: int, cuts: list[int]
) -> None:
    docs = corpus(seed)
    plain = outcome(Dedup(), sharded(docs, 1))
    order.shuffle(docs)
    # A millionth of a GiB: 16 records at a time.
    other = outcome(Dedup(partitions=partitions, memory_gib=1e-6), sharded(docs, num_shards, cuts))
    assert other == plain


def test_records_alike_in_everything_are_interchangeable() -> None:
    """The same id and text three times: one stays, wherever it lies."""
    table = documents(["one two three four five six"] * 3, ids=[b"i" * 16] * 3)
    with TemporaryDirectory() as folder:
        found = run(Dedup(), [[table.slice(0, 2)], [table.slice(2)]], Path(folder))
        assert found.keep(0) == [True, False]
        assert found.keep(1) == [False]


def test_a_copy_of_what_went_points_to_what_stays(tmp_path: Path) -> None:
    words = " ".join(WORDS[:100])
    texts = [words + " and more", words, words]
    ids = [bytes([k]) * 16 for k in (3, 2, 1)]
    found = run(Dedup(), [[documents(texts, ids=ids)]], tmp_path)
    rows = {row["row"]: (row["kind"], row["rep_row"], row["cluster_size"]) for row in found.removed()}
    assert rows == {1: ("exact", 0, 3), 2: ("near", 0, 3)}
    # 96 of the 98 shingles are shared; 110 of 112 slots are equal: (110 / 112 - 1 / 256) / (1 - 1 / 256).
    assert [row["estimate"] for row in found.removed()] == [pytest.approx(0.98207282913)] * 2


def test_short_texts_are_equal_or_different_and_never_near(tmp_path: Path) -> None:
    texts = ["one two three four", "one two three", "One two three four", "one two three four", "", "", None, None]
    found = run(Dedup(), [[documents(texts)]], tmp_path)
    kept = [text for _, text in found.kept()]
    assert sorted(kept, key=str) == sorted(
        ["one two three four", "one two three", "One two three four", "", None, None], key=str
    )
    assert found.results["unique"][0].facts == {"rows": 8, "exact": 2, "near": 0}


def test_the_account_is_by_source_language_and_kind(tmp_path: Path) -> None:
    table = documents(["aé", "aé", "bb", "bb"], sources=["web", "books", "web", "web"])
    table = table.append_column("language.label", pa.array(["en", None, "zh", "zh"]))
    ledger = run(Dedup(), [[table]], tmp_path).results["unique"][0].ledger.to_json()
    assert ledger["in"] == [4, 10, 0]
    assert ledger["kept"] == [2, 5, 0]
    assert ledger["duplicates"] == {"exact": [2, 5, 0]}
    assert ledger["groups_in"] == {"books|und": [1, 3, 0], "web|en": [1, 3, 0], "web|zh": [2, 4, 0]}
    first = hashlib.md5(b"0").digest() < hashlib.md5(b"1").digest()
    assert ledger["groups_kept"] == {
        "books|und": [int(not first), 3 * (not first), 0],
        "web|en": [int(first), 3 * first, 0],
        "web|zh": [1, 2, 0],
    }


def test_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    shards = sharded(corpus(3, 60), 3)
    first, second = (run(Dedup(partitions=2), shards, tmp_path / name) for name in ("a", "b"))
    assert first.hashes() == second.hashes()
    batched = run(Dedup(partitions=2, memory_gib=1e-6), sharded(corpus(3, 60), 3, [3, 4, 11]), tmp_path / "c")
    assert batched.hashes() == first.hashes()


def test_one_bucket_of_ten_thousand(tmp_path: Path) -> None:
    """10,000 pages of the same boilerplate, half of them with an own tail: edges stay linear, one page stays."""
    words = " ".join(WORDS)
    texts = [words if k % 2 else f"{words} page {k}" for k in range(10_000)]
    table = documents(texts)
    found = run(Dedup(partitions=3, alarm=None), [[table.slice(k * 2500, 2500)] for k in range(4)], tmp_path)
    # Every partition connects the 5,001 rows that are no copies by 5,000 edges, or has no key of theirs.
    assert all(result.facts["edges"] <= 5000 for result in found.results["unique.edges"])
    facts = [result.facts for result in found.results["unique.clusters"]]
    assert sum(fact["affected"] for fact in facts) == 5001
    assert sum(fact["near"] for fact in facts) == 5000
    assert max(fact["largest_component"] for fact in facts) == 5001
    assert sum(sum(found.keep(k)) for k in range(4)) == 1
    assert list(found.sizes().values()) == [10_000]


def test_no_documents_at_all(tmp_path: Path) -> None:
    assert run(Dedup(), [[], [documents([], ids=[])]], tmp_path / "a").keep(0) == []
    assert run(Dedup(partitions=2), [], tmp_path / "b").removed() == []


def test_signatures_of_other_parameters_are_refused(tmp_path: Path) -> None:
    found = run(Dedup(), sharded(corpus(1), 1), tmp_path)
    nodes = {node.name: node.work for node in Dedup(minhash=MinHash(bands=20)).nodes("unique", "docs", 0)}
    task = Task(
        "unique.edges",
        0,
        {"runs": found.shards["unique.runs"], "exact": found.shards["unique.exact"]},
        tmp_path,
    )
    with pytest.raises(RunFailedError, match=r"was made with .*'bands': 14.*this step needs .*'bands': 20"):
        run_work(nodes["unique.edges"], task)


@pytest.mark.parametrize(
    ("node", "suffix"),
    [
        ("exact", ".exact"),
        ("runs", ".sketch"),
        ("edges", ".run"),
        ("", ".copies"),
        ("components", ".edges"),
        ("clusters", ".members"),
        ("", ".sketch"),
        ("", ".near"),
        ("", ".sizes"),
        ("", ".originals"),
    ],
)
def test_a_damaged_file_stops_the_step(tmp_path: Path, node: str, suffix: str) -> None:
    """Every file is checked whole by the first task that reads it all, or by its own among those that share it."""
    found = run(Dedup(partitions=2), sharded(corpus(1), 3), tmp_path)
    paths = [s.files[suffix] for shards in found.shards.values() for s in shards if suffix in s.files]
    raw = bytearray(paths[-1].read_bytes())
    raw[raw.index(b'"xxh3_128":"') + 13] ^= 3
    paths[-1].write_bytes(raw)
    name = f"unique.{node}" if node else "unique"
    (made,) = [made for made in Dedup(partitions=2).nodes("unique", "docs", 0) if made.name == name]
    inputs = {role: found.shards[source] for role, source in made.inputs.items()}
    plans = made.work.tasks({role: Extent(len(shards)) for role, shards in inputs.items()})
    tasks = [
        Task(
            name,
            plan.index,
            {r: inputs[r] if ks is None else [inputs[r][k] for k in ks] for r, ks in plan.needs.items()},
            tmp_path,
        )
        for plan in plans
    ]
    with pytest.raises(RunFailedError, match="checksum"):
        [run_work(made.work, task) for task in tasks]


def test_nodes_and_their_inputs() -> None:
    both = {node.name: dict(node.inputs) for node in Dedup(alarm=None, audit=0).nodes("u", "clean", 7)}
    decided = {"signatures": "u.signatures", "exact": "u.exact", "clusters": "u.clusters"}
    assert both == {
        "u.signatures": {"documents": "clean"},
        "u.exact": {"signatures": "u.signatures"},
        "u.runs": {"signatures": "u.signatures"},
        "u.edges": {"runs": "u.runs", "exact": "u.exact"},
        "u.components": {"edges": "u.edges"},
        "u.clusters": {"signatures": "u.signatures", "exact": "u.exact", "components": "u.components"},
        "u.alarm": {"documents": "clean", **decided},
        "u": {"documents": "clean", **decided, "alarm": "u.alarm"},
    }
    assert [node.name for node in Dedup(exact=False, alarm=None, audit=0).nodes("u", "c", 0)] == [
        "u.signatures",
        "u.runs",
        "u.edges",
        "u.components",
        "u.clusters",
        "u.alarm",
        "u",
    ]
    assert [node.name for node in Dedup(minhash=None, alarm=None).nodes("u", "c", 0)] == [
        "u.signatures",
        "u.exact",
        "u.alarm",
        "u",
    ]
    with pytest.raises(UserError, match="without documents"):
        Dedup().nodes("u", None, 0)


def test_threshold_and_survivor_leave_the_signatures_alone() -> None:
    """Moving them reads no text again."""
    first = Dedup().nodes("u", "c", 0)[0]
    assert Dedup(keep=("newest",), minhash=MinHash(threshold=0.9), memory_gib=4.0).nodes("u", "c", 0)[0] == first
    assert Dedup(minhash=MinHash(ngram=4)).nodes("u", "c", 0)[0] != first


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"exact": False, "minhash": None}, "nothing to do"),
        ({"keep": ["newest", "oldest"]}, "newest or oldest"),
        ({"keep": ["id", "longest"]}, "only at the end"),
        ({"keep": []}, "keep names each value once"),
        ({"minhash": {"bands": 1000, "rows": 8}}, "at most 4096"),
        ({"minhash": {"threshold": 0.0}}, "greater than 0"),
        ({"minhash": {"band": 14}}, "band"),
    ],
)
def test_recipes_that_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Dedup.model_validate(fields)


def test_recipe_form() -> None:
    made = Dedup.model_validate({"exact": True, "minhash": {"ngram": 5, "bands": 14, "rows": 8, "threshold": 0.7}})
    assert made == Dedup()
    assert Dedup.model_validate({"keep": ["newest", "longest", "id"]}).keep == ("newest", "longest", "id")


def test_ids_that_are_no_ids_are_refused(tmp_path: Path) -> None:
    docs = documents(["text"]).set_column(0, "id", pa.array(["k"]))
    sink = Signatures().open(Task("s", 0, {"documents": [LocalShard(0)]}, tmp_path))
    with pytest.raises(UserError, match="16-byte ids without nulls, got string with 0 nulls"):
        sink.add(docs)
    assert docs.schema.field("id").type != ID_TYPE


def test_memory_is_no_part_of_the_fingerprint() -> None:
    def digests(dedup: Dedup) -> list[str]:
        return [digest(node.work) for node in dedup.nodes("unique", "docs", 0)]

    assert digests(Dedup(memory_gib=0.5)) == digests(Dedup(memory_gib=8.0))
    assert digests(Dedup(partitions=2)) != digests(Dedup(partitions=3))


def test_memory_changes_no_file(tmp_path: Path) -> None:
    """What may stay out of the fingerprint: every file is the same, byte by byte."""
    shards = sharded(corpus(3, 60), 3)
    whole, sliced = (run(Dedup(memory_gib=gib), shards, tmp_path / str(gib)).hashes() for gib in (1.0, 1e-5))
    assert whole == sliced


@pytest.mark.parametrize("rule", ["greedy", "transitive"])
def test_memory_changes_no_file_of_epochs(tmp_path: Path, rule: Literal["greedy", "transitive"]) -> None:
    """Documents of earlier epochs come first in a slab as in a whole component."""
    shards = sharded(corpus(4, 80), 4)
    epochs = {"old": (0, 2), "middle": (1,), "new": (3,)}
    dedup = Dedup(minhash=MinHash(bands=50, rows=2), partitions=2, rule=rule, audit=0)
    plain, slabs = (
        run(dedup.model_copy(update={"memory_gib": gib}), shards, tmp_path / str(gib), epochs=epochs)
        for gib in (1.0, 1e-5)
    )
    assert plain.hashes() == slabs.hashes()
    largest = [fact["largest_component"] for fact in facts_of(plain, "unique.new.clusters")]
    assert max(largest) > 1  # at 1e-5 one document is decided at a time


def facts_of(found: Outcome, node: str) -> list[Mapping[str, Any]]:
    return [result.facts for result in found.results[node]]


def test_groups_by_a_plain_language_column() -> None:
    docs = documents(["a", "b"], sources=["s", "s"])
    assert group_names(docs).to_pylist() == ["s|und", "s|und"]
    plain = docs.append_column("language", pa.array(["en", None], pa.string()))
    assert group_names(plain).to_pylist() == ["s|en", "s|und"]
    found = plain.append_column("language.label", pa.array(["de", "zh"], pa.string()))
    assert group_names(found).to_pylist() == ["s|de", "s|zh"]
