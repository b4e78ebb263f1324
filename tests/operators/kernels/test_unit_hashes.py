"""Units and their keys, and texts without some of them: by hand, and against slow Python."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from operators.kernels.buffers import text_buffers
from operators.kernels.fold import fold_table
from operators.kernels.segmentation import Segments
from operators.kernels.unit_hashes import FIRST, LATER, SOLE, copies_in_text, digits_folded, unit_keys, units_of
from operators.kernels.unit_removal import covered, without_units
from tests.operators.dedup.lines import twins
from tests.operators.dedup.twins import M64, finish64, folded_words
from tests.operators.texts import TEXTS

RULES = {"line": ("nonempty_lines", False), "paragraph": ("nonempty_lines", True), "sentences": ("sentences", False)}


def find(*texts: str | None, unit: str = "line"):
    found = Segments(text_buffers(pa.array(texts, pa.large_string())))
    rule, joined = RULES[unit]
    return found, units_of(found, rule, joined=joined)


def keys(*texts: str | None, fold=True, spans: int = 1, min_chars: int = 0, scopes=None, digits: bool = False):
    found, units = find(*texts)
    table = (digits_folded(fold_table()) if digits else fold_table()) if fold else None
    scope = np.zeros(len(texts), np.uint64) if scopes is None else np.array(scopes, np.uint64)
    return unit_keys(found.texts, units, table, scope, spans, min_chars).tolist()


def mixed(state: int, value: int) -> int:
    state = (state ^ value) * 0x9E3779B97F4A7C15 & M64
    return state ^ state >> 29


def slow_key(line: str, scope: int = 0) -> int:
    """The key of one line, 0 where it has no word."""
    state = 0
    words = folded_words(line)
    for word in words:
        for place, code in enumerate(word):
            state = mixed(state, code | (place == 0) << 24)
    return (finish64(mixed(scope, state)) or 1) if words else 0


@settings(max_examples=50)
@given(texts=st.lists(st.one_of(st.none(), TEXTS), max_size=4), scope=st.integers(0, M64))
def test_keys_equal_the_twin(texts, scope):
    lines = [line for text in texts for line in (text or "").split("\n") if line.strip()]
    assert keys(*texts, scopes=[scope] * len(texts)) == [slow_key(line, scope) for line in lines]


@example(text="aa", other="\0aa")
@example(text="aa\n\0\0aa", other="a\0a")
@given(text=TEXTS, other=TEXTS)
def test_keys_are_equal_where_the_words_are(text, other):
    lines = [line for line in f"{text}\n{other}".split("\n") if line.strip()]
    words = [tuple(map(tuple, folded_words(line))) for line in lines]
    assert len(set(keys(f"{text}\n{other}"))) == len(set(words))
    assert len(set(keys(f"{text}\n{other}", fold=False)) - {0}) == len(
        {line.strip() for line, found in zip(lines, words, strict=True) if found}
    )


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Read more...", "read MORE", True),
        ("naïve", "naive", True),
        ("naïve", "nai\u0308ve", True),
        ("ｗｉｄｅ １２", "wide 12", True),
        ("版权所有", "版 权，所有。", True),
        ("٣ كتب", "3 كتب", True),
        ("ab c", "a bc", False),
        ("a a", "a", False),
        ("a", "a a a", False),
        ("Article 12", "Article 13", False),
        ("किताब", "कताब", False),
        ("straße", "strasse", False),
    ],
)
def test_what_is_the_same(one, other, same):
    first, second = keys(f"{one}\n{other}")
    assert (first == second) == same
    assert 0 not in (first, second)


def test_digits_folded_to_zero_keep_their_number():
    found = keys("page 12\npage 34\npage ５٦\npage 123\npage ten", digits=True)
    assert len({*found[:3]}) == 1
    assert len({*found}) == 3


def test_which_spans_have_a_key():
    assert [key != 0 for key in keys("- -\n\nword\n...", None, "", " \n")] == [False, True, False]
    # 12 characters, or 4 words: an ideograph is one.
    long = ["abcdefghijkl", "abcdefghijk", "a b c d", "a b c", "版权所有", "版权所", "     版权所      "]
    assert [keys(line, min_chars=12) != [0] for line in long] == [True, False, True, False, True, False, False]
    assert [key != 0 for key in keys("a\nb\nc", "d\ne", spans=3)] == [True, False, False, False, False]
    assert [key != 0 for key in keys("-\nb\n-\n-", spans=2)] == [True, True, False, False]


def test_spans_are_told_by_order_and_place():
    ab, ba = keys("a\nb", "b\na", spans=2)[::2]
    assert ab != ba
    assert keys("a b", spans=1) != keys("a\nb", spans=2)[:1]
    assert keys("a\nb\nc", spans=2)[1] == keys("b\nc\nx", spans=2)[0]


@given(texts=st.lists(st.lists(st.sampled_from("abcd-"), max_size=30), max_size=4))
def test_copies(texts):
    joined = ["\n".join(text) for text in texts]
    _, units = find(*joined)
    expected = [
        SOLE if text.count(line) == 1 or line == "-" else LATER if line in text[:place] else FIRST
        for text in texts
        for place, line in enumerate(text)
    ]
    assert copies_in_text(units, np.array(keys(*joined), np.uint64)).tolist() == expected


@given(texts=st.lists(st.one_of(st.none(), TEXTS), max_size=4), unit=st.sampled_from(list(RULES)))
def test_units_equal_the_twin(texts, unit):
    found, units = find(*texts, unit=unit)
    raw = bytes(found.texts.data)
    pieces = [raw[a:b].decode() for a, b in zip(units.start.tolist(), units.end.tolist(), strict=True)]
    assert pieces == [text[a:b] for text in texts if text for a, b in twins.UNITS[unit](text)]


@given(
    texts=st.lists(st.one_of(st.none(), TEXTS), max_size=3),
    unit=st.sampled_from(list(RULES)),
    drawn=st.integers(0, M64),
)
def test_texts_without_units_equal_the_twin(texts, unit, drawn):
    found, units = find(*texts, unit=unit)
    removed = np.array([drawn >> row % 64 & 1 for row in range(len(units.start))], np.bool_)
    expected = []
    for text, (first, last) in zip(texts, zip(units.bounds[:-1], units.bounds[1:], strict=True), strict=True):
        gone = set(np.flatnonzero(removed[first:last]).tolist())
        expected.append(text if text is None else twins.without(text, twins.UNITS[unit](text), gone))
    assert without_units(found.texts, units, removed).to_pylist() == expected


@pytest.mark.parametrize(
    ("text", "gone", "left"),
    [
        ("a\nb\nc", {1}, "a\nc"),
        ("a\n\nb\n\nc", {1}, "a\n\nc"),
        ("a\nb\n\nc", {1}, "a\n\nc"),
        ("a\r\nb\r\n", {1}, "a\r\n"),
        ("a\r\nb", {1}, "a"),
        ("\n a\nb", {0}, "\nb"),
        (" a\n  b\n    c", {1}, " a\n    c"),
        ("\n a\n  b", {0}, "\n  b"),
        ("a\nb\n", {0, 1}, None),
        (" \n ", set(), " \n "),
        ("a\n\n \nb\n\n\nc\nd", {1, 2}, "a\n\n \nd"),
    ],
)
def test_blanks_around_what_goes(text, gone, left):
    found, units = find(text)
    removed = np.array([row in gone for row in range(len(units.start))], np.bool_)
    assert without_units(found.texts, units, removed).to_pylist() == [left]


@pytest.mark.parametrize(
    ("gone", "safe", "removed"),
    [
        ("x.....", "......", "xxx..."),
        ("x.x...", "......", "xxxxx."),
        (".x....", "x.....", "...x.."),
        ("x.....", "..x...", "xx...."),
        ("...x..", "x.....", "...xxx"),
    ],
)
def test_spans_that_stay_protect_their_units(gone, safe, removed):
    _, units = find("\n".join("abcdef"))
    flags = [np.array([mark == "x" for mark in row]) for row in (gone, safe)]
    assert "".join(".x"[int(mark)] for mark in covered(units, *flags, 3)) == removed


def test_huge_texts():
    """50 MB in one line, a million blank lines and a million equal ones."""
    for text, number in (
        ("a line that goes on " * 2_500_000, 1),
        ("\n" * 1_000_000, 0),
        ("ab\n" * 1_000_000, 1_000_000),
    ):
        found, units = find(text)
        made = unit_keys(found.texts, units, fold_table(), np.zeros(1, np.uint64), 1, 0)
        copies = copies_in_text(units, made)
        assert len(made) == number
        left = without_units(found.texts, units, copies == LATER).to_pylist()
        assert left == (["ab\n"] if number > 1 else [text])
