"""Pieces of text: those of the published expression as the tokenizers library reads it."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.kernels.buffers import text_buffers
from operators.kernels.piece_counts import partitions
from operators.kernels.unicode_table import UNASSIGNED, unicode_flags
from operators.tokenize.training import piece_table
from operators.tokenize.training.piece_table import PieceTable
from operators.tokenize.training.splitting import Splitting

ATOMS = st.sampled_from(
    [*"aAbZé1239 \t\n\r.,'!-—sStTrReEvVlLmMdDſ中文，。 \u3000\u0085\u2028\x1c\x0b½Ⅷ٣😀一三〇〆々あ한\u0301\U00016fe2",
     "'s", "'RE", "'Ll", "  ", "\r\n", "'ſ", "aaaaaaaaaaaaaaaaaa", "中文中文中"]
)  # fmt: skip
TEXTS = st.lists(ATOMS, max_size=16).map("".join)


def pieces(texts: list[str], splitting: Splitting) -> list[str]:
    buffers, cuts = splitting.pieces(pa.array(texts, pa.large_string()))
    return [buffers.data[a:b].tobytes().decode() for a, b in pairwise(cuts)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("1234567", ["123", "456", "7"]),
        ("don't stop, we'LL", ["don", "'t", " stop", ",", " we", "'LL"]),
        ("x  y\n\nz \n ", ["x", " ", " y", "\n\n", "z", " \n", " "]),
        ("==> f(x)!\r\n\n2", ["==>", " f", "(x", ")!\r\n\n", "2"]),
        ("今天天气很好，我们", ["今天天气", "很好", "，", "我们"]),
        ("a" * 20, ["a" * 16, "a" * 4]),
        (" 中文字四个五", [" ", "中文字四", "个五"]),
    ],
)
def test_worked_by_hand(text: str, expected: list[str]) -> None:
    assert pieces([text], Splitting()) == expected


@settings(max_examples=250, deadline=None)
@given(text=TEXTS, digits=st.sampled_from([1, 2, 3]), han=st.sampled_from(["clause", "character"]))
def test_equals_the_library(text: str, digits: int, han: str) -> None:
    splitting = Splitting.model_validate({"form": "text", "digits": digits, "han": han})
    assert pieces([text], splitting) == [piece for piece, _ in splitting.training().pre_tokenize_str(text)]


@given(texts=st.lists(TEXTS, max_size=5))
def test_texts_are_cut_apart(texts: list[str]) -> None:
    apart = [piece for text in texts for piece in pieces([text], Splitting())]
    assert pieces(texts, Splitting()) == apart
    assert "".join(apart) == "".join(texts)


def test_every_letter_and_number_of_unicode_14() -> None:
    """Every fifth of the lower code points; those that came later than our table are left out."""
    known = [code for code in range(1, 0x3400, 5) if not unicode_flags()[code] & UNASSIGNED]
    text = "".join(f"a{chr(code)}1 " for code in known)
    splitting = Splitting(form="text")
    assert pieces([text], splitting) == [piece for piece, _ in splitting.training().pre_tokenize_str(text)]


@pytest.mark.parametrize("letter", ["a", "中", " ", "\n", "1", "'", "-", "a-", "\U0001f600"])
def test_a_megabyte_of_one_thing(letter: str) -> None:
    text = letter * (1_000_000 // len(letter.encode()))
    assert sum(map(len, pieces([text], Splitting()))) == len(text)


def test_words_are_those_of_bert() -> None:
    words = Splitting(form="words")
    assert pieces(["It's 3.5\x00 kg，很好"], words) == ["It", "'", "s", "3", ".", "5", "kg", "，", "很好"]
    assert pieces(["很好"], Splitting(form="words", han="character")) == ["很", "好"]


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(TEXTS, max_size=8), number=st.integers(1, 5), cut=st.integers(0, 8))
def test_counts_equal_a_counter(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], number: int, cut: int
) -> None:
    """Counted in two tables, put into files by partition, and summed again."""
    folder, runs = tmp_path_factory.mktemp("runs"), []
    for half in (texts[:cut], texts[cut:]):
        table = PieceTable()
        for text in half:
            buffers, cuts = Splitting().pieces(pa.array([text], pa.large_string()))
            table.add(buffers.data, cuts)
        runs.append(folder / f"{len(runs)}.arrow")
        piece_table.write(runs[-1], table.by_partition(number))
    found = [piece_table.summed((piece_table.read(run, k) for run in runs), most_rows=3) for k in range(number)]
    assert all(part["piece"].to_pylist() == sorted(part["piece"].to_pylist()) for part in found)
    whole = pa.concat_tables(found)
    expected = Counter(piece.encode() for text in texts for piece in pieces([text], Splitting()))
    assert whole.num_rows == len(expected)
    assert dict(zip(whole["piece"].to_pylist(), whole["count"].to_pylist(), strict=True)) == expected


def test_a_table_grows() -> None:
    words = [f"word{k}" for k in range(30_000)]
    column = text_buffers(pa.array(words, pa.large_string()))
    table = PieceTable()
    for first in range(0, 30_000, 1000):
        table.add(column.data, column.offsets[first : first + 1001].copy())
    table.add(column.data, column.offsets[:101].copy())
    whole = pa.concat_tables(table.by_partition(3))
    counts = dict(zip(whole["piece"].to_pylist(), whole["count"].to_pylist(), strict=True))
    assert counts == {word.encode(): 2 if k < 100 else 1 for k, word in enumerate(words)}


def test_partitions_are_the_same_everywhere() -> None:
    """FNV-1a of nothing is its offset basis; mixed and cut to 32 bits it is, by hand with Python's integers:"""
    data, bounds = np.frombuffer(b"a\0", np.uint8), np.array([0, 0, 1])
    expected = []
    for piece in (b"", b"a"):
        mixed = 0xCBF29CE484222325
        for byte in piece:
            mixed = (mixed ^ byte) * 0x100000001B3 % 2**64
        mixed = (mixed ^ mixed >> 32) * 0x9E3779B97F4A7C15 % 2**64
        expected.append((mixed >> 32) % 7)
    assert partitions(data, bounds, 7).tolist() == expected
