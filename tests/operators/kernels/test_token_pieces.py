"""Tokens counted by kind and held against the text they came from: the kernels equal the obvious Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.kernels.token_pieces import Pieces, count_kinds, find_lossless

PIECES = [b"", b"a", b"b", b"ab", b"abab", b"\xe4", b"\xb8\xad", b" "]
KINDS = [0, 1, 1, 0, 8, 3, 2, 1]
DOCUMENTS = st.lists(st.lists(st.integers(0, len(PIECES) - 1), max_size=6), max_size=6)
WIDTHS = pytest.mark.parametrize("width", [np.uint16, np.uint32])


def table() -> Pieces:
    bounds = np.cumsum([0, *map(len, PIECES)])
    return Pieces(np.frombuffer(b"".join(PIECES), np.uint8), bounds)


def flat(documents: list[list[int]], width: type) -> tuple[np.ndarray, np.ndarray]:
    return np.array([k for document in documents for k in document], width), np.cumsum([0, *map(len, documents)])


@WIDTHS
@given(documents=DOCUMENTS)
def test_kinds_are_counted_as_in_python(width: type, documents: list[list[int]]) -> None:
    ids, offsets = flat(documents, width)
    used, counts = np.zeros(len(PIECES), np.int64), np.zeros((len(documents), 4), np.int64)
    count_kinds(ids, offsets, np.array(KINDS, np.uint8), used, counts)
    assert used.tolist() == [sum(document.count(k) for document in documents) for k in range(len(PIECES))]
    assert counts.tolist() == [
        [sum(KINDS[k] >> bit & 1 for k in document) for bit in range(4)] for document in documents
    ]


@WIDTHS
@given(data=st.data(), documents=DOCUMENTS)
def test_texts_are_compared_as_in_python(width: type, data: st.DataObject, documents: list[list[int]]) -> None:
    ids, offsets = flat(documents, width)
    spelt = [b"".join(PIECES[k] for k in document) for document in documents]
    texts = [data.draw(st.sampled_from([text, text + b"a", text[:-1], text[::-1], b""])) for text in spelt]
    lossless = np.zeros(len(texts), np.bool_)
    content = np.frombuffer(b"".join(texts) + b"\0", np.uint8)
    find_lossless(ids, offsets, table(), content, np.cumsum([0, *map(len, texts)]), lossless)
    assert lossless.tolist() == [text == own for text, own in zip(texts, spelt, strict=True)]


def test_offsets_need_not_start_at_zero() -> None:
    ids, offsets = np.array([7, 3, 1], np.uint16), np.array([1, 3])
    lossless = np.zeros(1, np.bool_)
    find_lossless(ids, offsets, table(), np.frombuffer(b"xabay", np.uint8), np.array([1, 4]), lossless)
    assert lossless.tolist() == [True]
