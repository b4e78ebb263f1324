"""Laws that hold for every operator in the catalogue."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import ValidationError

import operators
from operators.catalogue import NAMES, load_operator
from pipeline import apply
from pipeline.operator import Filter, Map
from tests.contract.operators_under_test import ALL, TEXTS, operator, table

LAW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
EVERY = pytest.mark.parametrize("name", ALL)


def run(op: Map | Filter, docs: pa.Table) -> pa.Table:
    """What an operator makes of documents: the mapped table, or the measures as a table."""
    if isinstance(op, Map):
        return op.map(docs)
    return pa.table(dict(op.measure(docs)))


def test_the_package_exports_the_catalogue() -> None:
    assert sorted(operators.__all__) == sorted(place.rpartition(":")[2] for place in NAMES.values())
    for name in operators.__all__:
        assert getattr(operators, name).__name__ == name


@EVERY
def test_is_a_value(name: str, quality_model: Path) -> None:
    op = operator(name, quality_model)
    again = pickle.loads(pickle.dumps(op))
    assert again == op
    assert hash(again) == hash(op)
    assert copy.deepcopy(op) == op
    assert type(op)(**{field: getattr(op, field) for field in type(op).model_fields}) == op
    assert op.model_copy(update={"as_": "other"}) != op


@EVERY
def test_refuses_unknown_parameters(name: str) -> None:
    with pytest.raises(ValidationError, match="no_such_parameter"):
        load_operator(name)(no_such_parameter=1)


@EVERY
def test_says_what_it_measures_and_whose_rule_it_is(name: str) -> None:
    text = load_operator(name).__doc__ or ""
    assert re.search(r"^\s*Source:", text, re.MULTILINE), f"{name}: the docstring names no source"
    if issubclass(load_operator(name), Filter):
        assert "Measures:" in text, f"{name}: the docstring does not say what it measures"


@EVERY
@LAW
@given(texts=TEXTS)
def test_keeps_rows_and_order_and_writes_only_its_columns(name: str, quality_model: Path, texts: list[str]) -> None:
    op = operator(name, quality_model)
    docs = table(texts)
    before = docs.to_pylist()
    result = run(op, docs)
    assert docs.to_pylist() == before
    assert result.num_rows == len(texts)
    if isinstance(op, Map):
        assert result["id"].equals(docs["id"])
        for column in docs.column_names:
            if column != "text":
                assert result[column].equals(docs[column]), column
        new = set(result.column_names) - set(docs.column_names)
        assert all(column.startswith(f"{op.name}.") for column in new)
        assert pa.types.is_large_string(result.schema.field("text").type)
    else:
        assert {bound.measure for bound in op.bounds} <= set(result.column_names)


@EVERY
@LAW
@given(left=TEXTS, right=TEXTS)
def test_batches_do_not_matter(name: str, quality_model: Path, left: list[str], right: list[str]) -> None:
    op = operator(name, quality_model)
    docs = table(left + right)
    halves = [run(op, docs.slice(0, len(left)).combine_chunks()), run(op, docs.slice(len(left)).combine_chunks())]
    whole = run(op, docs)
    joined = pa.concat_tables(halves)
    assert whole.schema.equals(joined.schema)
    assert same(whole, joined)


@EVERY
@LAW
@given(texts=TEXTS)
def test_twice_gives_the_same(name: str, quality_model: Path, texts: list[str]) -> None:
    op = operator(name, quality_model)
    assert same(run(op, table(texts)), run(op, table(texts)))


@EVERY
@LAW
@given(texts=TEXTS)
def test_applying_accounts_for_every_row(name: str, quality_model: Path, texts: list[str]) -> None:
    op = operator(name, quality_model)
    outcome = apply(op, table([*texts, None]))
    assert outcome.kept.num_rows + outcome.dropped.num_rows + outcome.quarantined.num_rows == len(texts) + 1
    assert outcome.quarantined.num_rows == 0, outcome.quarantined.to_pylist()
    drops = isinstance(op, Map) or op.bounds  # a filter that only measures drops nothing
    assert outcome.kept["text"].null_count == (0 if drops else 1)
    reasons = set(outcome.dropped["reason"].to_pylist())
    known = {bound.reason for bound in op.bounds} | {"undefined"} if isinstance(op, Filter) else {"nothing_left"}
    assert reasons <= known


@EVERY
@LAW
@given(texts=TEXTS)
def test_only_leaves_other_rows_alone(name: str, quality_model: Path, texts: list[str]) -> None:
    op = operator(name, quality_model).model_copy(update={"only": (("language", ("zh",)),)})
    docs = table(texts, language="en")
    outcome = apply(op, docs)
    assert outcome.kept["text"].equals(docs["text"])
    if isinstance(op, Filter):
        assert not any(outcome.kept[f"{op.name}.applied"].to_pylist())


@pytest.mark.parametrize("name", [name for name in ALL if getattr(load_operator(name), "scrubs", False)])
@LAW
@given(texts=TEXTS)
def test_scrubbers_are_idempotent(name: str, quality_model: Path, texts: list[str]) -> None:
    op = operator(name, quality_model)
    once = op.map(table(texts))["text"]
    again = op.map(table(once.to_pylist()))["text"]
    assert again.equals(once)


HOSTILE = {
    "nothing": "",
    "blanks": " \t\n " * 1000,
    "a lone combining mark": "\u0301",
    "nul": "\x00" * 1000,
    "right to left": "\u202e\u0627\u0644\u0639\u0631\u0628\u064a\u0629 " * 1000,
    "one letter": "a" * 1_000_000,
    "a-": "a-" * 500_000,
    "newlines": "\n" * 1_000_000,
    "one word": "word " * 200_000,
    "one line of 10 MB": "The plan was kept as it is, they said; nothing more came of it. " * 160_000,
    "a new word each time": " ".join(f"w{k}" for k in range(150_000)),
    "lines of two kinds": "yes\nno\n" * 150_000,
    "one Han character": "的" * 300_000,
    "at signs": "a@" * 500_000,
    "dots and digits": "1." * 500_000,
    "addresses": "\n".join(f"https://www.example.com/products/category/item-{k:08}/index.html" for k in range(32_000)),
    "words that agree at both ends": " ".join(f"{'x' * 16}{k % 300:08x}{'x' * 16}" for k in range(50_000)),
    "open tags": "<div>" * 200_000,
    "brackets": "([{<" * 250_000,
    "replacement characters": "\ufffd" * 300_000,
}


@EVERY
@pytest.mark.parametrize("kind", sorted(HOSTILE))
@pytest.mark.timeout(60)
def test_hostile_text_raises_nothing(name: str, quality_model: Path, kind: str) -> None:
    # The time limit stands for "linear": each of these takes minutes where work grows with the square.
    docs = table([HOSTILE[kind], "an ordinary text"])
    assert run(operator(name, quality_model), docs).num_rows == 2


@EVERY
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_document_of_50_megabytes(name: str, quality_model: Path) -> None:
    sentence = "The committee met on the 3rd of May and agreed that the plan should be kept as it is.\n"
    docs = table([sentence * (50_000_000 // len(sentence))])
    made = operator(name, quality_model)
    if name == "code_quality":  # tokenizers alone takes 20 s for so much; one line of 10 MB shows that it is linear
        made = made.model_copy(update={"tokenizer": None})
    assert run(made, docs).num_rows == 1


def same(left: pa.Table, right: pa.Table) -> bool:
    """Equal columns and values; NaN equals itself."""
    left, right = left.combine_chunks(), right.combine_chunks()
    return left.schema.equals(right.schema) and repr(left.to_pydict()) == repr(right.to_pydict())
