"""Logits behind a cache against those of the whole sequence at once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.pretrain.config import Experts, RopeScaling, Shape
from pipeline.pretrain.model.cache import Cache
from pipeline.pretrain.model.transformer import Transformer
from tests.pipeline.pretrain.conftest import SMALL
from tests.pipeline.pretrain.test_pretrain_model import random_tokens, varied

CLOSE = {"rtol": 0, "atol": 2e-5}


def wide(shape: Shape = SMALL, max_length: int = 16) -> Transformer:
    """A model whose positions matter."""
    model = Transformer(shape, 40, max_length=max_length)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


PLAIN = wide()


@settings(max_examples=25, deadline=None)
@given(parts=st.lists(st.integers(1, 6), min_size=1, max_size=6).filter(lambda parts: sum(parts) <= 16))
def test_any_parts_equal_the_whole(parts: list[int]) -> None:
    tokens = random_tokens(2, sum(parts), seed=3)
    cache = Cache(SMALL, 2, 16)
    with torch.inference_mode():
        found = [PLAIN(part, cache=cache) for part in tokens.split(parts, dim=1)]
        torch.testing.assert_close(torch.cat(found, dim=1), PLAIN(tokens), **CLOSE)
    assert cache.length == sum(parts)


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(varied(qk_norm=True, tied=False), id="qk_norm"),
        pytest.param(varied(experts=Experts(count=4, ffn_dim=24)), id="experts"),
        pytest.param(varied(rope_scaling=RopeScaling(method="yarn", factor=2.0, original_length=8)), id="yarn"),
    ],
)
def test_every_kind_of_layer_goes_with_a_cache(shape: Shape) -> None:
    model, tokens, cache = wide(shape), random_tokens(1, 10, seed=4), Cache(shape, 1, 10)
    with torch.inference_mode():
        found = [model(part, cache=cache) for part in tokens.split([6, 1, 1, 2], dim=1)]
        torch.testing.assert_close(torch.cat(found, dim=1), model(tokens), **CLOSE)


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 7), min_size=1, max_size=4), first=st.integers(1, 7), more=st.integers(0, 4))
def test_rows_padded_on_the_left_equal_rows_alone(lengths: list[int], first: int, more: int) -> None:
    longest = max(lengths)
    tokens = random_tokens(len(lengths), longest + more, seed=5)
    cache = Cache(SMALL, len(lengths), longest + more)
    cache.starts = torch.tensor([longest - length for length in lengths])
    cuts = [longest] if first >= longest else [first, longest - first]
    with torch.inference_mode():
        parts = [PLAIN(part, cache=cache) for part in tokens.split([*cuts, *[1] * more], dim=1)]
        found = torch.cat(parts, dim=1)
        for row, length in enumerate(lengths):
            alone = PLAIN(tokens[row : row + 1, longest - length :])[0]
            torch.testing.assert_close(found[row, longest - length :], alone, **CLOSE)
    assert found.isfinite().all()


def test_a_short_row_beside_a_long_one_has_all_its_positions() -> None:
    """Positions count from a row's start, so slots may be more than positions, as long as no row has too many."""
    model, cache = wide(max_length=8), Cache(SMALL, 2, 12)
    cache.starts = torch.tensor([4, 6])
    tokens = random_tokens(2, 12, seed=6)
    with torch.inference_mode():
        found = model(tokens, cache=cache)
        torch.testing.assert_close(found[0, 4:], model(tokens[:1, 4:])[0], **CLOSE)
        with pytest.raises(ValueError, match="9 positions, but the model has 8"):
            model(tokens[:, :1], cache=cache)


def test_a_full_cache_says_so() -> None:
    cache = Cache(SMALL, 1, 4)
    with torch.inference_mode():
        PLAIN(random_tokens(1, 3), cache=cache)
        with pytest.raises(ValueError, match="2 tokens behind 3 do not fit a cache of 4 slots"):
            PLAIN(random_tokens(1, 2), cache=cache)


@pytest.mark.parametrize("rows", [[1, 0], [1, 1], [0], [1, 0, 0, 1]])
def test_reordered_rows_go_on_where_they_came_from(rows: list[int]) -> None:
    tokens, more = random_tokens(2, 6, seed=7), random_tokens(4, 1, seed=8)[: len(rows)]
    cache = Cache(SMALL, 2, 8)
    cache.starts = torch.tensor([0, 2])
    with torch.inference_mode():
        PLAIN(tokens, cache=cache)
        cache.reorder(torch.tensor(rows))
        found = PLAIN(more, cache=cache)
        for row, origin in enumerate(rows):
            start = (0, 2)[origin]
            alone = PLAIN(torch.cat((tokens[origin, start:], more[row]))[None])
            torch.testing.assert_close(found[row, 0], alone[0, -1], **CLOSE)
    assert cache.rows == len(rows)


def test_a_cut_cache_goes_on_from_there() -> None:
    tokens, cache = random_tokens(1, 8, seed=9), Cache(SMALL, 1, 8)
    with torch.inference_mode():
        PLAIN(random_tokens(1, 8, seed=10), cache=cache)
        cache.cut(0)
        PLAIN(tokens, cache=cache)
        cache.cut(5)
        torch.testing.assert_close(PLAIN(tokens[:, 5:], cache=cache), PLAIN(tokens)[:, 5:], **CLOSE)
    with pytest.raises(ValueError, match="cannot cut a cache of 8 slots to 9"):
        cache.cut(9)


def test_a_prompt_that_sees_itself_both_ways_then_goes_on_causally() -> None:
    """Rows of a prefix model: the prompt is the prefix, wherever its row begins."""
    tokens, cache = random_tokens(2, 9, seed=11), Cache(SMALL, 2, 9)
    cache.starts = torch.tensor([0, 3])
    prefix = torch.tensor([6, 3])
    with torch.inference_mode():
        parts = [PLAIN(tokens[:, :6], cache=cache, prefix=prefix)]
        parts += [PLAIN(tokens[:, place : place + 1], cache=cache) for place in (6, 7, 8)]
        found = torch.cat(parts, dim=1)
        for row, start in enumerate((0, 3)):
            alone = PLAIN(tokens[row : row + 1, start:], prefix=prefix[row : row + 1])[0]
            torch.testing.assert_close(found[row, start:], alone, **CLOSE)


def test_what_cannot_go_with_a_cache_is_refused() -> None:
    for wrong in ({"causal": False}, {"documents": torch.zeros(1, 2, dtype=torch.int32)}):
        with pytest.raises(ValueError, match="a cache goes with causal attention"):
            PLAIN(random_tokens(1, 2), cache=Cache(SMALL, 1, 4), **wrong)
