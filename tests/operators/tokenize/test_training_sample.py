"""Which documents a tokenizer is trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from token_fakes import documents

from operators.tokenize.training.local import train
from operators.tokenize.training.sample import Strata, buckets
from operators.tokenize.training.train import TrainTokenizer
from pipeline.errors import UserError

SIZES = {"book|en": 600, "book|zh": 100, "web|en": 200, "web|zh": 100}


@pytest.mark.parametrize(
    ("options", "sample_bytes", "expected"),
    [
        ({}, 100, [60, 10, 20, 10]),  # as in the corpus
        ({}, 5000, [600, 100, 200, 100]),  # no document is taken twice
        ({"weights": {"zh": 0.5}}, 100, [37, 25, 12, 25]),  # the rest, 3 to 1
        ({"weights": {"zh": 0.5, "book|en": 0.4}}, 100, [40, 25, 10, 25]),
        ({"weights": {"web": 1.0}}, 90, [0, 0, 60, 30]),
        ({"weights": {"web|zh": 0.5, "book": 0.2}}, 400, [102, 17, 180, 100]),  # 100 of 200; 300 at 2 to 3: 120 | 180
        ({"temperature": 2}, 49, [20, 8, 11, 8]),  # roots 24.5, 10, 14.1, 10
        ({"weights": {"en": 0, "zh": 1}}, 100, [0, 50, 0, 50]),
    ],
)
def test_budgets(options: dict[str, Any], sample_bytes: int, expected: list[int]) -> None:
    assert list(Strata.model_validate(options).budgets(SIZES, sample_bytes).values()) == expected


@given(
    sizes=st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.integers(1, 10**6), min_size=1),
    sample_bytes=st.integers(1, 10**6),
    temperature=st.floats(1, 5),
)
def test_budgets_fill_the_sample(sizes: dict[str, int], sample_bytes: int, temperature: float) -> None:
    found = Strata(by=("language",), temperature=temperature).budgets(sizes, sample_bytes)
    assert found.keys() == sizes.keys()
    assert all(0 <= found[name] <= sizes[name] for name in sizes)
    assert 0 <= min(sample_bytes, sum(sizes.values())) - sum(found.values()) <= len(sizes)


@pytest.mark.parametrize(
    ("weights", "words"),
    [({"fr": 0.1}, "'fr' names no documents; there are: book|en"), ({"zh": 0.1, "web": 0.1}, "'zh'")],
)
def test_weights_that_name_nothing_or_twice(weights: dict[str, float], words: str) -> None:
    with pytest.raises(UserError) as caught:
        Strata.model_validate({"weights": weights}).budgets(SIZES, 100)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"by": []}, {"by": ["url"]}, {"by": ["source", "source"]}, {"weights": {"zh": 0.7, "en": 0.4}},
     {"weights": {"zh": -0.1}}, {"temperature": 0.5}],
)  # fmt: skip
def test_strata_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Strata.model_validate(options)


def test_buckets_are_a_matter_of_ids() -> None:
    docs = documents([f"document {k:04d}" for k in range(4000)])
    found = buckets(docs, 1)
    assert (buckets(docs.take(np.arange(4000)[::-1]), 1) == found[::-1]).all()
    assert (buckets(docs.slice(700, 10), 1) == found[700:710]).all()
    other = buckets(docs, 2)
    half = np.sort(found)[2000]
    assert 850 < ((found < half) & (other < np.sort(other)[2000])).sum() < 1150  # independent: a quarter of 4000


def test_buckets_are_even_at_any_scale() -> None:
    """Half of the hashes have the highest bit, a quarter the one below: 256 buckets each."""
    found = buckets(documents([str(k) for k in range(8000)]), 0)
    top = int(found.max() >> 8)
    assert [round(float(((found >> 8) == top - k).mean()), 1) for k in range(3)] == [0.5, 0.2, 0.1]
    assert np.bincount(found & 255, minlength=256).max() < 80  # 31 expected


def sampled(tmp_path: Path, tables: list[pa.Table], **options: Any) -> dict[str, Any]:
    verb = TrainTokenizer(vocab_size=384, **options)
    result = train(verb, [[table] for table in tables], tmp_path)
    return json.loads(result.outputs[1].path.read_text("utf-8"))["sample"]


def test_strata_of_a_run(tmp_path: Path) -> None:
    """13 bytes a document."""
    tables = [
        documents([f"document {k:04d}" for k in range(2000)], source="web", language="en"),
        documents([f"document {k:04d}" for k in range(200)], source="web", language="zh"),
    ]
    plain = sampled(tmp_path / "plain", tables, sample_bytes=2860)["strata"]
    assert 180 < plain["web|en"]["sample_docs"] <= 200
    assert 15 < plain["web|zh"]["sample_docs"] <= 20
    weighted = sampled(tmp_path / "weighted", tables, sample_bytes=2860, sample=Strata(weights=(("zh", 0.5),)))[
        "strata"
    ]
    assert 100 <= weighted["web|en"]["sample_docs"] <= 110
    assert 100 <= weighted["web|zh"]["sample_docs"] <= 110
    assert weighted["web|en"]["docs"] == 2000
    least = sampled(tmp_path / "least", tables, sample_bytes=1, sample=Strata(by=("source",)))
    assert (least["docs"], list(least["strata"])) == (1, ["web"])
