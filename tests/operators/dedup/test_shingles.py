"""Words and n-grams of the shingle kernel."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from operators.kernels.fold import fold_table
from operators.kernels.shingles import _read_only, _shingles_kernel, shingle_hashes
from tests.operators.dedup.twins import folded_words, shingles

# Letters of many scripts, marks, blanks and what is skipped, so that short examples meet every branch.
MIXED = st.text(
    st.one_of(st.sampled_from("ab Z9.'\n漢字かガｶกี่ขကိုកេतिéе\u0301\u200b\u200d한🙂𠀀\0"), st.characters(codec="utf-8")),
    max_size=60,
)


def column(texts: list[str | None]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def spelled(text: str) -> list[str]:
    return ["".join(map(chr, word)) for word in folded_words(text)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" .\n", []),
        ("Naïve, DON'T stop!", ["naive", "don", "t", "stop"]),
        ("x²=１６", ["x2", "16"]),
        ("数据 set清洗v2", ["数", "据", "set", "清", "洗", "v2"]),
        ("がぎ", ["か", "き"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("co\u00adope\u200drate", ["cooperate"]),
        ("\u0e35ก", ["ก"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    """Worked out by hand; a mark without a character before it is nothing."""
    assert spelled(text) == words
    _, starts = shingle_hashes(column([text]), 1)
    assert starts[-1] == len(words)


@settings(deadline=None)  # the first call may compile
@given(st.lists(st.one_of(st.none(), MIXED), max_size=5), st.integers(1, 6))
@example(["กี"], 1)
@example(["a" * 5000, "漢" * 500, "\u0301"], 2)
def test_equals_the_obvious_python(texts: list[str | None], ngram: int) -> None:
    hashes, starts = shingle_hashes(column(texts), ngram)
    parts = [hashes[starts[k] : starts[k + 1]].tolist() for k in range(len(texts))]
    assert parts == [shingles(text or "", ngram) for text in texts]


def test_a_slice_of_a_column_is_read_as_such() -> None:
    whole = column(["one two", None, "three four five", ""])
    hashes, starts = shingle_hashes(whole.slice(2), 2)
    assert hashes.tolist() == shingles("three four five", 2)
    assert starts.tolist() == [0, 2, 2]
    chunked = pa.chunked_array([whole.slice(0, 1), whole.slice(1)])
    assert np.array_equal(shingle_hashes(chunked, 2)[0], shingle_hashes(whole, 2)[0])


def test_order_of_words_counts_and_case_does_not() -> None:
    hashes, _ = shingle_hashes(column(["a b c", "A, B: c", "b a c", "ab c d"]), 3)
    first, same, swapped, shifted = hashes.tolist()
    assert first == same
    assert len({first, swapped, shifted}) == 3


@settings(deadline=None)  # the first call may compile
@given(st.binary(max_size=40))
@example(b"\xe6\xbc")
@example(b"\xf0")
@example(b"\xff\xf4\xff\xff\xff")
def test_malformed_bytes_stay_within_their_text(raw: bytes) -> None:
    """The reader promises valid UTF-8; what is not may give any hashes, but only of its own bytes."""
    after = "漢字漢字".encode()
    out, starts = np.zeros(64, np.uint32), np.zeros(3, np.int64)
    data = np.frombuffer(raw + after, np.uint8)
    offsets = _read_only(np.array([0, len(raw), len(raw) + len(after)]))
    _shingles_kernel(data, offsets, fold_table(), 1, out, starts)
    assert starts[1] <= (len(raw) + 1) // 2
    assert out[starts[1] : starts[2]].tolist() == shingles("漢字漢字", 1)
