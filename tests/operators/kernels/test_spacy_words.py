"""English words as spaCy finds them, against what spaCy 3.8.18 itself made of some 440 hard strings.

``tests/golden/spacy/english-3.8.18.json`` holds each with ``spacy.blank("en").tokenizer``'s tokens, white space left out: 20
by hand, the others drawn from pieces that its rules name. The larger comparison (`python -m benchmarks.parity`) needs spaCy.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from operators.kernels.buffers import text_buffers
from operators.kernels.segmentation import Segments
from operators.kernels.spacy_rules import row_of, spacy_tables
from operators.kernels.spacy_words import spacy_rules

GOLDEN = Path(__file__).parents[2] / "golden" / "spacy" / "english-3.8.18.json"


def words_of(texts: list[str]) -> list[list[str]]:
    buffers = text_buffers(pa.array(texts, pa.large_string()))
    words, data = Segments(buffers).words("spacy"), buffers.data.tobytes()
    spans = [data[start : start + size].decode() for start, size in zip(words.start, words.size, strict=True)]
    return [spans[words.bounds[k] : words.bounds[k + 1]] for k in range(len(texts))]


def test_the_words_are_spacys() -> None:
    rows = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert len(rows) == 440
    found = words_of([text for text, _ in rows])
    assert [one for one in zip(rows, found, strict=True) if one[0][1] != one[1]] == []


def test_words_hang_on_their_own_text_alone() -> None:
    rows = json.loads(GOLDEN.read_text(encoding="utf-8"))[-60:]
    alone = [words_of([text])[0] for text, _ in rows]
    assert alone == [tokens for _, tokens in rows]


def test_measures_are_those_of_the_words() -> None:
    text = "Café isn't $5.20, 中文。"
    words = Segments(text_buffers(pa.array(["x", text], pa.large_string()))).words("spacy")
    expected = ["x", "Café", "is", "n't", "$", "5.20", ",", "中文", "。"]
    assert words.chars.tolist() == [len(word) for word in expected]
    assert words.size.tolist() == [len(word.encode()) for word in expected]
    twice = Segments(text_buffers(pa.array(["n't Café"], pa.large_string()))).words("split")
    assert [words.hash[3], words.hash[1]] == twice.hash.tolist()


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        pytest.param(")", 1_000_000, id="suffixes"),
        pytest.param("a", 1, id="one letter"),
        pytest.param("-", 1, id="hyphens"),
        pytest.param(".", 1, id="dots"),
        # Each turn takes one at the front and two at the end, and one is left: 2 x 333,333 + 1.
        pytest.param("\u2026", 666_667, id="ellipses"),
    ],
)
def test_a_million_of_one_character(piece: str, words: int) -> None:
    """What a quadratic loop would never finish; the counts are what spaCy's rules say of fewer of them."""
    assert len(words_of([piece * 1_000_000])[0]) == words


def test_a_special_is_found_only_whole() -> None:
    tables = spacy_tables()
    data = pa.array(["xdon'tx"], pa.large_string())
    bytes_ = text_buffers(data).data
    row = row_of(tables.specials, bytes_, 1, 6)
    assert row >= 0
    assert tables.specials.cuts[row] == 0b101  # do, n't
    assert row_of(tables.specials, bytes_, 0, 6) == row_of(tables.specials, bytes_, 1, 7) == -1


def test_few_specials_would_be_cut_otherwise() -> None:
    rules = spacy_rules()
    assert rules.most_cut <= 16
    assert 0 < (rules.cut_as > 0).sum() < len(rules.cut_as)
