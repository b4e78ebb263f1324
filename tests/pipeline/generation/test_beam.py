"""Beam search against a slow twin, against trying everything, and against transformers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.generation.beam import length_penalty, search
from pipeline.generation.generate import generate
from pipeline.generation.options import Options
from pipeline.generation.texts import Continuation, Row, Texts
from tests.pipeline.generation.fakes import BEGIN, EOS, Table, marks

Scored = tuple[float, tuple[int, ...]]


def log_p(model: Table, text: list[int]) -> np.ndarray:
    logits = model.logits(text).astype(np.float64)
    return logits - np.log(np.exp(logits).sum())


def slow_beams(model: Table, prompt: list[int], beams: int, length: int, alpha: float) -> list[Scored]:
    """Score and tokens, end mark included, best first; to the last token, whether anything can still be found or not."""
    live, done = [(0.0, ())], []
    for number in range(1, length + 1):
        grown = [
            (so_far + log_p(model, [BEGIN, *prompt, *tokens])[token], (*tokens, token))
            for so_far, tokens in live
            for token in range(model.num_ids)
        ]
        grown.sort(key=lambda one: -one[0])
        over = [one for one in grown[:beams] if one[1][-1] == EOS or number == length]
        done += [(so_far / ((5 + number) / 6) ** alpha, tokens) for so_far, tokens in over]
        live = [one for one in grown if one[1][-1] != EOS][:beams]
    return sorted(done, key=lambda one: -one[0])[:beams]


def shown(found: list[Continuation]) -> list[tuple[int, ...]]:
    return [one.tokens + (EOS,) * (one.ended == "eos") for one in found]


def test_length_penalty_by_hand() -> None:
    assert [length_penalty(1, 0.6), length_penalty(7, 1.0), length_penalty(7, 0.0)] == [1.0, 2.0, 1.0]
    assert length_penalty(13, 0.5) == pytest.approx(3**0.5)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    beams=st.integers(2, 5),
    length=st.integers(1, 9),
    alpha=st.sampled_from([0.0, 0.6, 1.0, 2.5]),
    prompts=st.lists(st.lists(st.integers(2, 5), max_size=4), min_size=1, max_size=4),
)
def test_equals_the_slow_search(seed: int, beams: int, length: int, alpha: float, prompts: list[list[int]]) -> None:
    model = Table.random(6, seed=seed)
    options = Options(beams=beams, max_new_tokens=length, length_penalty=alpha)
    found = generate(model, prompts, options, marks(6), batch_rows=3 * beams)
    for prompt, beams_found in zip(prompts, found, strict=True):
        expected = slow_beams(model, prompt, beams, length, alpha)
        assert shown(beams_found) == [tokens for _, tokens in expected]
        assert [one.score for one in beams_found] == pytest.approx([score for score, _ in expected])


def test_wide_enough_it_finds_the_best_of_all() -> None:
    """With as many beams as there are texts of 4 tokens, nothing is lost."""
    model = Table.random(4, seed=7)
    texts = [
        text
        for length in range(1, 5)
        for text in itertools.product(range(4), repeat=length)
        if EOS not in text[:-1] and (text[-1] == EOS or length == 4)
    ]
    chances = {text: sum(log_p(model, [BEGIN, 2, *text[:k]])[token] for k, token in enumerate(text)) for text in texts}
    assert sum(np.exp(list(chances.values()))) == pytest.approx(1)  # they are all there are
    options = Options(beams=len(texts), max_new_tokens=4, length_penalty=0.0)
    found = generate(model, [[2]], options, marks(4))[0]
    assert len(found) == len(texts)
    assert shown(found) == sorted(texts, key=lambda text: -chances[text])
    assert [one.log_prob for one in found] == pytest.approx(sorted(chances.values(), reverse=True))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), prompt=st.lists(st.integers(2, 7), max_size=5))
def test_one_beam_without_length_penalty_is_greedy(seed: int, prompt: list[int]) -> None:
    model, options = Table.random(8, seed=seed), Options(max_new_tokens=12, length_penalty=0.0)
    greedy = generate(model, [prompt], options, marks(8))[0]
    row = Row((BEGIN, *prompt), 0, 12, "length")
    (searched,) = search(Texts(model, [row], options, marks(8), None), [row], options)
    assert shown(searched) == shown(greedy)
    # Greedy continuations are scored in single precision.
    assert searched[0].score == pytest.approx(greedy[0].log_prob, abs=1e-4)


def test_a_search_ends_when_nothing_better_can_come() -> None:
    """Ending has p 0.9 everywhere: without length penalty two beams need three steps, not a hundred."""
    table = np.zeros((4, 4, 4))
    table[:, :, :] = np.log([0.9, 0.04, 0.03, 0.03])
    model = Table(table.astype(np.float32))
    found = generate(model, [[2]], Options(beams=2, length_penalty=0.0, max_new_tokens=100), marks(4))[0]
    assert [one.tokens for one in found] == [(), (1,)]
    assert model.room > 95


def test_a_length_penalty_prefers_longer_texts() -> None:
    """Ending at once has p 0.5, two more tokens first 0.45; log 0.45 / (8 / 6) is more than log 0.5 / (6 / 6)."""
    table = np.full((4, 4, 4), -50.0)
    table[BEGIN, 2, [EOS, 3]] = np.log([0.5, 0.5])
    table[2, 3, [3, EOS]] = np.log([0.95, 0.05])
    table[3, 3, [EOS, 3]] = np.log([0.95, 0.05])
    model = Table(table.astype(np.float32))
    short, long = (
        generate(model, [[2]], Options(beams=2, length_penalty=alpha, max_new_tokens=8), marks(4))[0][0].tokens
        for alpha in (0.0, 1.0)
    )
    assert (short, long) == ((), (3, 3))


def test_stopped_beams_are_put_aside() -> None:
    model = Table.random(6, seed=3)
    found = generate(model, [[2]], Options(beams=3, max_new_tokens=9), marks(6), ended=lambda t: t[-1] == 4)[0]
    assert any(one.ended == "stop" for one in found)
    for one in found:
        assert 4 not in one.tokens[:-1]
        assert (one.ended == "stop") == (one.tokens[-1:] == (4,))


def test_penalties_hold_in_beams() -> None:
    model = Table.random(6, seed=5)
    plain, found = (
        generate(model, [[2, 3, 4]], Options(beams=3, max_new_tokens=10, no_repeat_ngram=n), marks(6))[0]
        for n in (0, 2)
    )

    def repeats(one: Continuation) -> bool:
        pairs = list(itertools.pairwise((2, 3, 4, *one.tokens)))
        return len(pairs) != len(set(pairs))

    assert any(map(repeats, plain))
    assert not any(map(repeats, found))
