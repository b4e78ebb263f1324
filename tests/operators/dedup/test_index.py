"""The index: what is in it, what is refused, what is noticed."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from operators.dedup.columns import open_columns
from operators.dedup.verb import Dedup, MinHash
from operators.kernels.minhash import band_keys
from pipeline.errors import RunFailedError, UserError
from pipeline.work import Extent
from tests.operators.dedup import crawls
from tests.operators.dedup.crawls import Crawl, deduplicated, families, removed, verdicts
from tests.operators.dedup.runner import Outcome, documents, run
from tests.operators.dedup.twins import Rule

INDEXED: Mapping[str, Any] = {"index": True}


def records(found: Outcome, suffix: str, *names: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for shard in found.shards["unique.index"]:
        file = open_columns(shard.file(suffix), suffix[1:], verify=True)
        rows += zip(*(file[name].tolist() for name in names), strict=True)
    return rows


@pytest.mark.parametrize("memory_gib", [1.0, 1e-6])
def test_what_an_index_holds(memory_gib: float, tmp_path: Path) -> None:
    """Every column, from the texts, the verdicts and the sketches."""
    texts = families(1, [60])[0]
    ids = [hashlib.md5(b"%d" % k).digest() for k in range(60)]
    order = sorted(range(60), key=lambda k: (-len(texts[k]), ids[k]))
    tables = [[documents([texts[k] for k in range(s, 60, 3)], ids=[ids[k] for k in range(s, 60, 3)])] for s in range(3)]
    found = run(Dedup(index=True, partitions=2, memory_gib=memory_gib), tables, tmp_path)
    place = {k: (k % 3) << 32 | k // 3 for k in range(60)}
    gone = {row["shard"] << 32 | row["row"]: row for row in found.removed()}
    stays = [k for k in order if place[k] not in gone]

    sketches = [open_columns(shard.file(".sketch"), "sketch") for shard in found.shards["unique.signatures"]]
    kept = records(found, ".kept", "at", "bytes", "slots")
    assert kept == [
        (place[k], len(texts[k]), sketches[k % 3]["slots"][k // 3].tolist())
        for k in sorted(stays, key=place.__getitem__)
    ]
    # By key and then in content order, which is the order of ``stays``.
    keys = [
        (int(key), rank, place[k])
        for rank, k in enumerate(stays)
        if sketches[k % 3]["shingles"][k // 3]
        for key in band_keys(sketches[k % 3]["slots"][k // 3 : k // 3 + 1], 14, 8)[0]
    ]
    assert records(found, ".keys", "key", "at") == [(key, at) for key, _, at in sorted(keys)]

    hashes = {text: (at, rep) for text, (at, rep) in _survivors(texts, place, gone).items()}
    told = {
        (high, low): (rep, bytes(np.array(rep_id, ">u8").tobytes()))
        for high, low, rep, rep_id in records(found, ".hashes", "high", "low", "rep", "rep_id")
    }
    by_hash = {tuple(sketches[k % 3]["hash"][k // 3].tolist()): hashes[texts[k]] for k in range(60)}
    assert told == {key: (at, ids[rep]) for key, (at, rep) in by_hash.items()}

    added: dict[int, int] = {}
    for row, count in records(found, ".added", "row", "added"):
        added[row] = added.get(row, 0) + count
    assert added == {rep: sum(_rep(row) == rep for row in gone.values()) for rep in map(_rep, gone.values())}


def _rep(row: Mapping[str, Any]) -> int:
    return row["rep_shard"] << 32 | row["rep_row"]


def _survivors(
    texts: list[str], place: Mapping[int, int], gone: Mapping[int, Mapping[str, Any]]
) -> dict[str, tuple[int, int]]:
    """For each text the address and the number of the document that stays for it."""
    number = {at: k for k, at in place.items()}
    found = {}
    for k, text in enumerate(texts):
        rep = _rep(gone[place[k]]) if place[k] in gone else place[k]
        found[text] = (rep, number[rep])
    return found


def test_partitions_and_memory_change_no_lookup(tmp_path: Path) -> None:
    texts = families(2, [30, 30])
    paths = [Crawl(name, own).write(tmp_path / "in", 4) for name, own in zip("ab", texts, strict=True)]
    found = []
    for name, cut in (("x", {}), ("y", {"partitions": 5, "memory_gib": 1e-4})):
        deduplicated({"paths": paths[0]}, {**INDEXED, **cut}, tmp_path / name)
        against = [{"run": str(tmp_path / name), "step": "unique"}]
        found.append(verdicts(deduplicated({"paths": paths[1]}, {"against": against}, tmp_path / f"{name}-new")))
    assert found[0] == found[1]
    assert found[0]


@pytest.mark.parametrize("remove", [True, False], ids=["deduplicated", "as it is"])
def test_remove_from_b_what_is_in_a(tmp_path: Path, remove: bool) -> None:  # a parameter of the test
    texts = families(6, [30, 30])
    a = deduplicated(
        {"paths": Crawl("a", texts[0]).write(tmp_path / "in")}, {**INDEXED, "remove": remove}, tmp_path / "a"
    )
    against = [{"run": str(tmp_path / "a"), "step": "unique"}]
    paths = Crawl("b", texts[1]).write(tmp_path / "in")
    b = deduplicated({"paths": paths}, {"against": against}, tmp_path / "b")
    if remove:
        assert len(crawls.kept(a)) < 30
        assert verdicts(a, b) == crawls.expected([crawls.documents(a), crawls.documents(b)], Rule())
        return
    assert len(crawls.kept(a)) == 30
    # Each document of A is a level of its own, none of them removed: what B loses to any of them it loses here.
    alone = {doc.text: doc for doc in sorted(crawls.documents(a), key=lambda doc: doc.id)}
    for doc in crawls.documents(b):
        rep = removed(b).get(doc.id)
        hits = [one for one in alone.values() if crawls.expected([[one], [doc]], Rule())]
        assert bool(hits) <= (rep is not None)
        if rep is not None and rep.level == 1:
            assert rep.rep in {one.id for one in crawls.documents(a)}
    again = deduplicated({"paths": paths}, {"against": against}, tmp_path / "b2")
    assert verdicts(again) == verdicts(b)


def refused(folder: Path, dedup: Mapping[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        deduplicated({"paths": Crawl("b", ["x"]).write(folder / "in")}, dedup, folder / "refused")
    return str(caught.value)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("indexed")
    texts = families(7, [20])[0]
    deduplicated({"paths": Crawl("a", texts).write(folder / "in")}, INDEXED, folder / "a")
    return folder


@pytest.mark.parametrize(
    ("dedup", "said"),
    [
        ({"minhash": {"ngram": 4}}, "was made with ngram 5, this step has ngram 4"),
        ({"minhash": {"bands": 10}}, "was made with bands 14, this step has bands 10"),
        ({"minhash": {"rows": 7}}, "was made with rows 8, this step has rows 7"),
        ({"minhash": {"num_perm": 128}}, "was made with num_perm 112, this step has num_perm 128"),
        ({"keep": [{"highest": "score"}]}, r"lacks what `keep` looks at here: value\.score"),
    ],
    ids=["ngram", "bands", "rows", "num_perm", "keep"],
)
def test_other_parameters_are_refused_by_name(
    indexed: Path, tmp_path: Path, dedup: Mapping[str, Any], said: str
) -> None:
    against = [{"run": str(indexed / "a"), "step": "unique"}]
    message = refused(tmp_path, {**dedup, "against": against})
    assert said.replace("\\", "") in message
    assert str(indexed / "a") in message


def test_what_is_not_there_is_said_with_the_remedy(indexed: Path, tmp_path: Path) -> None:
    there = {"run": str(indexed / "a"), "step": "unique"}
    assert "no run at" in refused(tmp_path, {"against": [{"run": str(tmp_path / "none"), "step": "unique"}]})
    assert "no dedup step 'uniqe'; its dedup steps: unique" in refused(
        tmp_path, {"against": [{**there, "step": "uniqe"}]}
    )
    assert "twice" in refused(tmp_path, {"against": [there, there]})

    paths = Crawl("c", ["one two three four five six"]).write(tmp_path / "in")
    plain = {"run": str(tmp_path / "c"), "step": "unique"}
    deduplicated({"paths": paths}, {}, tmp_path / "c")
    assert "add `index: true` to its dedup and run it again" in refused(tmp_path, {"against": [plain]})
    texts_read = (tmp_path / "c").glob("unique.signatures-*/commits/*")
    before = {path: path.stat().st_mtime_ns for path in texts_read}
    deduplicated({"paths": paths}, INDEXED, tmp_path / "c")
    assert before
    assert {path: path.stat().st_mtime_ns for path in before} == before  # no text was read for it
    found = deduplicated(
        {"paths": Crawl("d", ["one two three four five six"]).write(tmp_path / "in")},
        {"against": [plain]},
        tmp_path / "d",
    )
    assert [one.level for one in removed(found).values()] == [1]
    (manifest,) = (tmp_path / "c").glob("unique.index-*/manifest.json")
    manifest.unlink()
    assert "is not finished; run it to its end" in refused(tmp_path, {"against": [plain]})


def test_an_index_without_exact_hashes_or_keys(tmp_path: Path) -> None:
    paths = Crawl("a", ["one two three four five six"]).write(tmp_path / "in")
    deduplicated({"paths": paths}, {**INDEXED, "exact": False}, tmp_path / "near")
    deduplicated({"paths": paths}, {**INDEXED, "minhash": None}, tmp_path / "exact")
    near, exact = ({"run": str(tmp_path / name), "step": "unique"} for name in ("near", "exact"))
    assert "was made with exact False, this step has exact True" in refused(tmp_path, {"against": [near]})
    assert "this step has fold" in refused(tmp_path, {"against": [exact]})
    copy = Crawl("b", ["one two three four five six"]).write(tmp_path / "in")
    for name, verb in (("near", {"exact": False}), ("exact", {"minhash": None})):
        against = [{"run": str(tmp_path / name), "step": "unique"}]
        found = deduplicated({"paths": copy}, {**verb, "against": against}, tmp_path / f"of-{name}")
        assert [one.kind for one in removed(found).values()] == [name]


@pytest.mark.parametrize("suffix", [".keys", ".hashes", ".kept", ".added"])
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_index_is_noticed(indexed: Path, tmp_path: Path, suffix: str, damage: str) -> None:
    shutil.copytree(indexed / "a", tmp_path / "a")
    (path,) = (tmp_path / "a").glob(f"unique.index-*/shards/*{suffix}")
    raw = bytearray(path.read_bytes())
    if damage == "changed":
        raw[raw.index(b'"xxh3_128":"') + 13] ^= 3
    path.write_bytes(raw[:-1] if damage == "cut" else raw)
    against = [{"run": str(tmp_path / "a"), "step": "unique"}]
    paths = Crawl("b", families(7, [20, 12])[1]).write(tmp_path / "in")
    with pytest.raises(RunFailedError, match="its commit says" if damage == "cut" else "checksum"):
        deduplicated({"paths": paths}, {"against": against}, tmp_path / "b")


def test_the_other_run_in_an_object_store(tmp_path: Path) -> None:
    texts = families(9, [15, 15])
    paths = [Crawl(name, own).write(tmp_path / "in") for name, own in zip("ab", texts, strict=True)]
    found = []
    for place in (str(tmp_path / "a"), "memory://index-tests/a"):
        deduplicated({"paths": paths[0]}, INDEXED, place)
        against = [{"run": place, "step": "unique"}]
        found.append(deduplicated({"paths": paths[1]}, {"against": against}, tmp_path / f"b{len(found)}"))
    assert verdicts(found[0]) == verdicts(found[1])
    assert 1 in {one.level for one in removed(found[1]).values()}


def test_moving_the_other_run_changes_no_fingerprint(indexed: Path, tmp_path: Path) -> None:
    def datasets(run: Path) -> dict[str, str]:
        against = [{"run": str(run), "step": "unique"}]
        paths = Crawl("b", families(7, [20, 5])[1]).write(tmp_path / "in")
        found = deduplicated({"paths": paths}, {"against": against}, tmp_path / "b")
        return {name: node["dataset"] for name, node in found.nodes.items()}

    moved = tmp_path / "elsewhere"
    first = datasets(indexed / "a")
    (indexed / "a").rename(moved)
    try:
        assert datasets(moved) == first
    finally:
        moved.rename(indexed / "a")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"remove": False}, "add index: true"),
        ({"remove": False, "index": True, "against": [{"run": "a", "step": "b"}]}, "leave one of them out"),
        ({"against": [{"run": "a"}]}, "step"),
        ({"against": [{"run": "a", "step": "b", "epoch": "c"}]}, "epoch"),
    ],
    ids=["nothing to do", "no use", "no step", "unknown"],
)
def test_recipes_that_are_refused(fields: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Dedup.model_validate(fields)


def test_nodes_of_epochs() -> None:
    dedup = Dedup(minhash=MinHash(), alarm=None, audit=0).model_copy(update={"epochs": ("a", "b", "c")})
    nodes = {node.name: node for node in dedup.nodes("u", "docs", 0)}
    assert dict(nodes["u.a.exact"].inputs) == {"signatures": "u.signatures"}
    levels = {"level:0": "u.a.index", "level:1": "u.b.index"}
    for name in ("exact", "edges", "clusters"):
        assert levels.items() <= dict(nodes[f"u.c.{name}"].inputs).items()
    assert "u.c.index" not in nodes
    assert "u.c.index" in {node.name for node in dedup.model_copy(update={"index": True}).nodes("u", "docs", 0)}
    decided = {role for role in nodes["u"].inputs if role.startswith(("exact", "clusters"))}
    assert decided == {f"{role}:{label}" for role in ("exact", "clusters") for label in "abc"}
    work = nodes["u"].work
    shards = {"documents": Extent(3, {"a": (0, 2), "b": (1,)}), "signatures": Extent(3), "exact:a": Extent(1)}
    needs = [set(plan.needs) for plan in work.tasks({**shards, "exact:b": Extent(1)})]
    own = {"documents", "signatures"}
    assert needs == [own | {"exact:a"}, own | {"exact:b"}, own | {"exact:a"}]
    with pytest.raises(UserError, match="shard 0 is of no epoch"):
        work.tasks({**shards, "documents": Extent(3)})
