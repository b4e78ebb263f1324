"""Looking things up in the indexes of earlier levels: against dictionaries, and by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.dedup.columns import write_columns
from operators.dedup.earlier.levels import SAME_TEXT, EarlierRun, Levels
from pipeline.commit import Commit, Published
from pipeline.errors import RunFailedError
from pipeline.fingerprint import canonical
from pipeline.ledger import Ledger
from pipeline.work import Task
from tests.operators.dedup.runner import LocalShard

U64 = np.uint64
Records = Sequence[Sequence[int]]


def array(values: Sequence[int]) -> np.ndarray:
    return np.array(values, U64)


def address(shard: int, row: int, level: int = 0) -> int:
    return (level * 2**24 + shard) * 2**32 + row


def part_of(key: int, parts: int) -> int:
    return next(k for k in range(parts) if 2**64 * k // parts <= key < 2**64 * (k + 1) // parts)


def index(
    folder: Path,
    *,
    keys: Records = (),
    hashes: Records = (),
    kept: Records = (),
    added: Records = (),
    shards: Sequence[Sequence[int]] = ((0,),),
    against: Sequence[Sequence[str]] = (),
) -> list[LocalShard]:
    """An index of as many files as there are blocks of shards.

    keys: (key, at). hashes: (high, low, rep, id). kept: (at, bytes). added: (row, added).
    """
    parts = len(shards)
    made = []
    for k, block in enumerate(shards):
        own_keys = [record for record in keys if part_of(record[0], parts) == k]
        own_hashes = sorted(record for record in hashes if part_of(record[0], parts) == k)
        own_kept = sorted(record for record in kept if record[0] >> 32 in block)
        columns: dict[str, dict[str, Any]] = {
            ".keys": {"key": array([r[0] for r in own_keys]), "at": array([r[1] for r in own_keys])},
            ".hashes": {
                "high": array([r[0] for r in own_hashes]),
                "low": array([r[1] for r in own_hashes]),
                "rep": array([r[2] for r in own_hashes]),
                "rep_id": array([r[3] for r in own_hashes]).repeat(2).reshape(-1, 2),
                "equal": np.full(len(own_hashes), 7, np.uint16),
                "similarity": np.full(len(own_hashes), 0.5),
            },
            ".kept": {"at": array([r[0] for r in own_kept]), "bytes": array([r[1] for r in own_kept])},
            ".added": {
                "row": array([r[0] for r in sorted(added[k::parts])]),
                "added": array([r[1] for r in sorted(added[k::parts])]),
            },
        }
        files = {suffix: folder / f"{k}{suffix}" for suffix in columns}
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, arrays in columns.items():
            write_columns(files[suffix], suffix[1:], {}, arrays)
        facts = {"shards": list(block), "against": [list(run) for run in against]}
        made.append(LocalShard(k, files=files, facts=facts))
    return made


def published(folder: Path, shards: Sequence[LocalShard]) -> str:
    """Put an index under a folder as a run does; returns the hash of its manifest."""
    commits = []
    for shard in shards:
        outputs = tuple(
            Published(str(path.relative_to(folder)), suffix, "shards", path.stat().st_size, "")
            for suffix, path in shard.files.items()
        )
        commits.append(Commit(shard.index, {}, outputs, Ledger(), shard.facts, {}).to_json(with_run=False))
    data = json.dumps({"shards": commits}).encode()
    (folder / "manifest.json").write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def earlier(root: Path, name: str, **content: Any) -> EarlierRun:
    """A run whose only dataset is an index."""
    digest = published(root, index(root / name, **content))
    (root / name / "manifest.json").write_bytes((root / "manifest.json").read_bytes())
    return EarlierRun(run=str(root), datasets=(name,), manifests=(digest,))


def levels(*indexes: list[LocalShard], against: Sequence[EarlierRun] = ()) -> Levels:
    inputs = {f"level:{n}": shards for n, shards in enumerate(indexes)}
    return Levels.of(Task("n", 0, inputs, Path()), against)


def test_none() -> None:
    none = levels()
    at = array([5, address(7, 1)])
    assert not none
    assert [len(found) for found in none.buckets(array([1, 2]))] == [0, 0]
    known = none.originals(array([1, 2]), array([0, 0]))
    assert (known.hit.tolist(), len(known.rep), known.rep_id.shape) == ([False, False], 2, (2, 2))
    assert none.is_earlier(at).tolist() == [False, False]
    assert none.rank(at).tolist() == [0, 0]
    assert none.sizes(at).tolist() == [1, 1]
    assert none.gather(array([]), ("id", "slots"))["id"].shape == (0, 2)


KEYS = st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1, 12345 * 2**40])
CONTENT = st.lists(
    st.tuples(st.dictionaries(KEYS, st.integers(1, 64), max_size=6), st.integers(1, 4)), min_size=1, max_size=3
)


@settings(deadline=None, max_examples=40)
@given(content=CONTENT, asked=st.sets(KEYS, max_size=6))
def test_buckets_are_the_first_64_by_level_and_order(
    content: list[tuple[dict[int, int], int]], asked: set[int]
) -> None:
    # Each level has its own shard; under a key the rows descend, so that the order kept is the file's.
    told = [
        [(key, address(number, 1000 - k)) for key in sorted(counts) for k in range(counts[key])]
        for number, (counts, _) in enumerate(content)
    ]
    with TemporaryDirectory() as folder:
        made = [
            index(Path(folder) / str(number), keys=told[number], shards=[(number,), *[()] * (parts - 1)])
            for number, (_, parts) in enumerate(content)
        ]
        keys = sorted(asked)
        position, at = levels(*made).buckets(array(keys))
    expected = [
        (number, found)
        for number, key in enumerate(keys)
        for found in [where for records in told for one, where in records if one == key][:64]
    ]
    assert list(zip(position.tolist(), at.tolist(), strict=True)) == expected


@settings(deadline=None, max_examples=40)
@given(
    content=st.lists(st.dictionaries(st.tuples(KEYS, st.integers(0, 3)), st.integers(0, 9)), min_size=1, max_size=3),
    asked=st.sets(st.tuples(KEYS, st.integers(0, 3))),
    parts=st.integers(1, 3),
)
def test_originals_of_the_oldest_level(
    content: list[dict[tuple[int, int], int]], asked: set[tuple[int, int]], parts: int
) -> None:
    told = [
        [(high, low, address(number, row), row) for (high, low), row in texts.items()]
        for number, texts in enumerate(content)
    ]
    with TemporaryDirectory() as folder:
        made = [
            index(Path(folder) / str(number), hashes=records, shards=[(number,), *[()] * (parts - 1)])
            for number, records in enumerate(told)
        ]
        pairs = sorted(asked)
        known = levels(*made).originals(array([p[0] for p in pairs]), array([p[1] for p in pairs]))
    for k, (high, low) in enumerate(pairs):
        found = [(at, row) for records in told for one, two, at, row in records if (one, two) == (high, low)]
        assert known.hit[k] == bool(found)
        assert known.equal[k] == (7 if found else SAME_TEXT)
        if found:
            assert (int(known.rep[k]), known.rep_id[k].tolist()) == (found[0][0], [found[0][1]] * 2)
            assert known.similarity[k] == 0.5


def test_documents_by_address(tmp_path: Path) -> None:
    old = index(
        tmp_path / "old",
        kept=[(address(0, 3), 30), (address(2, 5), 25), (address(2, 9), 29)],
        added=[(address(0, 3), 4)],
        shards=[(0,), (2,)],
    )
    new = index(
        tmp_path / "new",
        kept=[(address(1, 0), 10)],
        added=[(address(0, 3), 2), (address(0, 3), 3), (address(1, 0), 1)],
        shards=[(1,), ()],
    )
    found = levels(old, new)
    at = array([address(0, 3), address(1, 0), address(2, 9)])
    assert found.gather(at, ("bytes",))["bytes"].tolist() == [30, 10, 29]
    others = array([address(2, 5), address(3, 0), address(1, 0), address(0, 3), address(0, 0, level=1)])
    assert found.is_earlier(others).tolist() == [True, False, True, True, False]
    assert found.rank(others).tolist() == [0, 2, 1, 0, 2]
    assert found.sizes(others).tolist() == [1, 1, 2, 10, 1]
    with pytest.raises(RunFailedError, match="lacks documents that its keys name"):
        found.gather(array([address(2, 6)]), ("bytes",))
    with pytest.raises(ValueError, match="no earlier level"):
        found.gather(array([address(3, 0)]), ("bytes",))


def test_another_runs_addresses_become_ours(tmp_path: Path) -> None:
    """B went against A. With A beside it B's word on A's documents counts; alone, only B's own documents do."""
    a = earlier(
        tmp_path / "a", "i", keys=[(7, address(0, 1))], kept=[(address(0, 1), 11)], hashes=[(5, 0, address(0, 1), 1)]
    )
    b = earlier(
        tmp_path / "b",
        "i",
        keys=[(7, address(0, 2))],
        kept=[(address(0, 2), 22)],
        hashes=[(6, 0, address(0, 1, level=1), 1), (8, 0, address(0, 2), 2)],
        added=[(address(0, 1, level=1), 3), (address(0, 2), 1)],
        against=[a.manifests],
    )
    own = index(tmp_path / "own", keys=[(7, address(0, 0))], kept=[(address(0, 0), 33)])

    both = levels(own, against=[a, b])
    of_a, of_b, of_own = address(0, 1, level=1), address(0, 2, level=2), address(0, 0)
    assert both.buckets(array([7]))[1].tolist() == [of_a, of_b, of_own]
    assert both.rank(array([of_own, of_a, of_b])).tolist() == [2, 0, 1]
    assert both.gather(array([of_own, of_a, of_b]), ("bytes",))["bytes"].tolist() == [33, 11, 22]
    hit, rep, *_ = both.originals(array([5, 6, 7, 8]), array([0, 0, 0, 0]))
    assert (hit.tolist(), rep[hit].tolist()) == ([True, True, False, True], [of_a, of_a, of_b])
    assert both.sizes(array([of_a, of_b])).tolist() == [4, 2]

    alone = levels(against=[b])
    hit, rep, *_ = alone.originals(array([5, 6, 7, 8]), array([0, 0, 0, 0]))
    assert (hit.tolist(), rep[hit].tolist()) == ([False, False, False, True], [address(0, 2, level=1)])
    assert alone.sizes(array([of_a, address(0, 2, level=1)])).tolist() == [1, 2]


def test_an_index_that_changed_or_went_is_noticed(tmp_path: Path) -> None:
    run = earlier(tmp_path / "a", "i", keys=[(7, address(0, 1))])
    manifest = tmp_path / "a" / "i" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    with pytest.raises(RunFailedError, match="not the one that was there when this run was planned"):
        levels(against=[run])
    manifest.unlink()
    with pytest.raises(RunFailedError, match="gone that was there"):
        levels(against=[run])


def test_a_damaged_or_shortened_file_is_noticed(tmp_path: Path) -> None:
    run = earlier(tmp_path / "a", "i", keys=[(7, address(0, 1)), (9, address(0, 2))], shards=[(0,), (), ()])
    found = levels(against=[run])
    for task in range(2):
        found.verify(".keys", task, 2)
    path = tmp_path / "a" / "i" / "0.keys"
    whole = path.read_bytes()
    path.write_bytes(whole[:-8] + b"\1" * 8)
    found.verify(".keys", 1, 2)  # the other task's share
    with pytest.raises(RunFailedError, match="checksum"):
        found.verify(".keys", 0, 2)
    path.write_bytes(whole[:-8])
    with pytest.raises(RunFailedError, match=r"0\.keys is \d+ bytes, its commit says"):
        found.buckets(array([7]))


def test_where_an_index_lies_is_no_part_of_a_fingerprint() -> None:
    def form(**fields: Any) -> Mapping[str, Any]:
        made: Mapping[str, Any] = canonical(EarlierRun(**fields))
        return made

    here = form(run="/a", datasets=("i-1",), manifests=("x",))
    assert here == form(run="s3://b/c", datasets=("i-2",), manifests=("x",))
    assert here != form(run="/a", datasets=("i-1",), manifests=("y",))
