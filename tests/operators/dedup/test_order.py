"""Which of several duplicates survives: every policy against a slow twin, ties, missing values, refused policies."""

from __future__ import annotations

import hashlib
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from operators.dedup.order import Order, content_order, date_keys, order_keys, source_keys, value_column
from operators.dedup.sketch import sketch
from operators.dedup.verb import Dedup, MinHash
from pipeline.errors import UserError
from pipeline.fingerprint import digest
from tests.operators.dedup.runner import documents, run

POLICIES: list[list[Any]] = [
    ["longest"],
    ["shortest"],
    ["newest"],
    ["oldest"],
    ["id"],
    [{"highest": "score"}],
    [{"lowest": "score"}],
    ["newest", "shortest", "id"],
    [{"highest": "score"}, "oldest", {"lowest": "rank"}, "longest"],
]
SOURCES: list[list[str]] = [[], ["wiki"], ["books", "wiki"]]
SCORES = [None, math.nan, -math.inf, -2.5, -0.0, 0.0, 1e-300, 3.0, 3.0, math.inf]
DATES = [None, "", "not a date", "2020", "2021-05-06", "2021-05-07T10:00:00Z", "2021-05-07T10:00:01Z"]


def rows(seed: int, size: int = 60) -> list[dict[str, Any]]:
    """Documents with many ties."""
    draw = random.Random(seed)
    return [
        {
            "id": hashlib.md5(b"%d" % draw.randrange(10**6)).digest(),
            "text": "x" * draw.randrange(4),
            "date": draw.choice(DATES),
            "source": draw.choice(["web", "wiki", "books", ""]),
            "score": draw.choice(SCORES),
            "rank": draw.choice([None, 1, 2]),
        }
        for _ in range(size)
    ]


def table(found: list[dict[str, Any]]) -> pa.Table:
    docs = documents(
        [row["text"] for row in found],
        ids=[row["id"] for row in found],
        dates=[row["date"] for row in found],
        sources=[row["source"] for row in found],
    )
    scores = pa.array([row["score"] for row in found], pa.float64())
    return docs.append_column("score", scores).append_column(
        "rank", pa.array([row["rank"] for row in found], pa.int32())
    )


def slow_key(row: dict[str, Any], keep: list[Any], sources: list[str]) -> list[Any]:
    """The order as a sentence would say it."""
    key: list[Any] = [sources.index(row["source"]) if row["source"] in sources else len(sources)]
    digits = "".join(c for c in (row["date"] or "").rstrip("Z") if c.isdigit())
    dated = (row["date"] or "")[:4].isdigit()
    moment = int(digits.ljust(14, "0")) if dated else 0
    for one in keep:
        match one:
            case "longest":
                key.append(-len(row["text"]))
            case "shortest":
                key.append(len(row["text"]))
            case "newest":
                key.append((not dated, -moment))
            case "oldest":
                key.append((not dated, moment))
            case {"highest": name} | {"lowest": name}:
                value = row[name]
                missing = value is None or math.isnan(value)
                key.append((missing, 0 if missing else -value if "highest" in one else value))
    return [*key, row["id"]]


@pytest.mark.parametrize("sources", SOURCES, ids=str)
@pytest.mark.parametrize("keep", POLICIES, ids=str)
def test_every_policy_equals_the_slow_order(keep: list[Any], sources: list[str]) -> None:
    found = rows(len(keep))
    order = Order.model_validate({"keep": keep, "sources": sources})
    columns = sketch(table(found), None, 0, order.values)
    assert set(order.columns) <= set(columns)
    at = np.arange(len(found), dtype=np.uint64)
    fast = content_order({name: columns[name] for name in order.columns}, at, order).tolist()
    assert fast == sorted(range(len(found)), key=lambda k: (slow_key(found[k], keep, sources), k))


@given(values=st.lists(st.floats(allow_nan=True), min_size=1))
def test_numbers_sort_as_numbers_and_what_is_none_last_both_ways(values: list[float]) -> None:
    columns = {"id": np.zeros((len(values), 2), np.uint64), value_column("q"): np.array(values)}
    at = np.arange(len(values), dtype=np.uint64)
    for name, sign in (("lowest", 1), ("highest", -1)):
        order = Order.model_validate({"keep": [{name: "q"}]})
        expected = sorted(
            range(len(values)), key=lambda k: (math.isnan(values[k]), 0 if math.isnan(values[k]) else sign * values[k])
        )
        assert content_order(columns, at, order).tolist() == expected
        assert all(key.dtype == np.uint64 for key in order_keys(columns, at, order))


def test_only_between_equal_ids_does_the_address_decide() -> None:
    ids = np.array([[1, 2], [1, 1], [1, 1]], np.uint64)
    at = np.array([1, 9, 4], np.uint64)
    assert content_order({"id": ids}, at, Order(keep=("id",))).tolist() == [2, 1, 0]


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 999), policy=st.sampled_from(POLICIES), sources=st.sampled_from(SOURCES))
def test_a_survivor_does_not_hang_on_the_row(seed: int, policy: list[Any], sources: list[str]) -> None:
    found = {row["id"]: row for row in rows(seed, 12)}
    order = Order.model_validate({"keep": policy, "sources": sources})
    first = set()
    for turn in (list(found.values()), list(found.values())[::-1]):
        columns = sketch(table(turn), None, 0, order.values)
        best = content_order(columns, np.arange(len(turn), dtype=np.uint64), order)[0]
        first.add(turn[int(best)]["id"])
    assert len(first) == 1


@pytest.mark.parametrize(
    ("keep", "sources", "expected"),
    [
        (["longest"], [], 0),
        (["longest"], ["wiki"], 1),
        (["longest"], ["wiki", "web"], 1),
        ([{"highest": "score"}], [], 2),
        ([{"lowest": "score"}], [], 1),
        ([{"highest": "score"}], ["web"], 2),
        (["oldest"], [], 2),
        (["shortest"], [], 1),
    ],
)
def test_the_whole_step_keeps_the_one_that_the_policy_names(
    tmp_path: Path, keep: list[Any], sources: list[str], expected: int
) -> None:
    words = [f"w{k}" for k in range(100)]
    texts = [" ".join([*words, "and", "more"]), " ".join(words), " ".join([*words, "end"])]
    docs = documents(texts, dates=["2022-01-01", "2021-01-01", "2020-01-01"], sources=["web", "wiki", "web"])
    docs = docs.append_column("score", pa.array([None, 1, 7], pa.int64()))
    found = run(
        Dedup.model_validate({"keep": keep, "sources": sources}), [[docs.slice(0, 2)], [docs.slice(2)]], tmp_path
    )
    assert [text for _, text in found.kept()] == [texts[expected]]


def test_exact_copies_follow_the_policy_too(tmp_path: Path) -> None:
    docs = documents(["same text"] * 3, ids=[bytes([k]) * 16 for k in (1, 2, 3)], sources=["web", "books", "wiki"])
    found = run(Dedup.model_validate({"sources": ["wiki", "books"], "minhash": None}), [[docs]], tmp_path)
    assert found.kept() == [(bytes([3]) * 16, "same text")]
    assert {row["rep_id"] for row in found.removed()} == {bytes([3]) * 16}


def test_whole_numbers_flags_and_nulls_are_numbers() -> None:
    docs = documents(["a", "b", "c"])
    docs = docs.append_column("n", pa.array([5, None, -(2**40)], pa.int64()))
    docs = docs.append_column("good", pa.array([True, False, None], pa.bool_()))
    found = sketch(docs, None, 0, ("n", "good"))
    assert found["value.n"].tolist()[0::2] == [5.0, -float(2**40)]
    assert found["value.good"].tolist()[:2] == [1.0, 0.0]
    assert [bool(np.isnan(found[name][k])) for name, k in (("value.n", 1), ("value.good", 2))] == [True, True]


def test_a_column_that_is_missing_or_no_number_is_named() -> None:
    docs = documents(["a"]).append_column("quality.score", pa.array([1.0]))
    with pytest.raises(
        UserError, match=r"no column 'quality.scor' .*did you mean 'quality.score'.* they have id, text"
    ):
        sketch(docs, None, 0, ("quality.scor",))
    with pytest.raises(UserError, match=r"column 'source' holds string, not numbers"):
        sketch(docs, None, 0, ("source",))


def test_an_empty_shard_has_no_schema_and_needs_none(tmp_path: Path) -> None:
    dedup = Dedup.model_validate({"keep": [{"highest": "score"}]})
    docs = documents(["a b c d e f", "a b c d e f"]).append_column("score", pa.array([1.0, 2.0]))
    found = run(dedup, [[], [docs]], tmp_path)
    assert (found.keep(0), found.keep(1)) == ([], [False, True])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"keep": ["longst"]}, "'longst' is nothing to choose by, did you mean 'longest'"),
        ({"keep": [{"hihest": "q"}]}, "did you mean 'highest'"),
        ({"keep": [{"highest": 3}]}, "is nothing to choose by"),
        ({"keep": [{"highest": "a", "lowest": "b"}]}, "is nothing to choose by"),
        ({"keep": ["longest", "shortest"]}, "once and in one direction"),
        ({"keep": [{"highest": "q"}, {"lowest": "q"}]}, "once and in one direction"),
        ({"sources": ["wiki", "web", "wiki"]}, "sources names wiki twice"),
    ],
)
def test_policies_that_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Dedup.model_validate(fields)


def test_only_another_column_takes_signatures_anew() -> None:
    def signatures(**fields: Any) -> str:
        return digest(Dedup.model_validate(fields).nodes("u", "docs", 0)[0].work)

    plain = signatures()
    assert signatures(keep=["newest"], sources=["wiki"]) == plain
    scored = signatures(keep=[{"highest": "q"}])
    assert scored != plain
    assert signatures(keep=["oldest", {"lowest": "q"}], sources=["a"]) == scored
    assert signatures(keep=[{"highest": "r"}]) != scored
    assert signatures(minhash=MinHash(verify="jaccard")) != plain


def test_sources_are_told_apart_by_their_names() -> None:
    names = ["", "web", "wiki", "Wiki", "书"]
    assert len(set(source_keys(names).tolist())) == len(names)
    found = sketch(documents(["a"] * 5, sources=names), None, 0)
    assert found["source"].tolist() == source_keys(names).tolist()
    assert sketch(documents(["a"]).drop(["source"]), None, 0)["source"].tolist() == source_keys([""]).tolist()


def test_dates_are_compared_to_the_second() -> None:
    keys = date_keys(pa.array(DATES)).tolist()
    assert sorted(set(keys)) == [20200000000000, 20210506000000, 20210507100000, 20210507100001, 1 << 63]
    assert keys[3:] == sorted(keys[3:])
