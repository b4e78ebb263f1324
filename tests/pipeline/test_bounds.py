"""Limits by language: cases worked out by hand, and a row-by-row twin."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import apply
from pipeline.bounds import broken, threshold
from pipeline.errors import UserError
from pipeline.operator import Bound
from pipeline.rejects import languages
from tests.pipeline.small_operators import Length, Vowels

BY_LANGUAGE = Bound("x", reason="r", min=1, max=5, by_language=(("zh", 2, None), ("th", None, None), ("de", None, 3)))


class LengthByLanguage(Length):
    """Long texts: three characters, two in Chinese, any number in Thai."""

    @property
    def bounds(self) -> tuple[Bound, ...]:
        return (Bound("chars", min=3, reason="short", by_language=(("zh", 2, None), ("th", None, None))),)


class VowelsByLanguage(Vowels):
    """A share of vowels is asked of English alone."""

    @property
    def bounds(self) -> tuple[Bound, ...]:
        return (Bound("share", reason="consonants", by_language=(("en", 0.2, None),)),)


@pytest.mark.parametrize(
    ("value", "language", "outside"),
    [
        (0, "en", True),
        (1, "en", False),
        (6, "en", True),
        (6, "und", True),
        (1, "zh", True),
        (2, "zh", False),
        (99, "zh", False),
        (3, "de", False),
        (-9, "de", False),
        (4, "de", True),
        (-9, "th", False),
        (None, "en", True),
        (None, "zh", True),
        (None, "th", False),
    ],
)
def test_a_rows_language_chooses_its_limits(value: int | None, language: str, *, outside: bool) -> None:
    for kind in (pa.int64(), pa.float64()):
        assert broken(BY_LANGUAGE, pa.array([value], kind), pa.array([language])).tolist() == [outside]


def test_nan_is_outside_every_limit_but_not_where_there_is_none() -> None:
    values, names = pa.array([math.nan] * 3), pa.array(["en", "zh", "th"])
    assert broken(BY_LANGUAGE, values, names).tolist() == [True, True, False]


def test_without_languages_min_and_max_judge() -> None:
    assert broken(BY_LANGUAGE, pa.array([0, 1, 6, None]), None).tolist() == [True, False, True, True]


def test_limits_for_one_language_alone_leave_the_others_alone() -> None:
    bound = Bound("x", reason="r", by_language=(("en", 2, None),))
    names = pa.array(["en", "en", "fr", "fr", None])
    assert broken(bound, pa.array([1, 2, 1, None, None]), names).tolist() == [True, False, False, False, False]
    assert broken(bound, pa.array([1, None]), None).tolist() == [False, False]


def test_exclusive_holds_for_the_languages_limits_too() -> None:
    bound = Bound("x", reason="r", min=1, exclusive=True, by_language=(("zh", 2, 3),))
    values, names = pa.array([1, 2, 2, 3, 2.5]), pa.array(["en", "en", "zh", "zh", "zh"])
    assert broken(bound, values, names).tolist() == [True, False, True, True, False]


NUMBERS = st.one_of(st.none(), st.just(math.nan), st.integers(-3, 8).map(float))
LIMIT = st.one_of(st.none(), st.integers(0, 5).map(float))


@given(
    rows=st.lists(st.tuples(NUMBERS, st.sampled_from(["en", "zh", "de", "und", None])), max_size=12),
    limits=st.dictionaries(st.sampled_from(["en", "zh", "de"]), st.tuples(LIMIT, LIMIT), min_size=1),
    default=st.tuples(LIMIT, LIMIT),
    exclusive=st.booleans(),
)
def test_equals_judging_row_by_row(rows: list, limits: dict, default: tuple, *, exclusive: bool) -> None:
    bound = Bound(
        "x",
        reason="r",
        min=default[0],
        max=default[1],
        exclusive=exclusive,
        by_language=tuple((label, low, high) for label, (low, high) in limits.items()),
    )
    expected = []
    for value, language in rows:
        low, high = limits.get(language, default)
        unknown = value is None or math.isnan(value)
        under = low is not None and (unknown or value < low or (exclusive and value == low))
        over = high is not None and (unknown or value > high or (exclusive and value == high))
        expected.append(under or over)
    values = pa.array([value for value, _ in rows], pa.float64(), from_pandas=False)
    languages = pa.array([language for _, language in rows], pa.string())
    assert broken(bound, values, languages).tolist() == expected


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", "x >= 1 and <= 5"),
        (None, "x >= 1 and <= 5"),
        ("zh", "x >= 2"),
        ("de", "x <= 3"),
        ("th", "x without limit"),
    ],
)
def test_the_threshold_in_words(language: str | None, expected: str) -> None:
    assert threshold(BY_LANGUAGE, language) == expected


def test_the_threshold_of_exclusive_and_named_values() -> None:
    assert threshold(Bound("x", reason="r", min=0.5, max=2, exclusive=True), "en") == "x > 0.5 and < 2"
    assert threshold(Bound("x", reason="r", among=("a", "b")), None) == "x in a, b"


def test_one_language_for_each_value() -> None:
    with pytest.raises(ValueError, match="1 languages for 2 values"):
        broken(BY_LANGUAGE, pa.array([1, 2]), pa.array(["en"]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"by_language": (("zh", 1, None), ("zh", 2, None))}, "zh more than once"),
        ({"among": ("a",), "by_language": (("zh", 1, None),)}, "no limits by language"),
    ],
)
def test_bounds_that_contradict_themselves_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Bound("x", reason="r", **fields)


def test_a_run_judges_each_row_by_its_language() -> None:
    docs = pa.table(
        {
            "id": ["a", "b", "c", "d", "e"],
            "text": pa.array(["ab", "数据", "数", "ก", "ab"], pa.large_string()),
            "language.label": ["en", "zh", "zh", "th", None],
        }
    )
    outcome = apply(LengthByLanguage(), docs)
    assert outcome.kept["id"].to_pylist() == ["b", "d"]
    found = [(row["id"], row["value"], row["threshold"]) for row in outcome.dropped.to_pylist()]
    assert found == [("a", "2", "chars >= 3"), ("c", "1", "chars >= 2"), ("e", "2", "chars >= 3")]


def test_an_undefined_value_drops_only_where_its_language_has_a_limit() -> None:
    docs = pa.table({"id": ["a", "b"], "text": ["123", "123"], "lang": ["en", "th"]})
    outcome = apply(VowelsByLanguage(), docs)
    assert outcome.kept["id"].to_pylist() == ["b"]
    assert outcome.dropped.to_pylist()[0]["reason"] == "undefined"


def test_limits_by_language_need_a_language() -> None:
    with pytest.raises(UserError, match="limits by language"):
        apply(LengthByLanguage(), pa.table({"id": ["a"], "text": ["abc"]}))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_a_language_column_of_any_kind_of_string(kind: pa.DataType) -> None:
    column = pa.array(["zh", None, "th"]).cast(kind)
    docs = pa.table({"id": ["1", "2", "3"], "text": pa.array(["aa", "bb", "c"], pa.large_string()), "language": column})
    assert languages(docs).to_pylist() == ["zh", "und", "th"]
    assert apply(LengthByLanguage(), docs).kept["id"].to_pylist() == ["1", "3"]


def test_a_language_column_without_any_value_names_none() -> None:
    docs = pa.table({"id": ["1", "2"], "text": ["aa", "c"], "language": pa.nulls(2)})
    assert languages(docs).to_pylist() == ["und", "und"]
    spelt = docs.set_column(2, "language", pa.array(["und", "und"]))
    assert apply(LengthByLanguage(), docs).kept["id"] == apply(LengthByLanguage(), spelt).kept["id"]


def test_a_limit_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match=r"min_share is NaN.*null for no limit"):
        Vowels(min_share=float("nan"))
