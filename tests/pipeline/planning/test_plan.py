"""A plan keeps to the time, the corpus and the memory, and lies where the law has its optimum."""

from __future__ import annotations

import pytest

from pipeline.errors import UserError
from pipeline.planning.gpus import find_gpu
from pipeline.planning.laws import REFIT
from pipeline.planning.plan import Plan, Question, plan
from pipeline.planning.shapes import shapes
from pipeline.pretrain.model.flops import parameters


def planned(tokens: float, **changes: object) -> Plan:
    fields = {
        "tokens": int(tokens),
        "vocab_size": 32_768,
        "gpu": find_gpu("H100"),
        "gpus": 8,
        "hours": 24.0,
        "mfu": 0.45,
    }
    return plan(Question(**{**fields, "law": REFIT, **changes}))


@pytest.mark.parametrize("hours", [0.1, 2.0, 24.0, 240.0], ids=str)
def test_a_large_corpus_leaves_the_law_to_decide(hours: float) -> None:
    found = planned(1e14, hours=hours)
    params, _ = REFIT.optimum(found.flops)
    assert found.limited_by == "time"
    assert 0.6 < found.parameters.total / params < 1.7  # the table's steps, and attention, which 6 N D leaves out
    assert 0.98 * 3600 * hours < found.seconds <= 3600 * hours
    # At a tenth of an hour attention is a third of the operations.
    best = REFIT.loss(*REFIT.optimum(found.flops))
    assert best <= found.loss < 1.04 * best


def test_a_small_corpus_is_read_so_often_and_no_more() -> None:
    found = planned(1e9)
    assert found.limited_by == "corpus"
    assert found.epochs == pytest.approx(4, rel=0.001)
    assert found.epochs <= 4
    assert found.seconds < 3600
    assert planned(1e9, max_epochs=1.0).loss > found.loss
    assert found.loss > REFIT.loss(found.parameters.total, found.tokens)  # repeated tokens count for less


@pytest.mark.parametrize("gpus", [1, 6, 8, 64], ids=str)
def test_gpus_share_the_batch_and_each_holds_its_part(gpus: int) -> None:
    found = planned(1e12, gpus=gpus)
    assert found.batch_sequences % gpus == 0
    assert found.tokens == found.steps * found.batch_tokens
    assert found.layout.fits
    assert found.layout.memory.total <= 80e9
    assert found.layout.micro_batch_tokens <= found.batch_tokens // gpus
    assert found.checkpoint_bytes == pytest.approx(12 * found.parameters.total, rel=1e-6)
    if gpus == 1:
        assert found.layout.sharding == "replicate"


def test_a_model_too_large_for_one_is_split_and_one_too_large_for_all_is_said_to_be() -> None:
    large = next(shape for shape in shapes() if parameters(shape, 32_768).total > 6e9)
    split = planned(1e12, shape=large).layout
    assert split.sharding != "replicate"
    assert split.fits
    huge = next(shape for shape in shapes() if parameters(shape, 32_768).total > 6e10)
    assert not planned(1e12, shape=huge).layout.fits


def test_every_shape_of_the_table_is_one_that_matrix_units_like() -> None:
    for shape in shapes():
        assert shape.head_dim == 128
        assert shape.ffn_dim % 128 == 0
        assert shape.heads // shape.kv_heads <= 16
        assert 8 / 3 <= shape.ffn_dim / shape.dim <= 3.01


def test_less_than_a_batch_is_refused() -> None:
    with pytest.raises(UserError, match="less than one batch of 8 sequences of 2,048"):
        planned(2000)


def test_less_than_a_token_is_refused_too() -> None:
    with pytest.raises(UserError, match=r"^0 tokens are less than one batch"):
        planned(10, max_epochs=0.01)


def test_a_corpus_of_400_000_tokens_gets_a_small_model_and_a_rate_that_such_models_bear() -> None:
    found = planned(400_000, sequence_length=256, gpus=1, vocab_size=8192)
    assert found.limited_by == "corpus"
    assert 5e5 < found.parameters.total < 3e6
    assert found.tokens <= 4 * 400_000
    assert found.steps > 100
    # Step Law at the least it was fitted on: 1.79 (6e7)^-0.713 (2e9)^0.307.
    assert found.learning_rate == pytest.approx(3.65e-3, rel=0.01)
    assert 0 < found.seconds < 60
