"""``apply``: every row's fate, worked out by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

import operators
from pipeline import apply
from pipeline.apply import Chain
from pipeline.errors import RunFailedError, UserError
from pipeline.ledger import Count, Ledger
from pipeline.operator import Bound, snake_case
from tests.pipeline.small_operators import CostlyVowels, HideDigits, Length, LosesRows, Upper, Vowels


def docs(*texts: str | None, **columns: list) -> pa.Table:
    return pa.table({"id": [f"d{k}" for k in range(len(texts))], "text": pa.array(texts, pa.large_string()), **columns})


def fates(outcome) -> dict[str, str]:
    found = dict.fromkeys(outcome.kept["id"].to_pylist(), "kept")
    for row in outcome.dropped.to_pylist():
        found[row["id"]] = f"{row['operator']}:{row['reason']}"
    for row in outcome.quarantined.to_pylist():
        found[row["id"]] = f"{row['operator']}!{row['error']}"
    return found


def test_first_broken_bound_in_recipe_order_is_the_reason() -> None:
    outcome = apply([Length(min_chars=3, max_chars=5), Vowels()], docs("xy", "aeiouaeiou", "xyz", "aei", "12345", ""))
    assert fates(outcome) == {
        "d0": "length:short",
        "d1": "length:long",
        "d2": "vowels:consonants",
        "d3": "kept",
        "d4": "vowels:undefined",
        "d5": "length:short",
    }


def test_each_operator_is_prepared_once_also_one_that_equals_another() -> None:
    calls = []

    class Heavy(Length):
        words: dict[str, int] = {}  # noqa: RUF012  # a pydantic field; it makes the operator one that cannot be hashed

        def prepare(self) -> None:
            calls.append(self.min_chars)

    first, equal = Heavy(min_chars=2, words={"a": 1}), Heavy(min_chars=2, words={"a": 1})
    for one in (first, first, equal, Heavy(min_chars=3), equal):
        apply(one, docs("abc"))
    assert calls == [2, 2, 3]


def test_later_filters_of_a_stretch_measure_dropped_rows_too() -> None:
    outcome = apply([Length(min_chars=3), Vowels()], docs("ab", "aei"))
    dropped = outcome.dropped.to_pylist()[0]
    assert (dropped["length.chars"], dropped["vowels.share"]) == (2, 0.5)
    assert (dropped["value"], dropped["threshold"]) == ("2", "chars >= 3")


def test_a_costly_filter_measures_only_what_is_left() -> None:
    dropped = apply([Length(min_chars=3), CostlyVowels()], docs("ab", "aei")).dropped.to_pylist()[0]
    assert (dropped["reason"], dropped["costly_vowels.share"]) == ("short", None)


def test_exclusive_bounds_exclude_the_threshold() -> None:
    assert fates(apply(Vowels(min_share=0.5), docs("ab", "aab"))) == {"d0": "vowels:consonants", "d1": "kept"}


def test_nan_is_undefined_not_inside() -> None:
    class Nan(Length):
        def measure(self, docs: pa.Table) -> dict[str, pa.Array]:
            return {"chars": pa.array(np.full(docs.num_rows, np.nan))}

    assert fates(apply(Nan(), docs("abc"))) == {"d0": "nan:undefined"}


def test_an_exception_costs_one_document() -> None:
    outcome = apply([Length(), Upper()], docs("abc", "a boom", "defg", "crash", "gone", "xyz"))
    assert fates(outcome) == {
        "d0": "kept",
        "d1": "length!ValueError: boom",
        "d2": "kept",
        "d3": "upper!ValueError: crash",
        "d4": "upper:nothing_left",
        "d5": "kept",
    }
    assert outcome.kept["text"].to_pylist() == ["ABC", "DEFG", "XYZ"]
    assert outcome.kept["upper.chars"].to_pylist() == [3, 4, 3]


def test_a_row_dropped_before_is_not_quarantined_by_a_later_filter_of_the_stretch() -> None:
    outcome = apply([Vowels(min_share=0.9), Length()], docs("boom", "aei"))
    assert fates(outcome) == {"d0": "vowels:consonants", "d1": "kept"}
    assert outcome.dropped["length.chars"].to_pylist() == [None]


def test_only_restricts_filters_and_maps() -> None:
    table = docs("ab", "ab", "gone", "gone", lang=["en", "zh", "en", "zh"])
    outcome = apply([Length(only={"lang": ["en"]}), Upper(only={"lang": ["zh"]})], table)
    assert fates(outcome) == {"d0": "length:short", "d1": "kept", "d2": "kept", "d3": "upper:nothing_left"}
    assert outcome.kept["text"].to_pylist() == ["AB", "gone"]
    assert outcome.kept["length.applied"].to_pylist() == [False, True]
    assert outcome.kept["upper.chars"].to_pylist() == [2, None]


def test_only_on_a_missing_column_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match=r"'language', which .* before, .* in columns: \{language: FIELD\} \(they have"):
        apply(Length(only={"language": ["en"]}), docs("abc"))


def test_dropped_texts_are_scrubbed_like_the_rest() -> None:
    outcome = apply([Length(min_chars=9), HideDigits()], docs("no 12345", "call 123456789"), keep_dropped_text="all")
    dropped = outcome.dropped.to_pylist()[0]
    assert dropped["excerpt"] == dropped["text"] == "no #####"
    assert outcome.kept["text"].to_pylist() == ["call #########"]


def test_text_of_dropped_rows_is_kept_as_asked() -> None:
    many = docs(*["ab"] * 400)
    assert apply(Length(), many, keep_dropped_text="none").dropped["text"].null_count == 400
    assert apply(Length(), many, keep_dropped_text="all").dropped["text"].null_count == 0
    sample = apply(Length(), many).dropped
    kept = 400 - sample["text"].null_count
    assert 15 <= kept <= 80  # one in ten by hash of the id
    assert apply(Length(), many.take(pa.array(range(399, -1, -1)))).dropped["text"].null_count == 400 - kept


def test_the_ledger_counts_documents_bytes_and_groups() -> None:
    table = docs("ab", "数据管道", "abcd", "crash", lang=["en", "zh", "en", "en"], source=["s"] * 4)
    ledger = apply([Length(), Upper()], table).ledger
    assert (ledger.into, ledger.kept) == (Count(4, 2 + 12 + 4 + 5), Count(2, 16))
    assert ledger.dropped == {"length:short": Count(1, 2)}
    assert ledger.quarantined == {"upper": Count(1, 5)}
    assert {key: count.docs for key, count in ledger.group_into.items()} == {"s|en": 3, "s|zh": 1}
    assert {key: count.docs for key, count in ledger.group_kept.items()} == {"s|en": 1, "s|zh": 1}
    length = ledger.flows[0]
    assert (length.into["en"].docs, length.out["en"].docs) == (3, 2)
    assert Ledger.from_json(ledger.to_json()).to_json() == ledger.to_json()


def test_an_imbalance_fails() -> None:
    ledger = Ledger(into=Count(3, 0), kept=Count(2, 0))
    with pytest.raises(RunFailedError, match="does not balance: 3 in, but 2 kept"):
        ledger.check("shard 7")


def test_a_map_that_loses_rows_fails_the_run() -> None:
    with pytest.raises(RunFailedError, match="a map keeps both"):
        apply(LosesRows(), docs("a", "b"))


def test_two_operators_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match="length stand twice"):
        Chain((Length(), Length()))
    assert apply([Length(), Length(as_="again", max_chars=3)], docs("abcd")).dropped["operator"].to_pylist() == [
        "again"
    ]


def test_empty_tables_keep_their_columns() -> None:
    full, empty = (apply([Length(), Upper()], table) for table in (docs("abc"), docs("abc").slice(0, 0)))
    assert empty.kept.schema == full.kept.schema
    assert empty.dropped.schema == full.dropped.schema


def test_a_table_without_text_is_refused() -> None:
    with pytest.raises(ValueError, match="need a column 'text'"):
        apply(Length(), pa.table({"id": ["a"]}))


def test_a_table_without_ids_is_refused_with_a_remedy_that_helps() -> None:
    table = pa.table({"text": ["abc", "x"]})
    with pytest.raises(ValueError, match="need a column 'id'") as caught:
        apply(Length(), table)
    remedy = str(caught.value).partition("add one: ")[2]
    helped = eval(remedy, {"pa": pa, "table": table})  # a reader would paste it
    assert fates(apply(Length(), helped)) == {"0": "kept", "1": "length:short"}


def test_ids_that_are_numbers_are_refused_with_a_remedy_that_helps() -> None:
    table = pa.table({"text": ["abc", "x"], "id": [7, 8]})
    with pytest.raises(ValueError, match="'id' must hold strings or bytes, got int64; cast it: ") as caught:
        apply(Length(), table)
    helped = eval(str(caught.value).partition("cast it: ")[2], {"pa": pa, "table": table})
    assert fates(apply(Length(), helped)) == {"7": "kept", "8": "length:short"}


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ([{"id": "a", "text": "b"}], r"got list; make one with pa\.Table\.from_pylist"),
        (pa.record_batch({"id": ["a"], "text": ["b"]}), r"got RecordBatch; make one with pa\.Table\.from_batches"),
        ({"id": ["a"], "text": ["b"]}, r"got dict; make one with pa\.table"),
    ],
    ids=["rows", "batch", "columns"],
)
def test_documents_that_are_no_table_are_refused(documents: object, expected: str) -> None:
    with pytest.raises(TypeError, match=expected):
        apply(Length(), documents)


def test_a_parameter_without_a_name_is_refused() -> None:
    with pytest.raises(TypeError, match=r"parameters of Length are named: Length\(min_chars=50\)"):
        Length(50)


def test_a_misspelt_parameter_names_the_nearest() -> None:
    with pytest.raises(ValidationError, match="min_cahrs") as caught:
        Length(min_cahrs=50)
    assert caught.value.__notes__ == ["Length has no 'min_cahrs', did you mean 'min_chars'?"]


def test_the_operators_are_listed_for_completion() -> None:
    assert {"GopherQuality", "Keywords", "ScrubPii", "__name__"} <= set(dir(operators))


@pytest.mark.parametrize(
    ("name", "expected"), [("C4Lines", "c4_lines"), ("ScrubPii", "scrub_pii"), ("GopherQuality", "gopher_quality")]
)
def test_snake_case(name: str, expected: str) -> None:
    assert snake_case(name) == expected


def test_a_bound_needs_a_side() -> None:
    with pytest.raises(ValueError, match="neither min, max nor among"):
        Bound("x", reason="y")


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()),
        pa.dictionary(pa.int8(), pa.large_string()),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("column", ["id", "text", "lang"])
def test_strings_of_every_layout_are_taken(kind: pa.DataType, column: str) -> None:
    values = {"id": ["a", "b", "a"], "text": ["abc", None, "x"], "lang": ["en", "zh", "en"]}
    plain = pa.table({name: pa.array(strings, pa.string()) for name, strings in values.items()})
    strings = pa.array(values[column], pa.string())
    laid_out = strings.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else strings.cast(kind)
    given = plain.set_column(plain.column_names.index(column), column, pa.chunked_array([laid_out[:1], laid_out[1:]]))
    operators = [Length(only={"lang": ["en"]}), Upper()]
    expected, found = apply(operators, plain), apply(operators, given)
    for name in ("kept", "dropped", "quarantined"):
        assert getattr(found, name).to_pylist() == getattr(expected, name).to_pylist()
    assert found.ledger.group_into == expected.ledger.group_into
    assert found.kept.schema.field("text").type == pa.large_string()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a"], "text": pa.array([1]).dictionary_encode()}, "'text' must hold strings, got"),
        ({"id": pa.array([1]).dictionary_encode(), "text": ["a"]}, "'id' must hold strings or bytes, got"),
    ],
    ids=["text", "id"],
)
def test_dictionaries_of_numbers_are_refused(columns: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        apply(Length(), pa.table(columns))
