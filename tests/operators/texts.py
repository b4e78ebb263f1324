"""Texts that break text code, and how to put them into a table."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import strategies as st

from pipeline.operator import Filter

FRAGMENTS = [
    "a", "b", "ab", "the", "of", "The", "don't", "I'll", "n't", "'", "''", "1", "2,5", "3.50", "½", "１", "x",
    " ", " ", " ", "  ", "\t", "\n", "\n", "\n\n", "\n\n\n", "\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x1f", "\x85", "\u2028", "\u2029",
    "\xa0", "\u3000", "\u200b", "\0", ".", "..", "...", "....", "…", "!", "?", "?!", ",", ":", ";", "#", "-", "--", "---", "•", "*", "(", ")", "[1]",
    "“", "”", "’", "「", "」", "。", "！", "，", "·", "é", "e\u0301", "\u0301", "\u0308", "ß", "ﬁ", "中", "文", "々", "か", "ナ", "ｰ", "한", "글",
    "ไ", "ท", "ย\u0e31", "ກ", "ខ", "က", "क", "\u093f", "ع", "ר", "\u200f", "😀", "👩\u200d👧", "\U00010000", "\U0001f1e9", "Mr.", "U.S.", "e.g.",
    "word", "longerword", "averyveryverylongword", "javascript", "lorem ipsum", "{", "use cookies", "cooKies", "uses coo\u212aies", "[edit]", "\ufffd",
]  # fmt: skip

TEXTS = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=3)), max_size=40).map("".join)

REPETITIVE = st.lists(
    st.sampled_from(["a", "b", "ab", "ba", "aab", "é", "中", "longerword", " ", " ", " ", "\n", "\n\n"]), max_size=60
).map("".join)
"""Few words, so that n-grams repeat, also across word borders: "a b" and "ab" joined."""

ONE_MEGABYTE = {
    "one letter": "a" * 1_000_000,
    "a-": "a-" * 500_000,
    "newlines": "\n" * 1_000_000,
    "one word": "word " * 200_000,
    "end marks": "!?" * 500_000,
    "closed marks": ".)" * 500_000,
    "dots and blanks": ". " * 500_000,
    "apostrophes": "'" * 1_000_000,
    "open brackets": "[1" * 500_000,
    "marks": "\u0301" * 500_000,
    "one ideograph": "中" * 333_333,
    "two ideographs": "中文" * 166_666,
    "blanks": " " * 1_000_000,
    "10 MB on one line": "some words of a line that never ends, " * 270_000,
}


def table(*texts: str | None) -> pa.Table:
    """Documents with just an id and a text."""
    return pa.table({"id": pa.array([str(k) for k in range(len(texts))]), "text": pa.array(texts, pa.large_string())})


def first_broken(operator: Filter, text: str) -> str | None:
    """The reason of the first bound, in the operator's order, that a text breaks."""
    values = {name: column.to_pylist()[0] for name, column in operator.measure(table(text)).items()}
    for bound in operator.bounds:
        value = values[bound.measure]
        if (bound.min is not None and value < bound.min) or (bound.max is not None and value > bound.max):
            return bound.reason
    return None
