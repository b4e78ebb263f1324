"""Training for real, in a process of its own, and the operator that asks the model."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest

from operators.classify import fasttext_process
from operators.classify.fasttext_model import labels, load
from operators.classify.prepare import one_line
from operators.classify.quality import QualityClassifier
from operators.classify.report_card import HeldOut, auc, card
from operators.classify.train import TrainClassifier
from pipeline.errors import RunFailedError, UserError
from pipeline.fingerprint import file_sha256
from pipeline.ledger import Count, Ledger
from pipeline.value import Artifact
from pipeline.work import EVERY, Extent, Result, Task

GOOD = [
    "the",
    "river",
    "rises",
    "in",
    "the",
    "hills",
    "and",
    "carries",
    "clear",
    "water",
    "through",
    "a",
    "wide",
    "green",
    "valley",
    "to",
    "the",
    "sea",
]
BAD = [
    "buy",
    "cheap",
    "deal",
    "now",
    "click",
    "sale",
    "winner",
    "bonus",
    "free",
    "order",
    "offer",
    "credit",
    "casino",
    "today",
    "coupon",
    "prize",
]


class FakeShard:
    """Documents that are already in memory."""

    facts: ClassVar[dict[str, object]] = {}

    def __init__(self, index: int, table: pa.Table) -> None:
        self.index = index
        self.table = table

    def documents(self) -> Iterator[pa.Table]:
        yield from (self.table.slice(start, 50) for start in range(0, self.table.num_rows, 50))


def labelled(number: int) -> list[tuple[str | None, str | None]]:
    """Texts of 30 words, drawn by a hash; every seventh Chinese."""
    rows: list[tuple[str | None, str | None]] = []
    for row in range(number):
        good = row % 2 == 0
        draws = hashlib.shake_128(str(row).encode()).digest(30)
        words = GOOD if good else BAD
        chars = "河水清澈流过山谷进入大海" if good else "优惠打折立即点击免费领取"
        text = "".join(chars[d % 12] for d in draws) if row % 7 == 0 else " ".join(words[d % len(words)] for d in draws)
        rows.append((text, "hq" if good else "lq"))
    return rows


def table(rows: list[tuple[str | None, str | None]]) -> pa.Table:
    ids = [hashlib.md5(f"{n}{text}".encode()).digest() for n, (text, _) in enumerate(rows)]
    texts, marks = zip(*rows, strict=True) if rows else ((), ())
    columns = {
        "id": pa.array(ids, pa.binary(16)),
        "text": pa.array(texts, pa.large_string()),
        "label": pa.array(marks, pa.string()),
    }
    return pa.table(columns)


def train(folder: Path, *tables: pa.Table, **parameters: object) -> Result:
    folder.mkdir(exist_ok=True)
    shards = [FakeShard(index, docs) for index, docs in enumerate(tables)]
    return TrainClassifier(**parameters).run(Task("quality", 0, {"documents": shards}, folder))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Result:
    rows = [*labelled(400), (None, "hq"), ("  \n", "lq"), ("a text without label", None), ("another", " ")]
    docs = table(rows)
    return train(tmp_path_factory.mktemp("train"), docs.slice(0, 250), docs.slice(250), epochs=10, lr=0.5)


def test_account(trained: Result) -> None:
    trained.ledger.check("train")
    assert trained.ledger.into.docs == 404
    assert trained.ledger.kept.docs == 400
    assert {key: count.docs for key, count in trained.ledger.dropped.items()} == {
        "train_classifier:no_text": 2, "train_classifier:no_label": 2}  # fmt: skip
    assert sum(trained.facts["training"].values()) + trained.facts["held_out"] == 400
    assert 20 <= trained.facts["held_out"] <= 60
    assert {group: count.docs for group, count in trained.ledger.group_into.items()} == {"|und": 404}
    assert {group: count.docs for group, count in trained.ledger.group_kept.items()} == {"|und": 400}


def test_account_by_source_and_language() -> None:
    docs = table([("a b", "hq"), ("c", "lq"), ("d", None), (None, "hq")])
    docs = docs.append_column("source", pa.array(["s", "s", "s", "t"]))
    docs = docs.append_column("language", pa.array(["en", None, "en", "zh"]))
    ledger = Ledger()
    TrainClassifier()._usable(docs, ledger)
    assert ledger.group_into == {"s|en": Count(2, 4), "s|und": Count(1, 1), "t|zh": Count(1, 0)}
    assert ledger.group_kept == {"s|en": Count(1, 3), "s|und": Count(1, 1)}


def test_an_edited_model_is_read_again(tmp_path: Path) -> None:
    first, second = (
        train(tmp_path / mark, table([(text, f"{mark}{n % 2}") for n, (text, _) in enumerate(labelled(40))]), epochs=1)
        for mark in ("a", "b")
    )
    path = tmp_path / "model.bin"
    shutil.copyfile(first.outputs[0].path, path)
    os.utime(path, ns=(1, 1))
    assert labels(load(str(path))) == ["a0", "a1"]
    assert load(str(path)) is load(str(path))
    before = file_sha256(path)
    assert labels(load(str(path), before)) == ["a0", "a1"]
    shutil.copyfile(second.outputs[0].path, path)
    os.utime(path, ns=(1, 2))
    assert labels(load(str(path))) == ["b0", "b1"]
    assert labels(load(str(path), file_sha256(path))) == ["b0", "b1"]
    # What was loaded is known by its hash, whatever the file holds now; a hash it never had is refused.
    assert labels(load(str(path), before)) == ["a0", "a1"]
    with pytest.raises(UserError, match="when this run was planned"):
        load(str(path), "0" * 64)


def test_card(trained: Result) -> None:
    model, report = trained.outputs
    assert (model.suffix, report.suffix) == (".bin", ".card.json")
    written = json.loads(report.path.read_text(encoding="utf-8"))
    assert written["labels"]["hq"]["auc"] > 0.99
    assert written["labels"]["hq"]["precision_at_cut"] > 0.95
    assert written["labels"]["hq"]["held_out"] + written["labels"]["lq"]["held_out"] == trained.facts["held_out"]
    assert written["training_sha256"] == trained.facts["training_sha256"]
    assert written["parameters"]["threads"] >= 10
    assert model.path.stat().st_size < 10_000_000


def test_the_operator_tells_good_from_bad(trained: Result) -> None:
    texts = [
        "green hills\nand the clear river",
        "casino bonus click now",
        "清澈河水流过山谷",
        "免费领取优惠",
        "",
        " \n",
        None,
    ]
    docs = pa.table({"id": list(range(7)), "text": pa.array(texts, pa.large_string())})
    operator = QualityClassifier(model=Artifact(file=str(trained.outputs[0].path)), min_score=0.5)
    scores = operator.measure(docs)["score"].to_pylist()
    assert [score is not None and score > 0.5 for score in scores[:4]] == [True, False, True, False]
    assert scores[4:] == [None, None, None]
    other = (
        QualityClassifier(model=Artifact(file=str(trained.outputs[0].path)), label="lq")
        .measure(docs)["score"]
        .to_pylist()
    )
    assert [a + b for a, b in zip(scores[:4], other[:4], strict=True)] == pytest.approx([1.0] * 4, abs=1e-4)
    alone = [operator.measure(docs.slice(row, 1))["score"].to_pylist()[0] for row in range(7)]
    assert alone == scores
    (bound,) = operator.bounds
    assert (bound.measure, bound.min, bound.reason) == ("score", 0.5, "score")
    assert QualityClassifier(model=Artifact(step="quality"), min_score=None).bounds == ()


def test_mistakes_about_the_model(trained: Result, tmp_path: Path) -> None:
    path = str(trained.outputs[0].path)
    with pytest.raises(UserError, match=r"no label 'hp'; near: .*hq"):
        QualityClassifier(model=Artifact(file=path), label="hp").prepare()
    with pytest.raises(UserError, match="cannot load"):
        QualityClassifier(model=Artifact(file=str(tmp_path / "none.bin"))).prepare()
    with pytest.raises(UserError, match="not made yet"):
        QualityClassifier(model=Artifact(step="quality")).prepare()


def test_shards_and_their_order_do_not_enter(trained: Result, tmp_path: Path) -> None:
    docs = table(labelled(400))
    again = train(tmp_path / "other", docs.slice(300), docs.slice(0, 300), epochs=1)
    assert again.facts["training_sha256"] == trained.facts["training_sha256"]
    other_seed = train(tmp_path / "seed", docs, epochs=1, seed=1)
    assert other_seed.facts["training_sha256"] != trained.facts["training_sha256"]


def test_mistakes_about_the_documents(tmp_path: Path) -> None:
    docs = table(labelled(4))
    with pytest.raises(UserError, match="column 'mark'"):
        train(tmp_path, docs, label="mark")
    with pytest.raises(UserError, match="two labels"):
        train(tmp_path, docs.slice(0, 1), held_out_fraction=0.0)
    with pytest.raises(UserError, match="blank"):
        train(tmp_path, table([("a", "very good"), ("b", "bad")]))


def test_a_failed_training_says_what_fasttext_said(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match=r"(?s)exit status 1.*cannot be opened"):
        fasttext_process.train({"input": str(tmp_path / "none.txt"), "lr": 0.1}, tmp_path / "model.bin", tmp_path)


def test_one_node_over_every_shard() -> None:
    (node,) = TrainClassifier().nodes("quality", "good_and_bad", 7)
    assert (node.name, node.inputs, node.work.seed) == ("quality", {"documents": "good_and_bad"}, 7)
    (plan,) = node.work.tasks({"documents": Extent(3)})
    assert plan.needs == {"documents": EVERY}
    assert TrainClassifier(seed=3).nodes("quality", "x", 7)[0].work.seed == 3
    with pytest.raises(UserError, match="from"):
        TrainClassifier().nodes("quality", None, 7)


@pytest.mark.parametrize(
    ("text", "max_chars", "expected"),
    [
        (None, 0, None),
        ("", 0, ""),
        (" a\n\n b\tC\x00d\u3000", 0, "a b C d"),
        ("用GPU训练。", 0, "用 GPU 训 练 。"),
        ("カナ abc", 0, "カ ナ abc"),
        ("x </s> __label__hq y", 0, "x < /s> __label __hq y"),
        ("abcdef", 3, "abc"),
        ("한국어 문장", 0, "한국어 문장"),
    ],
)
def test_one_line(text: str | None, max_chars: int, expected: str | None) -> None:
    assert one_line(pa.array([text], pa.large_string()), max_chars).to_pylist() == [expected]


@pytest.mark.parametrize(
    ("scores", "positive", "expected"),
    [
        ([0.1, 0.9], [0, 1], 1.0),
        ([0.9, 0.1], [0, 1], 0.0),
        ([0.5, 0.5], [0, 1], 0.5),
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0.75),
        ([0.3], [1], None),
    ],
)
def test_auc(scores: list[float], positive: list[int], expected: float | None) -> None:
    assert auc(np.array(scores), np.array(positive, bool)) == expected


def test_examples_nearest_to_the_cut_come_first() -> None:
    rows = [HeldOut(str(i), "a" if i > 2 else "b", f"text {i}") for i in range(6)]
    entry = card(rows, {"a": np.array([0.1, 0.45, 0.6, 0.3, 0.55, 0.9])}, 0.5)["a"]
    assert [example["id"] for example in entry["just_below_cut"]] == ["1", "3", "0"]
    assert [example["id"] for example in entry["just_above_cut"]] == ["4", "2", "5"]
    assert (entry["precision_at_cut"], entry["recall_at_cut"]) == (2 / 3, 2 / 3)
