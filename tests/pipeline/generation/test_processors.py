"""Penalties and limits against transformers' logits processors and slow, obvious twins."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from transformers import (
    MinPLogitsWarper,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from pipeline.generation import processors
from pipeline.generation.options import Options
from pipeline.generation.processors import (
    NONE,
    counts,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    limited,
    penalised,
    without_repeats,
)


def normal(rows: int, num_ids: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(rows, num_ids, generator=torch.Generator().manual_seed(seed))


def ids(rows: int, length: int, num_ids: int, seed: int = 0) -> Tensor:
    return torch.randint(0, num_ids, (rows, length), generator=torch.Generator().manual_seed(seed))


def kept(logits: Tensor) -> list[list[int]]:
    return [torch.nonzero(torch.isfinite(row))[:, 0].tolist() for row in logits]


@pytest.mark.parametrize("penalty", [0.8, 1.3])
def test_repetition_penalty_is_that_of_transformers(penalty: float) -> None:
    logits, tokens = normal(4, 30), ids(4, 12, 30)
    found = penalised(logits, tokens, 5, Options(repetition_penalty=penalty))
    assert torch.equal(found, RepetitionPenaltyLogitsProcessor(penalty)(tokens, logits))
    assert not torch.equal(found, logits)


def test_presence_and_frequency_penalties_by_hand() -> None:
    """Prompt 3 3, continuation 1 1 2: the prompt does not count."""
    tokens = torch.tensor([[3, 3, 1, 1, 2]])
    options = Options(presence_penalty=0.5, frequency_penalty=0.25)
    assert penalised(torch.zeros(1, 4), tokens, 2, options).tolist() == [[0.0, -1.0, -0.75, 0.0]]


def test_what_fills_a_row_up_is_no_token() -> None:
    tokens = torch.tensor([[NONE, NONE, 2], [2, 0, 2]])
    assert counts(tokens, 3).tolist() == [[0, 0, 1], [1, 0, 2]]
    doubled = penalised(torch.ones(2, 3), tokens, 3, Options(repetition_penalty=2.0))
    assert doubled.tolist() == [[1.0, 1.0, 0.5], [0.5, 1.0, 0.5]]


@pytest.mark.parametrize("ngram", [1, 2, 3])
@pytest.mark.parametrize("at_once", [1, 1 << 20])
def test_repeated_ngrams_are_those_of_transformers(ngram: int, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "_MOST_COMPARED", at_once)
    logits, tokens = normal(6, 5), ids(6, 14, 5)
    found = without_repeats(logits, tokens, ngram)
    assert torch.equal(found, NoRepeatNGramLogitsProcessor(ngram)(tokens, logits))
    assert torch.isinf(found).any()


@given(
    rows=st.lists(st.lists(st.integers(0, 2), max_size=7), min_size=1, max_size=3),
    ngram=st.integers(1, 4),
)
def test_no_ngram_comes_twice_in_rows_of_any_length(rows: list[list[int]], ngram: int) -> None:
    longest = max(map(len, rows))
    tokens = torch.tensor([[NONE] * (longest - len(row)) + row for row in rows], dtype=torch.int64)
    found = kept(without_repeats(torch.zeros(len(rows), 3), tokens.view(len(rows), longest), ngram))
    for row, left in zip(rows, found, strict=True):
        there = {tuple(row[k : k + ngram]) for k in range(len(row) - ngram + 1)}
        last = row[len(row) - ngram + 1 :] if ngram > 1 else []
        assert left == [token for token in range(3) if (*last, token) not in there]


@pytest.mark.parametrize("k", [1, 3, 30, 50])
def test_top_k_is_that_of_transformers(k: int) -> None:
    logits = normal(5, 30)
    assert torch.equal(keep_top_k(logits, k), TopKLogitsWarper(k)(None, logits))


def test_of_equal_tokens_top_k_takes_the_first() -> None:
    assert kept(keep_top_k(torch.tensor([[1.0, 2.0, 1.0, 1.0]]), 3)) == [[0, 1, 2]]


def slow_top_p(logits: list[float], p: float) -> set[int]:
    """Tokens are taken from the likeliest on, until they have p together."""
    weights = [math.exp(value - max(logits)) for value in logits]
    taken: set[int] = set()
    for token in sorted(range(len(logits)), key=lambda token: (-weights[token], token)):
        if math.fsum(weights[t] for t in taken) >= p * math.fsum(weights):
            break
        taken.add(token)
    return taken


@given(logits=st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=12), p=st.floats(0.01, 0.99))
def test_top_p_keeps_the_smallest_set_with_that_mass(logits: list[float], p: float) -> None:
    found = set(kept(keep_top_p(torch.tensor([logits]), p))[0])
    # Within rounding of the border either set will do.
    assert found in (slow_top_p(logits, p - 1e-9), slow_top_p(logits, p + 1e-9))


def test_top_p_by_hand() -> None:
    """Probabilities 0.5, 0.3, 0.2: a mass of 0.8 is reached by two, one of 0.81 by all."""
    logits = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64).log()
    found = [kept(keep_top_p(logits, p)) for p in (0.4, 0.5 + 1e-9, 0.8 - 1e-9, 0.81, 1.0)]
    assert found == [[[1]], [[1, 2]], [[1, 2]], [[0, 1, 2]], [[0, 1, 2]]]


@pytest.mark.parametrize("p", [0.05, 0.5, 0.95])
def test_top_p_and_min_p_are_those_of_transformers(p: float) -> None:
    logits = normal(20, 40, seed=3)
    assert torch.equal(keep_top_p(logits, p), TopPLogitsWarper(p)(None, logits))
    assert torch.equal(keep_min_p(logits, p), MinPLogitsWarper(p)(None, logits))


def test_order_is_temperature_top_k_top_p_min_p() -> None:
    logits = normal(50, 40, seed=4)
    chain = (TemperatureLogitsWarper(1.7), TopKLogitsWarper(9), TopPLogitsWarper(0.8), MinPLogitsWarper(0.15))
    expected = logits.double()
    for warper in chain:
        expected = warper(None, expected)
    found = limited(logits, Options(temperature=1.7, top_k=9, top_p=0.8, min_p=0.15))
    torch.testing.assert_close(found.softmax(1), expected.softmax(1), rtol=1e-12, atol=0)
    # Each of the four had something to say: without one of them more stays, or other weights.
    sizes = [len(row) for row in kept(found)]
    assert max(sizes) < 9
    for less in ({"top_p": None}, {"min_p": None}, {"top_k": None}, {"temperature": 1.0}):
        other = limited(logits, Options(**{"temperature": 1.7, "top_k": 9, "top_p": 0.8, "min_p": 0.15, **less}))
        assert not torch.allclose(other.softmax(1), found.softmax(1))


@pytest.mark.parametrize("temperature", [1e-300, 1e-3])
def test_a_temperature_near_zero_leaves_the_likeliest(temperature: float) -> None:
    logits = normal(4, 10)
    chances = limited(logits, Options(temperature=temperature)).softmax(1)
    assert np.allclose(chances.amax(1), 1)
    assert torch.equal(chances.argmax(1), logits.argmax(1))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"beams": 2, "top_k": 3, "samples": 2}, "beams=2 does not go with top_k, samples"),
        ({"samples": 2, "temperature": 0.0}, "2 samples at temperature 0"),
        ({"min_new_tokens": 9, "max_new_tokens": 3}, "min_new_tokens=9 is more than max_new_tokens=3"),
        ({"temperature": float("inf")}, "finite"),
        ({"top_p": 0.0}, "greater than 0"),
    ],
    ids=["beams and draws", "equal samples", "lengths", "infinite", "no mass"],
)
def test_options_that_contradict_each_other(fields: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Options(**fields)


@pytest.mark.parametrize(
    ("fields", "temperature"),
    [
        ({}, 0.0),
        ({"top_k": 5}, 1.0),
        ({"samples": 2}, 1.0),
        ({"temperature": 0.0, "top_p": 0.5}, 0.0),
        ({"beams": 3}, 0.0),
    ],
    ids=["greedy", "top_k", "samples", "cold", "beams"],
)
def test_what_is_drawn_at_which_temperature(fields: dict, temperature: float) -> None:
    assert Options(**fields).drawn_at == temperature
