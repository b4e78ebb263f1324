"""Words with their bytes, anchors, and cuts, each against the obvious Python."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from operators.kernels.buffers import text_buffers
from operators.kernels.cut_words import MARKS, cut_bytes
from operators.kernels.folded_words import folded_words
from operators.kernels.replace_spans import replace_spans
from operators.kernels.winnowing import TIED, anchors, window_hashes
from tests.operators.dedup.substrings.runner import words
from tests.operators.dedup.twins import word_hash

# Letters of many scripts, marks, blanks and what is skipped, so that short examples meet every branch.
MIXED = st.text(
    st.one_of(
        st.sampled_from("ab Z9.'\n漢字かガｶกี่ขကိုကេतिéе\u0301\u200b\u200d한🙂𠀀\0\u2028-(”"), st.characters(codec="utf-8")
    ),
    max_size=60,
)
FEW = st.lists(st.sampled_from("abc"), max_size=60)
REPETITIVE = st.builds(
    lambda piece, times, more: piece * times + more, st.lists(st.sampled_from("ab")), st.integers(1, 20), FEW
)


@settings(deadline=None)  # the first call may compile
@given(MIXED)
@example("Naïve, DON'T数据 set清洗v2! ที่นี่e\u0301")
def test_each_word_stands_on_its_own_bytes(text: str) -> None:
    """The words are the twin's, and the bytes of one, read alone, are that word."""
    found = folded_words(text)
    assert found.hash.tolist() == [word_hash(word) for word in words(text)]
    data = text.encode()
    spans = list(zip(found.begin.tolist(), found.end.tolist(), strict=True))
    assert [words(data[begin:end].decode()) for begin, end in spans] == [[word] for word in words(text)]
    gaps = [
        data[left[1] : right[0]].decode()
        for left, right in zip([(0, 0), *spans], [*spans, (len(data), 0)], strict=True)
    ]
    assert all(words(gap) == [] for gap in gaps)


def test_bytes_of_words() -> None:
    found = folded_words("“Naïve, e\u0301数据”")
    assert found.begin.tolist() == [3, 11, 14, 17]
    assert found.end.tolist() == [9, 14, 17, 20]  # the accent that folds away belongs to its letter


@settings(deadline=None, max_examples=300)
@given(texts=st.lists(st.one_of(FEW, REPETITIVE), max_size=4), min_tokens=st.integers(2, 12))
@example([["a"] * 200, ["b", *["a"] * 150]], 6)
@example([[*"abcabd"] * 20], 7)
def test_anchors_find_all_equal_windows(texts: list[list[str]], min_tokens: int) -> None:
    """Every window in one record; equal windows under one key; equal spans hold equal windows, one by one."""
    found, num_words = anchors(pa.array([" ".join(text) for text in texts], pa.large_string()), min_tokens)
    assert num_words.tolist() == list(map(len, texts))
    keys: dict[tuple[str, ...], int] = {}
    spans: dict[int, list[tuple[str, ...]]] = {}
    seen = []
    for key, span, row, start, flagged in zip(*(column.tolist() for column in found), strict=True):
        tied, count = flagged & TIED, flagged & (TIED - 1)
        assert 1 <= count <= min_tokens
        places = range(start, start + count)
        seen += [(row, place) for place in places]
        windows = [tuple(texts[row][place : place + min_tokens]) for place in places]
        assert all(keys.setdefault(window, key) == key for window in windows)
        assert spans.setdefault(span, windows) == windows
        assert tied or len(set(windows)) == len(windows)
    assert seen == [(row, place) for row, text in enumerate(texts) for place in range(len(text) - min_tokens + 1)]


def test_anchors_of_ordinary_text_are_few() -> None:
    """26 n-grams of 25 words: one record in 13.5 words is expected for independent hashes."""
    text = " ".join(f"w{k}" for k in range(100_000))
    found, _ = anchors(pa.array([text], pa.large_string()), 50)
    assert 100_000 / 14.0 < len(found.key) < 100_000 / 13.0


@pytest.mark.parametrize("piece", ["a ", "a-", "漢", "la di da ", "ab\n"])
def test_a_long_repetition_gives_few_records_of_few_kinds(piece: str) -> None:
    found, num_words = anchors(pa.array([piece * (1_000_000 // len(piece.encode()))], pa.large_string()), 50)
    assert len(found.key) <= num_words[0] / 25
    assert len(np.unique(found.span)) <= 5


@pytest.mark.parametrize("text", ["a" * 1_000_000, "\n" * 1_000_000, "", "-" * 1000])
def test_texts_of_no_or_one_word_have_none(text: str) -> None:
    assert len(anchors(pa.array([text, None], pa.large_string()), 2)[0].key) == 0


@settings(deadline=None)
@given(texts=st.lists(FEW, min_size=1, max_size=4), min_tokens=st.integers(2, 5))
def test_window_hashes_tell_windows_apart(texts: list[list[str]], min_tokens: int) -> None:
    rows = [row for row, text in enumerate(texts) if len(text) >= min_tokens]
    counts = np.array([len(texts[row]) - min_tokens + 1 for row in rows], np.int64)
    column = pa.array([" ".join(text) for text in texts], pa.large_string())
    found = window_hashes(column, min_tokens, np.array(rows, np.int64), np.zeros(len(rows), np.int64), counts)
    windows = [tuple(texts[row][k : k + min_tokens]) for row in rows for k in range(len(texts[row]) - min_tokens + 1)]
    assert len(windows) == len(found)
    assert len(set(windows)) == len(set(found.tolist())) == len(set(zip(windows, found.tolist(), strict=True)))


def cut(text: str, *cuts: tuple[int, int]) -> str:
    """The text without words [first, end)."""
    column = pa.array(["before", text], pa.large_string())
    spans, kinds = cut_bytes(column, np.array([(*one, 1) for one in cuts], np.int64).reshape(-1, 3))
    texts = text_buffers(column)
    data, offsets = replace_spans(texts.data, texts.offsets, spans, kinds, MARKS)
    assert bytes(data[: offsets[1]]) == b"before"
    return bytes(data[offsets[1] :]).decode()


@pytest.mark.parametrize(
    ("text", "cuts", "expected"),
    [
        ("One two. Three four! Five", [(2, 4)], "One two. Five"),
        ("A b.\n\nC d.\n\nE f.", [(2, 4)], "A b.\n\nE f."),
        ("a b. C d.\n\nE f.", [(2, 4)], "a b.\n\nE f."),  # the break of paragraphs stays
        ("a b.\n\nC d. E f.", [(2, 4)], "a b.\n\nE f."),
        ("a b\n- c d\n- e f", [(2, 4)], "a b\n- e f"),  # the list's dash goes with its line
        ("a (b c) d", [(1, 3)], "a d"),
        ("甲。乙乙。丙", [(1, 3)], "甲。丙"),
        ("甲乙乙。丙", [(1, 3)], "甲。丙"),
        ("甲乙丙", [(1, 2)], "甲丙"),
        ("set清洗v2", [(1, 3)], "set v2"),  # not "setv2", which would be another word
        ("a-b-c", [(1, 2)], "a-c"),
        ("“Hi there,” he said", [(0, 2)], "he said"),
        ("x “Hi there.”", [(1, 3)], "x"),
        (" a b \n", [(0, 2)], ""),
        ("a b c d e", [(0, 1), (2, 3), (4, 5)], "b d"),
    ],
)
def test_cuts(text: str, cuts: list[tuple[int, int]], expected: str) -> None:
    assert cut(text, *cuts) == expected


@settings(deadline=None, max_examples=300)
@given(text=MIXED, seed=st.lists(st.booleans(), min_size=70, max_size=70))
def test_a_cut_leaves_all_other_words_as_they_are(text: str, seed: list[bool]) -> None:
    own = words(text)
    gone = seed[: len(own)]
    bounds = np.flatnonzero(np.diff([False, *gone, False])).reshape(-1, 2).tolist()
    left = cut(text, *(tuple(one) for one in bounds))
    assert words(left) == [word for word, goes in zip(own, gone, strict=True) if not goes]
