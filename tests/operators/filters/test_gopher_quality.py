"""Gopher quality: tables worked out by hand, the fixtures of the reference, a twin in plain Python."""

from __future__ import annotations

import pytest
from hypothesis import given

from operators.filters.gopher_quality import ENGLISH_STOP_WORDS, GopherQuality
from operators.kernels.punctuation import SYMBOLS
from pipeline.operator import Bound
from tests.operators.texts import ONE_MEGABYTE, TEXTS, first_broken, table


def measured(text, **options):
    columns = GopherQuality(**options).measure(table("x", text, None))
    return {name: column.to_pylist()[1] for name, column in columns.items()}


def slow(text):
    words, lines = text.split(), text.splitlines()
    plain = [word for word in words if any(ord(char) not in SYMBOLS for char in word)]
    share = lambda count, whole: count / len(whole) if whole else None  # noqa: E731
    return {
        "num_words": len(plain),
        "chars_per_word": share(sum(map(len, plain)), plain),
        "hash_per_word": share(text.count("#"), words),
        "ellipsis_per_word": share(text.count("...") + text.count("…"), words),
        "bullet_line_fraction": share(sum(line.lstrip().startswith(("•", "-")) for line in lines), lines),
        "ellipsis_line_fraction": share(sum(line.rstrip().endswith(("...", "…")) for line in lines), lines),
        "alpha_word_fraction": share(sum(any(char.isalpha() for char in word) for word in words), words),
        "num_stop_words": len(set(ENGLISH_STOP_WORDS) & set(words)),
    }


@given(TEXTS)
def test_equals_the_slow_twin(text):
    assert measured(text, words="split") == slow(text)


@pytest.mark.parametrize(
    ("text", "measure", "expected"),
    [
        ("", "num_words", 0),
        ("", "chars_per_word", None),
        ("", "bullet_line_fraction", None),
        ("!!! ---", "num_words", 0),
        ("!!! ---", "alpha_word_fraction", 0.0),
        ("１１ ok", "num_words", 1),  # the full-width digit one is on datatrove's list of symbols
        ("2020 ok", "num_words", 2),
        ("ab cdef, gh", "chars_per_word", 8 / 3),  # the comma is no word here
        ("naïve 数据", "chars_per_word", 7 / 3),  # each ideograph a word
        ("ab cdef, gh", "alpha_word_fraction", 3 / 4),  # but one here
        ("# a # b", "hash_per_word", 0.5),
        ("a...... b … ..", "ellipsis_per_word", 3 / 5),
        ("- a\n • b\nc -\n\n", "bullet_line_fraction", 0.5),
        ("a...\nb… \nc..\n…d", "ellipsis_line_fraction", 0.5),
        ("the The the of (to)", "num_stop_words", 3),
    ],
)
def test_by_hand(text, measure, expected):
    assert measured(text)[measure] == expected


def test_null_text_has_no_measures():
    assert all(column.to_pylist()[2] is None for column in GopherQuality().measure(table("x", "y", None)).values())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I am " * 20, "gopher_below_avg_threshold"),
        ("interconnection " * 20, "gopher_above_avg_threshold"),
        ("# comment " * 20, "gopher_too_many_hashes"),
        ("... comment " * 20, "gopher_too_many_ellipsis"),
        ("too few words", "gopher_short_doc"),
        ("- the words that have bullets\n" * 5, "gopher_too_many_bullets"),
        (
            "these lines that end in three dots have the words to be long enough here...\n" * 3,
            "gopher_too_many_end_ellipsis",
        ),
        ("word 12345 word 12345 " * 10, "gopher_below_alpha_threshold"),
        ("plain English words without any function word " * 5, "gopher_enough_stop_words"),
        ("these are the words of a text that have nothing wrong with them " * 2, None),
    ],
)
def test_reasons_of_the_reference(text, reason):
    """The first four are the reference's own fixtures, its minimum lowered to 10 words."""
    assert first_broken(GopherQuality(min_words=10), text) == reason


def test_a_value_on_the_bound_stays():
    text = "these have the 7 words of a sentence " * 2
    assert first_broken(GopherQuality(min_words=16, min_alpha_word_fraction=14 / 16), text) is None
    assert first_broken(GopherQuality(min_words=17), text) == "gopher_short_doc"


def test_own_stop_words_and_rules_turned_off():
    operator = GopherQuality(stop_words=["的", "是", "的"], min_stop_words=1, max_words=None, min_word_chars=1.0)
    assert operator.measure(table("这是我的书"))["num_stop_words"].to_pylist() == [2]
    assert Bound(measure="num_stop_words", reason="gopher_enough_stop_words", min=1) in operator.bounds
    assert "gopher_long_doc" not in [bound.reason for bound in operator.bounds]
    assert GopherQuality(stop_words=[]).measure(table("the"))["num_stop_words"].to_pylist() == [0]


def test_long_stop_words_are_compared_to_the_end():
    operator = GopherQuality(stop_words=["a" * 20, "b" * 20])
    assert operator.measure(table("a" * 20 + " " + "a" * 19 + "b"))["num_stop_words"].to_pylist() == [1]


@pytest.mark.parametrize("name", ONE_MEGABYTE)
def test_long_texts_take_linear_time(name):
    assert len(GopherQuality().measure(table(ONE_MEGABYTE[name]))["num_words"]) == 1
