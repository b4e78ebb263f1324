"""The barrier on signatures made by hand: slabs, shares of tasks, hot buckets, the transitive rule."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.dedup.columns import open_columns, write_columns
from operators.dedup.near.clusters import Clusters, own_components, whole_components
from operators.dedup.near.components import Components
from operators.dedup.near.edges import BandEdges
from operators.dedup.near.runs import BandRuns, Bands
from operators.dedup.order import Order
from operators.dedup.signatures import Signatures
from operators.kernels.survivors import survivors
from pipeline.errors import RunFailedError
from pipeline.work import Extent, ShardWork, Task
from tests.operators.dedup.runner import LocalShard

Slots = npt.NDArray[np.uint8]
Decision = tuple[int, int, int]
"""Of a removed document: its representative, equal slots, the size of the cluster."""


@dataclass
class Barrier:
    """The nodes after the signatures, over slots (N, P) dealt out to shards."""

    bands: int = 4
    rows: int = 2
    threshold: float = 0.6
    rule: str = "greedy"
    partitions: int | None = None
    memory_gib: float = 1.0
    num_shards: int = 1
    facts: dict[str, list[Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def decide(self, slots: Slots, num_bytes: npt.NDArray[np.uint64]) -> dict[int, Decision]:
        """What becomes of documents; their number is their id, the longest stays."""
        with TemporaryDirectory() as folder:
            return self._decide(Path(folder), slots, num_bytes)

    def _decide(self, folder: Path, slots: Slots, num_bytes: npt.NDArray[np.uint64]) -> dict[int, Decision]:
        signed = Signatures(exact=False, ngram=1, num_perm=slots.shape[1])
        runs = BandRuns(signatures=signed, bands=Bands(bands=self.bands, rows=self.rows))
        cut: dict[str, Any] = {"memory_gib": self.memory_gib, "partitions": self.partitions}
        sketches = [LocalShard(k, files={".sketch": folder / f"{k}.sketch"}) for k in range(self.num_shards)]
        number = np.arange(len(slots))
        for k, shard in enumerate(sketches):
            own = number % self.num_shards == k
            columns = {
                "id": np.stack([np.zeros(int(own.sum()), np.uint64), number[own].astype(np.uint64)], axis=1),
                "bytes": num_bytes[own],
                "shingles": np.ones(int(own.sum()), np.uint32),
                "slots": slots[own],
            }
            write_columns(shard.file(".sketch"), "sketch", signed.parameters, columns)
        made = {"signatures": sketches}
        made["runs"] = self._run(runs, made, folder / "runs", "signatures")
        made["edges"] = self._run(BandEdges(runs=runs, **cut), made, folder / "edges", "runs")
        components = Components(memory_gib=self.memory_gib)
        made["components"] = self._run(components, made, folder / "components", "edges")
        rule: Any = {"threshold": self.threshold, "rule": self.rule, "order": Order()}
        clusters = Clusters(runs=runs, **rule, **cut)
        removed = self._run(clusters, made, folder / "clusters", "signatures", "components")
        return self._read(removed)

    def _run(self, work: ShardWork, made: dict[str, list[LocalShard]], folder: Path, *roles: str) -> list[LocalShard]:
        inputs = {role: made[role] for role in roles}
        out = []
        self.facts[folder.name] = []
        for plan in work.tasks({role: Extent(len(shards)) for role, shards in inputs.items()}):
            scratch = folder / str(plan.index)
            scratch.mkdir(parents=True)
            given = {r: inputs[r] if ks is None else [inputs[r][k] for k in ks] for r, ks in plan.needs.items()}
            result = work.run(Task(folder.name, plan.index, given, scratch))
            files = {output.suffix: output.path for output in result.outputs}
            assert sorted(scratch.iterdir()) == sorted(files.values()), "scratch files are left"
            self.files |= {f"{folder.name}/{plan.index}{suffix}": path.read_bytes() for suffix, path in files.items()}
            self.facts[folder.name].append(result.facts)
            out.append(LocalShard(plan.index, files=files, facts=result.facts))
        return out

    def _read(self, clusters: list[LocalShard]) -> dict[int, Decision]:
        found: dict[int, Decision] = {}
        sizes: dict[int, int] = {}
        for shard in clusters:
            near = open_columns(shard.file(".near"), "near", verify=True)
            kept = open_columns(shard.file(".sizes"), "sizes", verify=True)
            row, rep = (self._numbers(near[name]) for name in ("row", "rep"))
            assert near["row"].tolist() == sorted(near["row"].tolist())
            assert rep == near["rep_id"][:, 1].tolist()
            found |= dict(zip(row, zip(rep, near["equal"].tolist(), near["size"].tolist(), strict=True), strict=True))
            sizes |= dict(zip(self._numbers(kept["row"]), kept["size"].tolist(), strict=True))
        assert sizes == {rep: size for rep, _, size in found.values()}
        return found

    def _numbers(self, at: npt.NDArray[np.uint64]) -> list[int]:
        return ((at & np.uint64(2**32 - 1)) * self.num_shards + (at >> np.uint64(32))).astype(int).tolist()


def obvious(slots: Slots, num_bytes: npt.NDArray[np.uint64], barrier: Barrier) -> dict[int, Decision]:
    """The rule in plain Python, one document after the other, 64 of each bucket."""
    buckets: dict[tuple[int, bytes], list[int]] = {}
    gone: dict[int, tuple[int, int]] = {}
    for doc in sorted(range(len(slots)), key=lambda doc: (-int(num_bytes[doc]), doc)):
        keys = [(b, slots[doc, b * barrier.rows : (b + 1) * barrier.rows].tobytes()) for b in range(barrier.bands)]
        others = list(dict.fromkeys(other for key in keys for other in buckets.get(key, [])))
        equal = {other: int((slots[other] == slots[doc]).sum()) for other in others}
        near = [o for o in others if (equal[o] / slots.shape[1] - 1 / 256) / (1 - 1 / 256) >= barrier.threshold]
        if near:
            rep = min(near, key=lambda other: (-equal[other], -int(num_bytes[other]), other))
            gone[doc] = rep, equal[rep]
            continue
        for key in keys:
            if len(buckets.setdefault(key, [])) < 64:
                buckets[key].append(doc)
    members = {rep: 1 + sum(other == rep for other, _ in gone.values()) for rep, _ in gone.values()}
    return {doc: (rep, equal, members[rep]) for doc, (rep, equal) in gone.items()}


def chained(seed: int, size: int, num_slots: int = 10, letters: int = 4) -> tuple[Slots, npt.NDArray[np.uint64]]:
    """Documents that grow out of each other, so that buckets connect most of them; lengths that often tie."""
    draw = np.random.default_rng(seed)
    slots = draw.integers(0, letters, (size, num_slots)).astype(np.uint8)
    for k in range(1, size):
        if draw.random() < 0.8:
            slots[k] = slots[draw.integers(0, k)]
            changed = draw.integers(0, num_slots, draw.integers(0, 5))
            slots[k, changed] = draw.integers(0, letters, len(changed))
    return slots, draw.integers(1, 20, size).astype(np.uint64)


@settings(deadline=None, max_examples=12)
@given(
    seed=st.integers(0, 10**6),
    size=st.integers(1, 120),
    memory_gib=st.sampled_from([2e-6, 8e-6, 3e-5, 1.0]),
    partitions=st.integers(1, 4),
    num_shards=st.integers(1, 4),
)
def test_slabs_and_shares_equal_the_obvious_rule(
    seed: int, size: int, memory_gib: float, partitions: int, num_shards: int
) -> None:
    slots, num_bytes = chained(seed, size)
    barrier = Barrier(memory_gib=memory_gib, partitions=partitions, num_shards=num_shards)
    assert barrier.decide(slots, num_bytes) == obvious(slots, num_bytes, barrier)


@pytest.mark.parametrize("memory_gib", [1.0, 1e-4])
def test_full_buckets_take_the_same_64_in_slabs(memory_gib: float) -> None:
    """500 documents in one bucket that are otherwise their own, then copies of the 60th, the 70th and the last."""
    draw = np.random.default_rng(7)
    slots = draw.integers(0, 200, (500, 10)).astype(np.uint8)
    slots[:, :2] = 9
    late = slots[[59, 69, 499]].copy()
    late[:, 3::2] += 1  # no other bucket is shared; six slots of ten are
    slots = np.concatenate([slots, late])
    num_bytes = np.arange(1000, 1000 - len(slots), -1).astype(np.uint64)
    barrier = Barrier(memory_gib=memory_gib, threshold=0.5)
    found = barrier.decide(slots, num_bytes)
    assert found == {500: (59, 6, 2)}
    assert found == obvious(slots, num_bytes, barrier)


def test_memory_changes_no_byte() -> None:
    slots, num_bytes = chained(3, 400, letters=3)
    barriers = [Barrier(memory_gib=gib, partitions=3, num_shards=2) for gib in (1.0, 1e-4, 2e-5)]
    for barrier in barriers:
        assert barrier.decide(slots, num_bytes)
    assert barriers[0].files == barriers[1].files == barriers[2].files
    assert max(facts["largest_component"] for facts in barriers[0].facts["clusters"]) > 300


@pytest.mark.parametrize("memory_gib", [1.0, 0.05])
def test_a_bucket_of_two_hundred_thousand(memory_gib: float) -> None:
    """Signatures that are all the same, of texts that are not: one comparison each, and an edge each."""
    slots = np.full((200_000, 112), 7, np.uint8)
    barrier = Barrier(bands=14, rows=8, memory_gib=memory_gib, num_shards=4, partitions=2)
    found = barrier.decide(slots, np.full(len(slots), 5, np.uint64))
    assert len(found) == 199_999
    assert set(found.values()) == {(0, 112, 200_000)}
    assert sorted({facts["edges"] for facts in barrier.facts["edges"]} - {0}) == [199_999]


def test_a_bucket_of_unlike_documents_is_linear() -> None:
    """One shared band, nothing else: 64 comparisons each and not 20,000, and nobody goes."""
    slots = np.random.default_rng(1).integers(0, 256, (20_000, 112)).astype(np.uint8)
    slots[:, :8] = 1
    assert Barrier(bands=14, rows=8, memory_gib=0.01).decide(slots, np.ones(len(slots), np.uint64)) == {}


@pytest.mark.parametrize("memory_gib", [1.0, 1e-5])
@pytest.mark.parametrize("partitions", [1, 3])
def test_transitive_keeps_the_first_of_what_buckets_connect(memory_gib: float, partitions: int) -> None:
    slots, num_bytes = chained(11, 150, letters=12)
    barrier = Barrier(rule="transitive", memory_gib=memory_gib, partitions=partitions, num_shards=3)
    found = barrier.decide(slots, num_bytes)
    connected = {k: {k} for k in range(len(slots))}
    for a in range(len(slots)):
        for b in range(a):
            if any((slots[a, k : k + 2] == slots[b, k : k + 2]).all() for k in range(0, 8, 2)):
                joined = connected[a] | connected[b]
                connected |= dict.fromkeys(joined, joined)
    expected = {}
    for doc, group in connected.items():
        rep = min(group, key=lambda other: (-int(num_bytes[other]), other))
        if rep != doc:
            expected[doc] = rep, int((slots[doc] == slots[rep]).sum()), len(group)
    assert found == expected
    assert len(found) > len(Barrier().decide(slots, num_bytes)) > 0


def test_what_was_decided_before_stays_and_takes_others() -> None:
    """Two of three alike stand at the front: they stay though they are copies; the third goes for the first."""
    slots = np.full((4, 8), 1, np.uint8)
    slots[3] = 2
    rep, equal = survivors(slots, bands=4, rows=2, needed=6, num_kept=2)
    assert rep.tolist() == [-1, -1, 0, -1]
    assert equal.tolist() == [0, 0, 8, 0]
    assert survivors(slots, bands=4, rows=2, needed=6, num_kept=4)[0].tolist() == [-1] * 4
    assert survivors(slots, bands=4, rows=2, needed=6)[0].tolist() == [-1, 0, 0, -1]


@settings(deadline=None, max_examples=50)
@given(sizes=st.lists(st.integers(1, 9), max_size=20), num_tasks=st.integers(1, 6), limit=st.integers(1, 12))
def test_shares_and_parts_are_whole_components(sizes: list[int], num_tasks: int, limit: int) -> None:
    labels = np.repeat(np.cumsum(sizes) if sizes else [], sizes).astype(np.uint64)
    seen: list[int] = []
    for task in range(num_tasks):
        own = own_components(labels, task, num_tasks)
        for part in whole_components(labels, own, limit):
            taken = labels[part].tolist()
            assert len(taken) <= limit or len(set(taken)) == 1
            assert not set(taken) & set(labels[: part.start].tolist())
            assert not set(taken) & set(labels[part.stop :].tolist())
            seen += taken
    assert seen == labels.tolist()


def test_a_cut_off_file_of_members_is_refused(tmp_path: Path) -> None:
    signed = Signatures(exact=False, num_perm=8)
    runs = BandRuns(signatures=signed, bands=Bands(bands=4, rows=2))
    path = tmp_path / "members"
    write_columns(path, "members", {}, {"label": np.zeros(2, np.uint64), "at": np.arange(2, dtype=np.uint64)})
    path.write_bytes(path.read_bytes()[:-8])
    inputs = {"signatures": [LocalShard(0)], "components": [LocalShard(0, files={".members": path})]}
    work = Clusters(runs=runs, order=Order(), threshold=0.7)
    with pytest.raises(RunFailedError, match="run again: it is made anew"):
        work.run(Task("unique.clusters", 0, inputs, tmp_path))


def test_order_of_documents_changes_nothing() -> None:
    slots, num_bytes = chained(21, 200)
    number = list(range(200))
    random.Random(5).shuffle(number)
    unique = np.arange(200, dtype=np.uint64) * np.uint64(20) + num_bytes  # no ties: the number is the id
    plain = Barrier().decide(slots, unique)
    mixed_up = Barrier(num_shards=3, partitions=2).decide(slots[number], unique[number])
    assert {number[doc]: (number[rep], *more) for doc, (rep, *more) in mixed_up.items()} == plain
    assert len(plain) > 50
