"""Epochs: one batch with labels, epochs one after another, and other runs all equal the rule of all pairs."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.dedup.verb import Dedup, MinHash
from pipeline import worker
from pipeline.dataset import Run
from pipeline.errors import RunFailedError
from pipeline.inputs import Piece
from pipeline.readers.batch import ReadBatch
from pipeline.readers.read import Read
from pipeline.session import run as run_workflow
from pipeline.takedown.suppression import Suppression
from pipeline.workflow import Step
from pipeline.works import Apply
from tests.operators.dedup import crawls
from tests.operators.dedup.crawls import Crawl, deduplicated, families, removed, verdicts
from tests.operators.dedup.runner import Outcome, documents, run
from tests.operators.dedup.twins import Doc, Rule, decide, sketch_bytes
from tests.pipeline.small_operators import Upper

LABELS = ("a", "b", "c", "d")
SAMPLES = Path(__file__).parents[3] / "samples"


def corpus(seed: int, sizes: Sequence[int]) -> list[Doc]:
    """Documents of several epochs, from the same families."""
    return [
        Doc(hashlib.md5(f"{epoch}/{k}".encode()).digest(), text, epoch=epoch)
        for epoch, texts in enumerate(families(seed, sizes))
        for k, text in enumerate(texts)
    ]


def table(docs: Sequence[Doc]) -> pa.Table:
    return documents([d.text for d in docs], ids=[d.id for d in docs]) if docs else documents([], ids=[])


def dealt(docs: Sequence[Doc], shards: Sequence[int]) -> tuple[list[list[pa.Table]], dict[str, tuple[int, ...]]]:
    """The documents in so many shards per epoch, and which are whose; shards of the epochs take turns."""
    places = sorted((k, epoch) for epoch, count in enumerate(shards) for k in range(count))
    tables, epochs = [], {LABELS[epoch]: () for epoch in range(len(shards))}
    for number, (k, epoch) in enumerate(places):
        own = [doc for doc in docs if doc.epoch == epoch]
        tables.append([table(own[k :: shards[epoch]])])
        epochs[LABELS[epoch]] = (*epochs[LABELS[epoch]], number)
    return tables, epochs


def outcome(
    dedup: Dedup, docs: Sequence[Doc], shards: Sequence[int], folder: Path
) -> dict[bytes, tuple[str, bytes, float, int]]:
    """What every removed document became, by id."""
    tables, epochs = dealt(docs, shards)
    found = run(dedup, tables, folder, epochs=epochs)
    rows = found.removed()
    assert found.sizes() == sizes_by_hand(found, docs)
    return {row["id"]: (row["kind"], row["rep_id"], row["estimate"], row["cluster_size"]) for row in rows}


def sizes_by_hand(found: Outcome, docs: Sequence[Doc]) -> dict[tuple[int, int], int]:
    """A document that stays stands for itself and all that went for it in its own epoch."""
    epoch = {doc.id: doc.epoch for doc in docs}
    sizes: dict[tuple[int, int], int] = {}
    for row in found.removed():
        if epoch[row["rep_id"]] == epoch[row["id"]]:
            place = row["rep_shard"], row["rep_row"]
            sizes[place] = sizes.get(place, 1) + 1
    return sizes


def expected(docs: Sequence[Doc], rule: Rule) -> dict[bytes, tuple[str, bytes, float, int]]:
    """The rule of all pairs; a cluster counts what went up to and including the epoch of the row."""
    gone = decide(docs, rule)
    epoch = {doc.id: doc.epoch for doc in docs}
    found = {}
    for key, verdict in gone.items():
        size = 1 + sum(v.rep == verdict.rep and epoch[other] <= epoch[key] for other, v in gone.items())
        estimate = (verdict.equal / rule.num_perm - 1 / 256) / (1 - 1 / 256)
        found[key] = (verdict.kind, verdict.rep, pytest.approx(estimate), size)
    return found


SIZES = st.lists(st.integers(0, 16), min_size=1, max_size=3)


@settings(deadline=None, max_examples=8)
@given(data=st.data(), seed=st.integers(0, 10**6), sizes=SIZES, partitions=st.integers(1, 4))
def test_equals_the_rule_of_all_pairs(data: st.DataObject, seed: int, sizes: list[int], partitions: int) -> None:
    docs = corpus(seed, sizes)
    shards = [data.draw(st.integers(1, 3)) for _ in sizes]
    gib = data.draw(st.sampled_from([1.0, 1e-6]))
    with TemporaryDirectory() as folder:
        found = outcome(Dedup(partitions=partitions, memory_gib=gib), docs, shards, Path(folder))
    assert found == expected(docs, Rule())


@pytest.mark.parametrize(
    ("dedup", "rule"),
    [
        (Dedup(exact=False), Rule(exact=False)),
        (Dedup(keep=("id",)), Rule(keep="id")),
        (
            Dedup(minhash=MinHash(ngram=2, bands=20, rows=5, threshold=0.5)),
            Rule(ngram=2, bands=20, rows=5, threshold=0.5),
        ),
        (Dedup(minhash=MinHash(threshold=0.05, rows=2)), Rule(threshold=0.05, rows=2)),
    ],
    ids=["near alone", "by id", "other bands", "everything is near"],
)
def test_equals_the_rule_with_other_parameters(dedup: Dedup, rule: Rule, tmp_path: Path) -> None:
    docs = corpus(11, [30, 30, 30])
    found = outcome(dedup, docs, [2, 1, 3], tmp_path)
    assert found == expected(docs, rule)
    assert {kind for kind, *_ in found.values()} >= {"near"}


@settings(deadline=None, max_examples=4)
@given(seed=st.integers(0, 10**6), order=st.randoms(use_true_random=False))
def test_order_and_shards_inside_epochs_change_no_verdict(seed: int, order: random.Random) -> None:
    docs = corpus(seed, [20, 15, 15])
    with TemporaryDirectory() as folder:
        plain = outcome(Dedup(), docs, [1, 1, 1], Path(folder) / "a")
        order.shuffle(docs)
        other = outcome(Dedup(partitions=3), docs, [3, 2, 4], Path(folder) / "b")
    assert other == plain


def capped_rule(docs: Sequence[Doc], rule: Rule) -> dict[bytes, bytes]:
    """The rule among texts that all differ, where only the first 64 that stay in a bucket are compared with."""
    buckets: dict[tuple[int, bytes], list[tuple[int, bytes, bytes]]] = {}
    gone = {}
    ordered = sorted(docs, key=lambda doc: (doc.epoch, -len(doc.text or ""), doc.id))
    for number, doc in enumerate(ordered):
        sketch = sketch_bytes(doc.text or "", rule.ngram, rule.num_perm) or b""
        keys = [(band, sketch[band * rule.rows : (band + 1) * rule.rows]) for band in range(rule.bands)]
        candidates = {other for key in keys for other in buckets.get(key, [])[:64]}
        equal = {other: sum(a == b for a, b in zip(sketch, other[1], strict=True)) for other in candidates}
        needed = rule.num_perm * (rule.threshold * (1 - 1 / 256) + 1 / 256)
        near = [(-count, other[0], other[2]) for other, count in equal.items() if count >= needed]
        if near:
            gone[doc.id] = min(near)[2]
        else:
            for key in keys:
                buckets.setdefault(key, []).append((number, sketch, doc.id))
    return gone


def test_buckets_of_more_than_64_survivors(tmp_path: Path) -> None:
    """Pages that share half of their words: later epochs see the same 64 of a full bucket as one batch does."""
    draw = random.Random(3)
    boilerplate = [f"b{k}" for k in range(60)]
    docs: list[Doc] = []
    for k in range(330):
        words = boilerplate + [f"x{draw.randrange(10**6)}" for _ in range(60)]
        if k >= 240:  # a near copy of an earlier one
            words = [*(docs[draw.randrange(240)].text or "").split(), "more", f"y{k}"]
        docs.append(Doc(hashlib.md5(b"%d" % k).digest(), " ".join(words), epoch=k * 4 // 330))
    rule = Rule(bands=2, rows=1, threshold=0.6)
    tables, epochs = dealt(docs, [2, 1, 2, 1])
    found = run(Dedup(minhash=MinHash(bands=2, rows=1, threshold=0.6)), tables, tmp_path, epochs=epochs)
    capped = capped_rule(docs, rule)
    assert {row["id"]: row["rep_id"] for row in found.removed()} == capped
    assert capped != {key: verdict.rep for key, verdict in decide(docs, rule).items()}  # the 64 decide something


def chain(folder: Path, texts: Sequence[Sequence[str]], **dedup: Any) -> list[Any]:
    """Run crawl after crawl, each against all before it."""
    results = []
    against: list[dict[str, str]] = []
    for name, own in zip(LABELS, texts, strict=False):
        paths = Crawl(name, own).write(folder / "in")
        verb = {"index": True, "against": list(against), **dedup}
        results.append(deduplicated({"paths": paths}, verb, folder / name))
        against.append({"run": str(folder / name), "step": "unique"})
    return results


def by_label(folder: Path, texts: Sequence[Sequence[str]], out: str = "batch", **dedup: Any) -> Any:
    paths = {name: Crawl(name, own).write(folder / "in") for name, own in zip(LABELS, texts, strict=False)}
    return deduplicated({"epochs": paths}, dedup, folder / out)


def test_labels_in_one_run_equal_runs_against_each_other(tmp_path: Path) -> None:
    texts = families(0, [30, 25, 40])
    runs = chain(tmp_path, texts)
    batch = by_label(tmp_path, texts)
    rule = crawls.expected([crawls.documents(one) for one in runs], Rule())
    assert verdicts(*runs) == verdicts(batch) == rule
    assert crawls.kept(batch) == set().union(*(crawls.kept(one) for one in runs))
    found = removed(runs[2])
    assert {one.level for one in found.values()} >= {0, 1, 2}
    # The sizes agree too, whether what a document stood for before was in this run or in another.
    assert {key: one.size for key, one in found.items()} == {
        key: one.size for key, one in removed(batch).items() if key in found
    }


def test_epochs_one_after_another_in_the_same_run(tmp_path: Path) -> None:
    """A further epoch leaves the earlier ones alone, and the result is that of the batch."""
    texts = families(4, [20, 20, 20])
    batch = by_label(tmp_path, texts)
    for count in (1, 2, 3):
        grown = by_label(tmp_path, texts[:count], out="grown")
    assert verdicts(grown) == verdicts(batch)
    names = [f"unique.{label}.{node}" for label in "ab" for node in ("exact", "clusters", "index")]
    assert [grown.nodes[name]["dataset"] for name in names] == [batch.nodes[name]["dataset"] for name in names]


def test_real_pages(tmp_path: Path) -> None:
    """Pages of the samples, as crawled: three epochs, and the same as three runs."""
    places = [[str(SAMPLES / f"pages-{k:02d}.warc.gz") for k in three] for three in ((0,), (1,), (2,))]
    # Pages up to 16 kB, so that the rule of all pairs stays quick.
    read = {"format": "warc", "group_bytes": None, "max_document_bytes": 16_000}
    batch = deduplicated({**read, "epochs": dict(zip(LABELS, places, strict=False))}, {}, tmp_path / "batch")
    runs: list[Any] = []
    for name, paths in zip(LABELS, places, strict=False):
        against = [{"run": str(tmp_path / label), "step": "unique"} for label in LABELS[: len(runs)]]
        verb = {"index": True, "against": against}
        runs.append(deduplicated({**read, "paths": paths}, verb, tmp_path / name))
    rule = crawls.expected([crawls.documents(one) for one in runs], Rule())
    assert verdicts(batch) == verdicts(*runs) == rule
    assert {one.level for one in removed(runs[2]).values()} >= {0, 1, 2}


def test_an_epoch_is_decided_before_later_ones_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second epoch cannot be read: the first has its verdicts, and what comes after them, all the same."""
    whole = worker.read_shard

    def cut(read: Read, pieces: Sequence[Piece], *suppressed: Suppression) -> Iterator[ReadBatch]:
        if any("/b-" in piece.path for piece in pieces):
            raise RunFailedError(pieces[0].path)
        return whole(read, pieces, *suppressed)

    paths = {
        name: Crawl(name, own).write(tmp_path / "in") for name, own in zip("ab", families(5, [20, 20]), strict=True)
    }
    flow = crawls.workflow({"epochs": paths}, Dedup(), tmp_path)
    after = Step(name="after", source="unique", verb=Apply(operators=(Upper(),)))
    flow = flow.model_copy(update={"steps": (*flow.steps, after)})
    out = str(tmp_path / "out")
    monkeypatch.setattr(worker, "read_shard", cut)
    with pytest.raises(RunFailedError, match="b-0"):
        run_workflow(flow, out, crawls.INLINE)
    stopped = Run.open(out)
    assert [sorted(stopped[name].commits) for name in ("unique.signatures", "unique", "after")] == [[0, 1]] * 3
    before = crawls.digests(stopped, "after")
    monkeypatch.undo()
    done = run_workflow(flow, out, crawls.INLINE)
    assert crawls.digests(done, "after")[: len(before)] == before
    assert sorted(done["after"].commits) == [0, 1, 2, 3]


def test_epochs_without_documents_and_of_known_ones(tmp_path: Path) -> None:
    texts = [["one two three four five six", "short"], [], ["short", "one two three four five six"], ["short"]]
    batch = by_label(tmp_path, texts, index=True)
    gone = removed(batch)
    assert sorted((one.kind, one.size) for one in gone.values()) == [("exact", 2), ("exact", 2), ("exact", 3)]
    assert len(crawls.kept(batch)) == 2
    runs = chain(tmp_path, texts)
    assert verdicts(*runs) == verdicts(batch)
    assert [one["unique.index"].commits[0].facts["kept"] for one in runs] == [2, 0, 0, 0]
