"""Differences of two texts: nothing is lost, what is the same is the same, and time stays in bounds."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline import difference as module
from pipeline.difference import Segment, difference

TEXTS = st.text(st.sampled_from("ab \n,中文กำ\0\u202e👩\u200d\u0301م")) | st.text()


def whole(segments: list[Segment]) -> tuple[str, str]:
    return "".join(one.left for one in segments), "".join(one.right for one in segments)


@given(left=TEXTS, right=TEXTS)
@example(left="", right="")
@example(left="a\0b", right="a\0c")
@example(left="\u202eمرحبا", right="مرحبا\u202e")
def test_joined_the_segments_are_the_texts(left: str, right: str) -> None:
    segments = difference(left, right)
    assert whole(segments) == (left, right)
    for one in segments:
        assert (one.left == one.right) if one.same else (one.left or one.right)
    assert all(one.same != other.same for one, other in itertools.pairwise(segments))
    assert difference(left, left) == ([Segment(True, left, left)] if left else [])


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("", "", []),
        ("gone", "", [(False, "gone", "")]),
        ("the quick fox", "the slow fox", [(True, "the "), (False, "quick", "slow"), (True, " fox")]),
        ("one two", "one", [(True, "one"), (False, " two", "")]),
        # Two words in a row are one change, not two with a blank between.
        ("a b c d", "a x y d", [(True, "a "), (False, "b c", "x y"), (True, " d")]),
        # Chinese by characters, Thai too; Korean, which has blanks, by words.
        ("今天天气很好", "今天天气不好", [(True, "今天天气"), (False, "很", "不"), (True, "好")]),
        ("안녕 하세요", "안녕 하셨어요", [(True, "안녕 "), (False, "하세요", "하셨어요")]),
        ("مرحبا يا عالم", "مرحبا يا ناس", [(True, "مرحبا يا "), (False, "عالم", "ناس")]),
    ],
)
def test_by_hand(left: str, right: str, expected: list[tuple[bool, str] | tuple[bool, str, str]]) -> None:
    assert difference(left, right) == [Segment(one[0], one[1], one[-1]) for one in expected]


def edited(words: list[str], draw: random.Random, share: float) -> tuple[list[str], int]:
    """Words of which some were replaced by new ones, and how many."""
    out, changed = [], 0
    for word in words:
        if draw.random() < share:
            out.append(f"new{len(out)}")
            changed += 1
        else:
            out.append(word)
    return out, changed


@pytest.mark.parametrize("num_words", [50, 3000])
def test_scattered_edits_are_all_found(num_words: int) -> None:
    """Beyond what difflib is given; words that stand often make no difference."""
    draw = random.Random(num_words)
    words = [draw.choice(["the", "of", f"w{draw.randrange(500)}"]) for _ in range(num_words)]
    other, changed = edited(words, draw, 0.02)
    segments = difference(" ".join(words), " ".join(other))
    new = " ".join(one.right for one in segments if not one.same).split()
    assert sum(word.startswith("new") for word in new) == changed
    assert sum(len(one.left) for one in segments if one.same) > 0.9 * len(" ".join(words))
    assert len(segments) <= 2 * changed + 1


def test_a_moved_half_is_one_deletion_and_one_insertion() -> None:
    words = [f"w{k}" for k in range(4000)]
    segments = difference(" ".join(words), " ".join(words[2000:] + words[:2000]))
    assert sum(len(one.left) for one in segments if one.same) >= 9000
    assert len(segments) <= 4


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("a" * 100_000, "a" * 99_999),
        ("a-" * 50_000, "-a" * 50_000),
        ("\n" * 100_000, "\n" * 50_000),
        ("word " * 30_000, "word " * 29_000 + "end"),
        ("中" * 50_000, "文" * 50_000),
        (" ".join(random.Random(1).choices("ab", k=30_000)), " ".join(random.Random(2).choices("ab", k=30_000))),
    ],
    ids=["letter", "dashes", "newlines", "word", "chinese", "two"],
)
def test_hostile_texts_end_and_lose_nothing(left: str, right: str) -> None:
    assert whole(difference(left, right)) == (left, right)


def test_what_is_too_long_is_not_compared_but_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CHARS", 4)
    assert difference("a b c d", "a b c d") == [Segment(True, "a b ", "a b "), Segment(False, "c d", "c d")]
