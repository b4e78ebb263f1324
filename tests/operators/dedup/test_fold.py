"""The shipped fold table: what it says of single characters, and that its script still makes it."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.kernels import fold
from tests.operators.dedup.twins import folded_words


def entry(char: str) -> tuple[int, str]:
    value = int(fold.fold_table()[ord(char)])
    return value >> fold.CODE_BITS, chr(value & 0xFFFFFF)


@pytest.mark.parametrize(
    ("char", "kind", "base"),
    [
        ("a", fold.LETTER, "a"),
        ("Z", fold.LETTER, "z"),
        ("7", fold.LETTER, "7"),
        ("É", fold.LETTER, "e"),
        ("ς", fold.LETTER, "σ"),
        ("ß", fold.LETTER, "ß"),
        ("İ", fold.LETTER, "i"),
        ("й", fold.LETTER, "и"),
        ("A", fold.LETTER, "a"),
        ("٣", fold.LETTER, "3"),
        ("３", fold.LETTER, "3"),
        ("²", fold.LETTER, "2"),
        ("한", fold.LETTER, "한"),
        ("क", fold.LETTER, "क"),
        ("漢", fold.ALONE, "漢"),
        ("𠀀", fold.ALONE, "𠀀"),
        ("が", fold.ALONE, "か"),
        ("ｶ", fold.ALONE, "カ"),
        ("ก", fold.ALONE, "ก"),
        ("ກ", fold.ALONE, "ກ"),
        ("ក", fold.ALONE, "ក"),
        ("က", fold.ALONE, "က"),
        ("ి", fold.MARK, "ి"),
        ("ี", fold.MARK, "ี"),
    ],
)
def test_one_for_one(char: str, kind: int, base: str) -> None:
    assert entry(char) == (kind, base)


@pytest.mark.parametrize("char", list(" \n\t\0.,'’“-_–+$%。、！　…🙂\u2028\ue000\ufffd\uffff"))
def test_separates(char: str) -> None:
    assert entry(char)[0] == fold.SEPARATOR


@pytest.mark.parametrize(
    "char", ["\u0301", "\u00ad", "\u200d", "\u200b", "\ufeff", "\u064e", "\u3099", "\ufe0f", "\u093c"]
)
def test_skipped(char: str) -> None:
    assert entry(char)[0] == fold.SKIP


def test_ascii_is_letters_and_separators_only() -> None:
    """The kernel's fast path takes the kind of an ASCII character as 0 or 1."""
    assert set((fold.fold_table()[:128] >> fold.CODE_BITS).tolist()) == {fold.SEPARATOR, fold.LETTER}


def test_words_of_scripts_without_blanks_take_three_bytes() -> None:
    """The kernel's buffers count on one word in two bytes at most."""
    alone = np.flatnonzero(fold.fold_table() >> fold.CODE_BITS == fold.ALONE)
    assert alone[0] >= 0x800


@pytest.mark.skipif(
    unicodedata.unidata_version != fold.UNICODE_VERSION, reason="this Python has another Unicode version"
)
def test_the_script_makes_the_shipped_table() -> None:
    assert np.array_equal(fold.build(), fold.fold_table())


@settings(deadline=None)  # the first call may compile
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cn"], max_codepoint=0x4FF), max_size=30))
def test_both_normal_forms_and_cases_have_the_same_words(text: str) -> None:
    """For Latin, Greek and Cyrillic, character by character (İ, ŉ and the like become two letters)."""
    text = "".join(char for char in text if len(char.upper()) == 1 and char.upper().lower() == char.lower())
    words = folded_words(unicodedata.normalize("NFC", text))
    assert folded_words(unicodedata.normalize("NFD", text)) == words
    assert folded_words(unicodedata.normalize("NFC", text).upper()) == words


def test_kana_in_both_normal_forms() -> None:
    assert folded_words(unicodedata.normalize("NFD", "ガギグ")) == folded_words("ガギグ")
