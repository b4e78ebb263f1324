"""append_eos against lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.kernels.append_eos import append_eos

EOS = 7
WIDTHS = [(np.uint16, np.uint16), (np.uint32, np.uint32), (np.uint32, np.uint16)]


@pytest.mark.parametrize("widths", WIDTHS, ids=["16", "32", "32-to-16"])
@given(documents=st.lists(st.lists(st.integers(0, 9) | st.integers(65_000, 65_535), max_size=40), max_size=9))
def test_equals_lists(widths: tuple[type, type], documents: list[list[int]]) -> None:
    ids = np.array([token for document in documents for token in document], widths[0])
    ends = np.cumsum([len(document) for document in documents]).astype(np.int64)
    out = np.full(len(ids) + len(ends), 9, widths[1])
    found = append_eos(ids, ends, EOS, out)
    assert out.tolist() == [token for document in documents for token in [*document, EOS]]
    assert found == next((n for n, document in enumerate(documents) if EOS in document), -1)


def test_a_document_of_many_tokens_and_a_high_end_mark() -> None:
    ids = np.arange(100_000, dtype=np.uint32) + 70_000
    out = np.zeros(100_002, np.uint32)
    ends = np.array([99_999, 100_000])
    assert append_eos(ids, ends, 69_999, out) == -1
    assert out[99_998:].tolist() == [169_998, 69_999, 169_999, 69_999]
    assert append_eos(ids, ends, 169_999, out) == 1
    assert append_eos(ids, ends, 70_000, out) == 0
