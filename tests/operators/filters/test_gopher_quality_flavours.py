"""Gopher quality as the paper, DCLM and Dolma count it: tables worked out by hand, reasons in their order, twins."""

from __future__ import annotations

import re
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.filters.gopher_quality import ENGLISH_STOP_WORDS, GopherQuality
from tests.operators.texts import ONE_MEGABYTE, TEXTS, first_broken, table

FLAVOURS = ["paper", "dclm", "dolma"]

MARKED = st.lists(
    st.sampled_from(["# ", "a#", "…", " …", "...", ". . .", ". ", " .", "..", "\n", "\n", "\n\n", " \n", "• ", "● ", "* ", "-", "a ",
                     "The ", "the ", "OF ", "of, ", "1 ", "wordy ", "\u3000", "\xa0", "\0", "\r", "\u2028"]),
    max_size=40,
).map("".join)  # fmt: skip
"""Nearly every piece touches a rule."""


def measured(text, flavour, **options):
    """The measures of one text, without the flavour before their names."""
    columns = GopherQuality(flavour=flavour, **options).measure(table("x", text, None))
    return {name.removeprefix(f"{flavour}_"): column.to_pylist()[1] for name, column in columns.items()}


def share(count, whole):
    return count / whole if whole else None


def slow_paper(text):
    words, lines = text.split(), [line.strip() for line in text.split("\n") if line.strip()]
    return {
        "num_words": len(words),
        "chars_per_word": share(sum(map(len, words)), len(words)),
        "hash_per_word": share(text.count("#"), len(words)),
        "ellipsis_per_word": share(text.count("...") + text.count("…"), len(words)),
        "bullet_line_fraction": share(sum(line[0] in "●•*-" for line in lines), len(lines)),
        "ellipsis_line_fraction": share(sum(line.endswith(("...", "…")) for line in lines), len(lines)),
        "alpha_word_fraction": share(sum(any(map(str.isalpha, word)) for word in words), len(words)),
        "num_stop_words": len({word.lower() for word in words} & set(ENGLISH_STOP_WORDS)),
    }


def slow_dclm(text):
    words, lines = text.split(), [line.strip() for line in text.split("\n") if line.strip()]
    tokens = re.split("[ \n\r\t\v\f\0]+", text)
    symbols = sum(map(text.count, ["#", "...", ". . .", "…"]))
    return {
        "num_words": sum(token[0].isalnum() for token in tokens if token),
        "chars_per_word": share(sum(map(len, words)), len(words)),
        "symbols_per_word": share(symbols, len(words)),
        "bullet_line_fraction": share(sum(line[0] in "●•*-" for line in lines), len(lines)),
        "ellipsis_line_fraction": share(sum(line.endswith(("...", ". . .", "…")) for line in lines), len(lines)),
        "alpha_word_fraction": share(sum(any(map(str.isalpha, word)) for word in words), len(words)),
        "num_stop_words": sum(word.lower() in ENGLISH_STOP_WORDS for word in words),
    }


def slow_dolma(text):
    words, lines = text.split(), text.split("\n")
    return {
        "num_words": len(words),
        "median_word_chars": median(map(len, words)) if words else None,
        "symbol_word_fraction": share(sum("#" in word or "…" in word for word in words), len(words)),
        "bullet_line_fraction": share(sum(line.startswith(("*", "-")) for line in lines), len(lines)),
        "ellipsis_line_fraction": share(sum(line.endswith("…") for line in lines), len(lines)),
        "alpha_word_fraction": share(sum(any(map(str.isalpha, word)) for word in words), len(words)),
        "num_stop_words": sum(word in ENGLISH_STOP_WORDS for word in words),
    }


@pytest.mark.parametrize(("flavour", "slow"), [("paper", slow_paper), ("dclm", slow_dclm), ("dolma", slow_dolma)])
@given(text=st.one_of(TEXTS, MARKED))
def test_equals_the_slow_twin(flavour, slow, text):
    assert measured(text, flavour) == slow(text)


@pytest.mark.parametrize(
    ("text", "measure", "paper", "dclm", "dolma"),
    [
        ("", "num_words", 0, 0, 0),
        ("", "alpha_word_fraction", None, None, None),
        ("", "bullet_line_fraction", None, None, 0.0),  # "" is one line for Dolma
        ("(word) word — naïve 数据，数 2x\u3000y", "num_words", 7, 4, 7),  # fastText does not split at U+3000
        ("a bb ccc dddd ee", "chars_per_word", 12 / 5, 12 / 5, None),
        ("a bb ccc dddd ee", "median_word_chars", None, None, 2.0),
        ("a bb ccc dddd", "median_word_chars", None, None, 2.5),
        ("# a #b# …c ... d", "hash_per_word", 3 / 6, None, None),
        ("# a #b# …c ... d", "ellipsis_per_word", 2 / 6, None, None),
        ("# a #b# …c ... d", "symbols_per_word", None, 5 / 6, None),
        ("# a #b# …c ... d", "symbol_word_fraction", None, None, 3 / 6),
        (". . . . . a . . .", "symbols_per_word", None, 2 / 9, None),  # without overlap
        (".. . . a", "symbols_per_word", None, 1 / 4, None),
        ("aaaaaa..bbbbbbbb.", "symbols_per_word", None, 0.0, None),  # the kernel skips eight bytes without a symbol
        ("aaaa. . bbbbbbbb.", "symbols_per_word", None, 0.0, None),
        ("- a\n * b\n●c\n\n•d\n -\nx", "bullet_line_fraction", 5 / 6, 5 / 6, 1 / 7),
        ("a...\nb… \nc…\n\nd. . .\n…e", "ellipsis_line_fraction", 3 / 5, 4 / 5, 1 / 6),
        (". . .\n...\n…\n. .\n..", "ellipsis_line_fraction", 2 / 5, 3 / 5, 1 / 5),
        ("a1 1 ## 中 é", "alpha_word_fraction", 3 / 5, 3 / 5, 3 / 5),
        ("The the THE of of, (to)", "num_stop_words", 2, 4, 2),
    ],
)
def test_by_hand(text, measure, paper, dclm, dolma):
    assert [measured(text, flavour).get(measure) for flavour in FLAVOURS] == [paper, dclm, dolma]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_null_text_has_no_measures_and_empty_text_no_quotients_of_words(flavour):
    columns = GopherQuality(flavour=flavour).measure(table("x", "", None))
    assert all(name.startswith(f"{flavour}_") for name in columns)
    assert all(column.to_pylist()[2] is None for column in columns.values())
    empty = {name: column.to_pylist()[1] for name, column in columns.items()}
    assert {name for name, value in empty.items() if "word" in name and value is not None} == {
        f"{flavour}_num_words",
        f"{flavour}_num_stop_words",
    }


def test_one_rule_for_all_words_where_it_is_named():
    text = "(the) of\u3000of the. 中文"
    assert measured(text, "dclm", words="split")["num_words"] == 5
    split, characters = measured(text, "dclm"), measured(text, "dclm", words="characters")
    assert (split["num_words"], split["chars_per_word"], split["num_stop_words"]) == (3, 15 / 5, 2)
    assert (characters["num_words"], characters["chars_per_word"], characters["num_stop_words"]) == (12, 1.0, 0)
    assert measured(text, "paper", words="uax29")["num_words"] == 6


def test_own_stop_words_in_lower_case():
    listed = ["école", "ÉTÉ", "straße", "k"]
    text = "École ÉCOLE ÉTÉ été STRASSE Straße \u212a K k kk"
    assert measured(text, "dclm", stop_words=listed)["num_stop_words"] == 6  # ÉTÉ is listed, but no word in lower case
    assert measured(text, "paper", stop_words=listed)["num_stop_words"] == 3
    assert measured(text, "dolma", stop_words=listed)["num_stop_words"] == 2  # ÉTÉ and k
    assert measured(text, "dclm", stop_words=[])["num_stop_words"] == 0


@pytest.mark.parametrize(
    ("flavour", "expected"), [("paper", [1, 2, 0, 1]), ("dclm", [2, 2, 0, 1]), ("dolma", [2, 2, 0, 1])]
)
def test_each_text_has_its_own_stop_words(flavour, expected):
    columns = GopherQuality(flavour=flavour).measure(table("the the", "of the", "", "the"))
    assert columns[f"{flavour}_num_stop_words"].to_pylist() == expected


@pytest.mark.parametrize(
    ("text", "paper", "dclm", "dolma"),
    [
        ("I am " * 20, "below_avg_threshold", "below_avg_threshold", "below_avg_threshold"),
        ("interconnection " * 20, "above_avg_threshold", "above_avg_threshold", "above_avg_threshold"),
        ("# comment " * 20, "too_many_hashes", "too_many_symbols", "too_many_symbols"),
        ("... comment " * 20, "too_many_ellipsis", "too_many_symbols", "below_alpha_threshold"),
        ("too few words", "short_doc", "short_doc", "short_doc"),
        ("the (of) “and” " * 4, "enough_stop_words", "short_doc", None),
        ("the of (of) (and) " * 4, None, "short_doc", None),
        ("\n".join(["* the words that have bullets"] * 5), "too_many_bullets", "too_many_bullets", "too_many_bullets"),
        (" * the words that have bullets\n" * 5, "too_many_bullets", "too_many_bullets", None),
        ("these lines that end in dots have the words to be long enough…\n" * 3, "too_many_end_ellipsis",
         "too_many_end_ellipsis", "too_many_end_ellipsis"),
        ("these lines that end in dots have the words to be long enough...\n" * 3, "too_many_end_ellipsis",
         "too_many_end_ellipsis", None),
        ("these lines that end in dots have the words to be long enough . . .\n" * 3, None, "too_many_end_ellipsis",
         None),
        ("word 12345 word 12345 " * 10, "below_alpha_threshold", "below_alpha_threshold", "below_alpha_threshold"),
        ("plain English words without any function word " * 5, "enough_stop_words", "enough_stop_words",
         "enough_stop_words"),
        ("The words in which one article appears twice: The end here.", "enough_stop_words", None, "enough_stop_words"),
        ("these are the words of a text that have nothing wrong with them " * 2, None, None, None),
    ],
)  # fmt: skip
def test_first_reasons(text, paper, dclm, dolma):
    """The first four texts are datatrove's fixtures, the minimum lowered to 10 words as there."""
    reasons = [first_broken(GopherQuality(flavour=flavour, min_words=10), text) for flavour in FLAVOURS]
    assert [reason and reason.removeprefix("gopher_") for reason in reasons] == [paper, dclm, dolma]


def test_reasons_come_in_the_order_of_the_reference():
    start = ["short_doc", "long_doc", "below_avg_threshold", "above_avg_threshold"]
    lines, words = ["too_many_bullets", "too_many_end_ellipsis"], ["below_alpha_threshold", "enough_stop_words"]
    for flavour, rest in (
        ("paper", ["too_many_hashes", "too_many_ellipsis", *lines, *words]),
        ("dclm", ["too_many_symbols", *lines, *words]),
        ("dolma", ["too_many_symbols", *words, *lines]),
    ):
        bounds = GopherQuality(flavour=flavour).bounds
        assert [bound.reason.removeprefix("gopher_") for bound in bounds] == start + rest
        assert all(bound.measure.startswith(f"{flavour}_") for bound in bounds)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_values_on_the_bounds_stay(flavour):
    text = "the of " + "ab1 " * 38 + "1 " * 10  # 129 characters in 50 words, of which 40 have a letter
    assert measured(text, flavour)["alpha_word_fraction"] == 0.8
    assert first_broken(GopherQuality(flavour=flavour, min_words=50, max_words=50, min_word_chars=2.58), text) is None
    assert (
        first_broken(GopherQuality(flavour=flavour, min_word_chars=2.5), text + " 1") == "gopher_below_alpha_threshold"
    )
    assert first_broken(GopherQuality(flavour=flavour, min_words=51), text) == "gopher_short_doc"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_rule_can_be_turned_off(flavour):
    limits = [name for name in GopherQuality.model_fields if name.startswith(("min_", "max_"))]
    assert GopherQuality(flavour=flavour, **dict.fromkeys(limits)).bounds == ()


@pytest.mark.parametrize("name", ONE_MEGABYTE)
def test_long_texts_take_linear_time(name):
    for flavour in FLAVOURS:
        assert len(GopherQuality(flavour=flavour).measure(table(ONE_MEGABYTE[name]))[f"{flavour}_num_words"]) == 1


def test_median_of_words_of_all_lengths_takes_linear_time():
    """One word of each length up to 2,000: as many different values as a megabyte of words can have."""
    text = " ".join("a" * size for size in range(1, 2_001))
    assert measured(text, "dolma")["median_word_chars"] == 1000.5
