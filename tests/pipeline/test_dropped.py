"""Dropped rows of several stages in one table, whatever operators did to the columns in between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from pipeline import apply
from pipeline.dropped import KeepText
from pipeline.operator import Bound, Filter, Map, Operator

DATES = ["2020-01-01", "2020-01-02", "yesterday"]


class Not(Filter):
    """Drops texts that begin with a letter."""

    letter: str

    @property
    def bounds(self) -> tuple[Bound, ...]:
        return (Bound("begins", max=0, reason=f"begins_with_{self.letter}"),)

    def measure(self, docs: pa.Table) -> dict[str, pa.Array]:
        texts: list[Any] = docs["text"].to_pylist()
        return {"begins": pa.array([int(text.startswith(self.letter)) for text in texts], pa.int64())}


class Dated(Map):
    """``when`` becomes a date, null where it is none."""

    def map(self, docs: pa.Table) -> pa.Table:
        written: list[Any] = docs["when"].to_pylist()
        dates = [when if when[:2] == "20" else None for when in written]
        return docs.set_column(docs.column_names.index("when"), "when", pa.array(dates).cast(pa.timestamp("s")))


class Undated(Map):
    """``when`` goes."""

    def map(self, docs: pa.Table) -> pa.Table:
        return docs.drop_columns("when")


class Sourced(Map):
    """A source for every row."""

    def map(self, docs: pa.Table) -> pa.Table:
        return docs.append_column("source", pa.array(["web"] * docs.num_rows))


class Masked(Map):
    """A scrubber that gives strings in the other layout."""

    scrubs = True

    def map(self, docs: pa.Table) -> pa.Table:
        texts = [text and text.replace("1", "x") for text in docs["text"].to_pylist()]
        return docs.set_column(docs.column_names.index("text"), "text", pa.array(texts, pa.string()))


def documents() -> pa.Table:
    return pa.table({"id": ["0", "1", "2"], "text": ["a1", "b1", "a2"], "when": DATES})


def dropped(chain: Sequence[Operator], docs: pa.Table, keep: KeepText = "all") -> dict[str, dict[str, object]]:
    rows = apply(chain, docs, keep_dropped_text=keep).dropped
    rows.validate(full=True)
    assert not [field.name for field in rows.schema if not field.nullable and rows[field.name].null_count]
    return {row["id"]: row for row in rows.to_pylist()}


def test_a_column_that_loses_what_it_cannot_hold_does_so_after_the_drop_alone() -> None:
    # The first row is dropped with a string, the second with a date, and both are strings in the end.
    class Spelt(Map):
        def map(self, docs: pa.Table) -> pa.Table:
            return docs.set_column(docs.column_names.index("when"), "when", docs["when"].cast(pa.string()))

    chain = [Not(letter="a", as_="first"), Dated(), Not(letter="b", as_="second"), Spelt()]
    found = dropped(chain, documents())
    assert {key: row["when"] for key, row in found.items()} == {
        "0": "2020-01-01", "1": "2020-01-02 00:00:00", "2": "yesterday",
    }  # fmt: skip
    assert found == {**dropped(chain, documents().slice(0, 1)), **dropped(chain, documents().slice(1))}


def test_a_column_that_went_is_in_no_dropped_row() -> None:
    chain = [Not(letter="a", as_="first"), Undated(), Not(letter="b", as_="second")]
    found = dropped(chain, documents())
    assert sorted(found) == ["0", "1", "2"]
    assert not any("when" in row for row in found.values())


def test_a_source_that_came_later_is_empty_before() -> None:
    chain = [Not(letter="a", as_="first"), Sourced(), Not(letter="b", as_="second")]
    assert {key: row["source"] for key, row in dropped(chain, documents()).items()} == {"0": "", "1": "web", "2": ""}


@pytest.mark.parametrize("keep", ["all", "none"])
def test_scrubbers_may_give_strings_of_either_layout(keep: KeepText) -> None:
    found = dropped([Not(letter="a"), Masked()], documents(), keep)
    assert {key: (row["text"], row["excerpt"]) for key, row in found.items()} == {
        "0": ("ax" if keep == "all" else None, "ax"), "2": ("a2" if keep == "all" else None, "a2"),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["id", "text", "source", "when"])
def test_two_columns_of_one_name_are_refused(name: str) -> None:
    docs = documents().append_column("source", pa.array(["x"] * 3))
    with pytest.raises(ValueError, match=f"2 columns are named '{name}'; rename or drop all but one"):
        apply([Not(letter="a")], docs.append_column(name, docs[name]))


def test_whole_numbers_are_held_to_a_limit_with_and_without_nulls() -> None:
    class Number(Filter):
        @property
        def bounds(self) -> tuple[Bound, ...]:
            return (Bound("number", min=2, max=3, reason="outside"),)

        def measure(self, docs: pa.Table) -> dict[str, pa.Array]:
            return {"number": pa.array([int(t) if t else None for t in docs["text"].to_pylist()], pa.int16())}

    texts = ["1", "2", "3", "4", ""]
    docs = pa.table({"id": [f"i{text}" for text in texts], "text": texts})
    for some in (docs, docs.slice(0, 4)):
        found = {key: row["reason"] for key, row in dropped([Number()], some).items()}
        expected = {"i1": "outside", "i4": "outside", "i": "undefined"}
        assert found == {key: reason for key, reason in expected.items() if key in some["id"].to_pylist()}
