"""The account of rows: counts by name against a loop over rows, excerpts cut at characters, verdicts in words."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import apply
from pipeline.dropped import Dropped, Verdicts, dropped_rows
from pipeline.groups import Named
from pipeline.ledger import Count
from pipeline.operator import Bound, Filter, Map
from pipeline.rejects import excerpts

ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b|c", "a|b", "c", ""]), st.sampled_from(["c", "en", ""]), st.integers(0, 9)),
    max_size=30,
)


class Steps(Filter):
    """The number in the text; a text without one has none, and ``nan`` is no number."""

    @property
    def bounds(self) -> tuple[Bound, ...]:
        return (
            Bound("number", min=0.5, reason="small"),
            Bound("number", max=3.0, exclusive=True, reason="large", by_language=(("zh", None, 9.0),)),
        )

    def measure(self, docs: pa.Table) -> dict[str, pa.Array]:
        return {"number": pa.array([float(t) if t else None for t in docs["text"].to_pylist()], pa.float64())}


class NoDigits(Map):
    """Takes digits out."""

    def map(self, docs: pa.Table) -> pa.Table:
        texts = [t and t.replace("1", "") for t in docs["text"].to_pylist()]
        return docs.set_column(docs.column_names.index("text"), "text", pa.array(texts, pa.large_string()))


@given(rows=ROWS)
@settings(deadline=None)  # the first call loads Arrow's functions
def test_counts_equal_a_loop_over_rows(rows: list[tuple[str, str, int]]) -> None:
    expected: dict[str, Count] = {}
    for source, language, size in rows:
        expected.setdefault(f"{source}|{language}", Count()).add(1, size)
    named = [Named.of(pa.chunked_array([[row[k] for row in rows]], pa.string())) for k in (0, 1)]
    found = named[0].and_(named[1], "|").count(np.array([row[2] for row in rows], np.int64))
    assert found == expected
    assert list(found) == list(expected)  # in the order of first rows


def test_masked_counts_leave_out_names_without_rows() -> None:
    named = Named.of(pa.array(["en", "zh", "en"]))
    assert named.count(np.array([5, 7, 11]), np.array([False, False, True])) == {"en": Count(1, 11)}


@settings(deadline=None)
@given(texts=st.lists(st.one_of(st.none(), st.text("a数😀é", max_size=12)), max_size=8), skip=st.integers(0, 3))
@pytest.mark.parametrize("scrubbers", [(), (NoDigits(),)], ids=["plain", "scrubbed"])
def test_an_excerpt_is_the_first_300_characters(texts: list[str | None], skip: int, scrubbers: tuple[Map, ...]) -> None:
    long = [text and text * 130 for text in texts]  # cuts fall on each byte of a character
    docs = pa.table({"id": [str(k) for k in range(len(long))], "text": pa.array(long, pa.large_string())})
    found = excerpts(docs.slice(skip).combine_chunks(), scrubbers)
    assert found.to_pylist() == [text if text is None else text[:300] for text in long[skip:]]


@settings(deadline=None)
@given(rows=st.lists(st.tuples(st.one_of(st.none(), st.text("a数😀é1", max_size=12)), st.booleans()), max_size=8))
@pytest.mark.parametrize("scrubbers", [(), (NoDigits(),)], ids=["plain", "scrubbed"])
def test_dropped_rows_are_read_where_they_lie(rows: list[tuple[str | None, bool]], scrubbers: tuple[Map, ...]) -> None:
    texts = [text and text * 130 for text, _ in rows]
    docs = pa.table({"id": [str(k) for k in range(len(rows))], "text": pa.array(texts, pa.large_string())})
    gone = np.array([k for k, (_, drop) in enumerate(rows) if drop], np.int64)
    verdicts = Verdicts.alike(len(gone), "operator", "reason")
    left = Dropped.of(docs, gone, verdicts, np.zeros(len(gone), np.int64), "all", scrubbers)
    found = dropped_rows([left], docs.schema)
    clean = [text.replace("1", "") if text and scrubbers else text for text in texts]
    assert found["id"].to_pylist() == [str(k) for k in gone]
    assert found["text"].to_pylist() == [clean[k] for k in gone]
    for k, excerpt in zip(gone, found["excerpt"].to_pylist(), strict=True):
        # A scrubber gets a head of 2,400 bytes, at least 600 characters, of which it may take out more than half.
        text = clean[k]
        assert excerpt == (text and text[:300]) or (scrubbers and text is not None and text.startswith(excerpt))


def test_verdicts_in_words() -> None:
    docs = pa.table({
        "id": list("abcdef"), "text": ["0.25", "", "nan", "3", "9.5", "4"], "lang": ["en", "en", "zh", "en", "zh", "zh"],
    })  # fmt: skip
    dropped = apply(Steps(), docs).dropped.select(["id", "reason", "value", "threshold"]).to_pylist()
    assert [tuple(row.values()) for row in dropped] == [
        ("a", "small", "0.25", "number >= 0.5"),
        ("b", "undefined", None, "number >= 0.5"),
        ("c", "undefined", None, "number >= 0.5"),
        ("d", "large", "3.0", "number < 3.0"),
        ("e", "large", "9.5", "number < 9.0"),
    ]


def test_the_ledger_is_plain_data() -> None:
    docs = pa.table({"id": ["a", "b"], "text": ["1", "5"], "lang": ["en", "en"]})
    ledger = apply([Steps(), NoDigits()], docs).ledger
    assert json.loads(json.dumps(ledger.to_json()))["dropped"] == {"steps:large": [1, 1, 0]}
