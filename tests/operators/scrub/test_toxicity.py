"""Hits of word lists, per 1,000 words."""

import hashlib
import os
import pickle
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from operators.scrub.toxicity import Toxicity
from operators.word_lists import LISTS_SHA256, MAX_ENTRY_CHARS, lists_sha256, shipped_names
from pipeline.errors import UserError
from pipeline.value import Artifact

ENTRIES = ["darn", "heck", "what the heck", "blöd", "坏蛋", "笨", "มาร", "c++"]


@pytest.fixture(scope="module")
def own_list(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    path = tmp_path_factory.mktemp("lists") / "own.txt"
    path.write_text("\n".join([*ENTRIES, "", "  Drat  "]), encoding="utf-8")
    return Artifact(file=str(path))


def documents(*texts: str | None) -> pa.Table:
    return pa.table({"id": [bytes([i]) for i in range(len(texts))], "text": pa.array(texts, pa.large_string())})


def measure(operator: Toxicity, *texts: str | None) -> list[tuple[int | None, float | None]]:
    found = operator.measure(documents(*texts))
    assert (found["hits"].type, found["hits_per_1000_words"].type) == (pa.int64(), pa.float64())
    return list(zip(found["hits"].to_pylist(), found["hits_per_1000_words"].to_pylist(), strict=True))


@pytest.mark.parametrize(
    ("text", "hits", "words"),
    [
        ("darn", 1, 1),
        ("Darn it, DRAT!", 2, 3),
        ("darned darning undarn", 0, 3),
        ("darn's (darn) darn_it _darn 2darn", 2, 6),
        ("what the heck now", 1, 4),  # the longer entry, the one inside it not again
        ("what the heck, heck", 2, 4),
        ("BLÖD blöde", 1, 2),
        ("darn\u0301 darn\u00e9", 0, 2),
        ("a c++ b", 1, 3),  # c++ alone is the word c
        ("你这个坏蛋笨蛋", 2, 7),
        ("你darn吗", 1, 3),
        ("มารดา", 1, 5),  # part of a word: Thai has no blanks
        ("ที่นี่", 0, 2),  # two letters with their marks
        ("da\x00rn\u200fdarn", 1, 3),
        ("nothing here", 0, 2),
    ],
)
def test_worked_by_hand(own_list: Artifact, text: str, hits: int, words: int) -> None:
    assert measure(Toxicity(lists=(), files=(own_list,)), text) == [(hits, pytest.approx(1000 * hits / words))]


@pytest.mark.parametrize("text", [None, "", "  \n", "\u0301", "... !!", "\x00"])
def test_no_words_no_share(own_list: Artifact, text: str | None) -> None:
    assert measure(Toxicity(lists=(), files=(own_list,)), text) == [(None, None)]


PIECES = st.lists(st.sampled_from([*ENTRIES, "DRAT", " ", "a", "é", "数", "\u0301", ".", "ด", "_"]), max_size=12).map(
    "".join
)


def slow_hits(text: str) -> int:
    """Each place in turn: the longest entry there that is not cut out of a word."""
    lowered, hits, at = text.lower(), 0, 0
    entries = sorted({entry.lower() for entry in [*ENTRIES, "Drat"]}, key=len, reverse=True)
    while at < len(lowered):
        for entry in entries:
            end = at + len(entry)
            if lowered.startswith(entry, at) and whole(lowered, at) and whole(lowered, end):
                hits, at = hits + 1, end - 1
                break
        at += 1
    return hits


def whole(text: str, at: int) -> bool:
    if at in (0, len(text)):
        return True
    before, after = text[at - 1], text[at]
    spaced = [char == "_" or (char.isalnum() and not ("\u0e00" <= char <= "\u9fff")) for char in (before, after)]
    letters_or_marks = before == "_" or before == "\u0301" or before.isalnum()
    return not (letters_or_marks and (after == "\u0301" or (spaced[1] and (spaced[0] or before == "\u0301"))))


@settings(max_examples=300, deadline=None)
@given(text=PIECES)
def test_equals_the_obvious_python(own_list: Artifact, text: str) -> None:
    assert (measure(Toxicity(lists=(), files=(own_list,)), text)[0][0] or 0) == slow_hits(text)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(PIECES | st.none() | st.text(max_size=20), max_size=5), cut=st.integers(0, 5))
def test_batches_do_not_matter(own_list: Artifact, texts: list[str | None], cut: int) -> None:
    operator = Toxicity(lists=("en",), files=(own_list,))
    whole_batch, halves = measure(operator, *texts), measure(operator, *texts[:cut]) + measure(operator, *texts[cut:])
    assert whole_batch == halves
    docs = documents("darn", *texts)
    assert operator.measure(docs.slice(1))["hits"].equals(operator.measure(documents(*texts))["hits"])


def test_texts_of_hits_alone(own_list: Artifact) -> None:
    texts = ["what the heck " * 50, "darn " * 37, "坏蛋" * 20]
    expected = [(50, 1000 * 50 / 150), (37, 1000.0), (20, 500.0)]
    found = measure(Toxicity(lists=(), files=(own_list,)), *texts)
    assert found == [(hits, pytest.approx(rate)) for hits, rate in expected]


def test_shipped_lists() -> None:
    assert {"en", "zh", "de", "ja", "th", "en-insults", "zh-insults"} <= set(shipped_names())
    assert lists_sha256() == LISTS_SHA256, "the shipped lists have changed: put their new hash into word_lists.py"
    for name in shipped_names():
        Toxicity(lists=(name,)).prepare()
    assert measure(Toxicity(lists=("zh",)), "性别与性格") == [(0, 0.0)]


def test_bounds_and_mistakes(tmp_path: Path) -> None:
    (bound,) = Toxicity(max_hits_per_1000_words=2).bounds
    assert (bound.measure, bound.max, bound.exclusive) == ("hits_per_1000_words", 2.0, False)
    assert Toxicity(max_hits_per_1000_words=None).bounds == ()
    with pytest.raises(ValidationError, match="near: en"):
        Toxicity(lists=("eng",))
    with pytest.raises(ValidationError, match="needs lists or files"):
        Toxicity(lists=())
    with pytest.raises(UserError, match=r"none\.txt"):
        Toxicity(files=(Artifact(file=str(tmp_path / "none.txt")),)).prepare()
    (tmp_path / "text.txt").write_text("a" * (MAX_ENTRY_CHARS + 1), encoding="utf-8")
    with pytest.raises(UserError, match=r"text\.txt has a line of 1001"):
        Toxicity(files=(Artifact(file=str(tmp_path / "text.txt")),)).prepare()
    operator = Toxicity(lists=["en", "zh"], files=[Artifact(step="words")])
    assert pickle.loads(pickle.dumps(operator)) == operator
    with pytest.raises(UserError, match="not made yet"):
        operator.prepare()


def test_an_edited_list_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("darn", encoding="utf-8")
    os.utime(path, ns=(1, 1))
    operator = Toxicity(lists=(), files=(Artifact(file=str(path)),))
    assert measure(operator, "darn heck") == [(1, 500.0)]
    assert operator._search() is operator._search()
    path.write_text("heck darn", encoding="utf-8")
    os.utime(path, ns=(1, 1))  # another size
    assert measure(operator, "darn heck") == [(0, 0.0)]
    path.write_text("darn\nheck", encoding="utf-8")
    os.utime(path, ns=(1, 2))
    assert measure(operator, "darn heck") == [(2, 1000.0)]
    path.write_text("rice\nbeck", encoding="utf-8")
    os.utime(path, ns=(1, 2))
    hashed = Toxicity(lists=(), files=(Artifact(file=str(path), sha256=hashlib.sha256(b"rice\nbeck").hexdigest()),))
    assert measure(hashed, "darn heck") == [(0, 0.0)]
