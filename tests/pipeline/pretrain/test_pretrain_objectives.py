"""Prefix, span corruption and masked tokens: nothing is lost, nothing that is predicted is seen."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.pretrain.config import Objective
from pipeline.pretrain.data.batch import IGNORED, Batch
from pipeline.pretrain.model.transformer import Transformer
from pipeline.pretrain.objectives.prepare import check_objective, count_targets, prepare
from pipeline.pretrain.objectives.spans import fitting, most_spans
from tests.pipeline.pretrain.conftest import SMALL

EOS, VOCABULARY = 0, 100
PREFIX = Objective(kind="prefix")
SPAN = Objective(kind="span", mask_ids=tuple(range(100, 128)))
MLM = Objective(kind="mlm", mask_ids=(100,))
EACH = pytest.mark.parametrize("objective", [PREFIX, SPAN, MLM], ids=lambda one: one.kind)


def rows(count: int, width: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Ids 1 to 99, so neither EOS nor a mask."""
    return np.random.default_rng(seed).integers(1, VOCABULARY, (count, width))


def prepared(
    tokens: NDArray[np.int64], objective: Objective, lengths: list[int] | None = None, *, key: int = 1
) -> Batch:
    count, width = tokens.shape
    real = np.array(lengths or [width] * count)
    tokens = np.where(np.arange(width) < real[:, None], tokens, EOS)
    keys = np.arange(key, key + count, dtype=np.uint64)
    return prepare(tokens, real, keys, objective, eos_id=EOS, vocab_size=VOCABULARY)


@EACH
def test_a_row_depends_on_its_key_and_not_on_its_companions(objective: Objective) -> None:
    tokens = rows(6, 33)
    whole = prepared(tokens, objective)
    for first in (0, 3):
        part = prepared(tokens[first : first + 3], objective, key=1 + first)
        for name in ("inputs", "targets", "prefix"):
            one, other = getattr(whole, name), getattr(part, name)
            assert (one is None and other is None) or torch.equal(one[first : first + 3], other)
    assert not torch.equal(whole.targets, prepared(tokens, objective, key=99).targets)


@EACH
def test_rows_stay_rows_and_padding_is_never_a_target(objective: Objective) -> None:
    batch = prepared(rows(4, 33), objective, [33, 20, 2, 1])
    assert batch.inputs.shape == batch.targets.shape == (4, 32)
    counts = (batch.targets != IGNORED).sum(dim=1).tolist()
    assert all(count > 0 for count in counts[:3])
    limit = {"prefix": [32, 19, 1, 0], "span": [32, 32, 32, 0], "mlm": [32, 20, 2, 1]}[objective.kind]
    assert all(count <= most for count, most in zip(counts, limit, strict=True))


@EACH
@given(lengths=st.lists(st.integers(0, 33), min_size=1, max_size=6), key=st.integers(0, 2**63))
def test_targets_are_counted_without_tokens(objective: Objective, lengths: list[int], key: int) -> None:
    """Every rank knows how many all ranks have together, and prepares its own rows only."""
    batch = prepared(rows(len(lengths), 33), objective, lengths, key=key)
    keys = np.arange(key, key + len(lengths), dtype=np.uint64)
    assert count_targets(np.array(lengths), keys, objective, width=33) == batch.num_targets


@given(lengths=st.lists(st.integers(2, 24), min_size=1, max_size=5), key=st.integers(0, 2**63))
def test_prefix_predicts_exactly_what_is_behind_it(lengths: list[int], key: int) -> None:
    tokens = rows(len(lengths), 24)
    batch = prepared(tokens, PREFIX, lengths, key=key)
    for row, length in enumerate(lengths):
        prefix = int(batch.prefix[row])
        assert 1 <= prefix < length
        expected = [IGNORED] * 23
        expected[prefix - 1 : length - 1] = tokens[row, prefix:length].tolist()
        assert batch.targets[row].tolist() == expected
        assert batch.inputs[row, :length].tolist()[: length - 1] == tokens[row, : length - 1].tolist()


def test_prefixes_of_all_lengths_are_equally_likely() -> None:
    batch = prepared(rows(9000, 10), PREFIX)
    counts = Counter(batch.prefix.tolist())
    assert sorted(counts) == list(range(1, 10))
    # 1000 each, standard deviation 30
    assert all(abs(count - 1000) < 150 for count in counts.values())


def restored(batch: Batch, row: int) -> list[int]:
    """The text of a row, by putting what is predicted back into its holes."""
    made = [*batch.inputs[row].tolist(), int(batch.targets[row, -1])]
    prefix = int(batch.prefix[row])
    end = max(place for place, target in enumerate(batch.targets[row].tolist()) if target != IGNORED) + 1
    assert batch.targets[row, prefix - 1 : end].tolist() == made[prefix : end + 1]
    assert batch.targets[row, : prefix - 1].tolist() == [IGNORED] * (prefix - 1)
    holes: dict[int, list[int]] = {}
    *predicted, last = batch.targets[row, prefix - 1 : end].tolist()
    assert last == EOS
    for token in predicted:
        if token >= VOCABULARY:
            mask = token
            holes[mask] = []
        else:
            holes[mask].append(token)
    text: list[int] = []
    for token in made[:prefix]:
        text += holes.pop(token) if token >= VOCABULARY else [token]
    assert not holes
    return text


@given(
    length=st.integers(2, 60),
    rate=st.sampled_from([0.05, 0.15, 0.5, 0.9]),
    mean=st.sampled_from([1.0, 3.0, 8.0]),
    key=st.integers(0, 2**63),
)
def test_span_corruption_loses_no_token(length: int, rate: float, mean: float, key: int) -> None:
    objective = Objective(kind="span", rate=rate, mean_span=mean, mask_ids=tuple(range(100, 200)))
    tokens = rows(1, 61, seed=length)
    batch = prepared(tokens, objective, [length], key=key)
    text = restored(batch, 0)
    assert text == tokens[0, : len(text)].tolist()
    assert len(text) == fitting(length, 61, objective)


def test_span_corruption_hides_its_share_in_spans_of_the_mean_length() -> None:
    batch = prepared(rows(200, 257), SPAN)
    masks = (batch.targets >= VOCABULARY).sum().item()
    hidden = ((batch.targets > EOS) & (batch.targets < VOCABULARY)).sum().item()
    # 257 slots hold 234 tokens, 35 of them hidden in 12 spans, 24 masks and an EOS: 9 % are left out.
    assert (hidden, masks) == (200 * 35, 200 * 12)
    assert [len(restored(batch, row)) for row in (0, 199)] == [232, 232]


def test_masked_tokens_are_eight_one_one() -> None:
    tokens = rows(100, 501, seed=5)
    batch = prepared(tokens, MLM)
    assert not batch.causal
    assert batch.documents is None
    chosen = batch.targets != IGNORED
    assert chosen.sum(dim=1).tolist() == [75] * 100  # 0.15 of 500
    original = torch.from_numpy(tokens[:, :-1])
    assert torch.equal(batch.targets[chosen], original[chosen])
    assert torch.equal(batch.inputs[~chosen], original[~chosen])
    given_in = batch.inputs[chosen]
    masked, kept = (given_in == 100).float().mean().item(), (given_in == original[chosen]).float().mean().item()
    # 7,500 draws: standard deviations 0.0046 and 0.0036; one in a hundred replacements is the token itself.
    assert masked == pytest.approx(0.8, abs=0.02)
    assert kept == pytest.approx(0.101, abs=0.016)


@EACH
def test_the_model_does_not_see_what_it_predicts(objective: Objective) -> None:
    """Another token where a target stands moves no logit that predicts it, unless it was left to be seen (mlm)."""
    model = Transformer(SMALL, VOCABULARY, max_length=32)
    batch = prepared(rows(2, 33, seed=8), objective, [33, 25])
    options = {"documents": batch.documents, "prefix": batch.prefix, "causal": batch.causal}
    with torch.no_grad():
        before = model(batch.inputs, **options)
    for row in range(2):
        length = 32 if row == 0 else 24
        for place in range(length):
            if batch.targets[row, place] == IGNORED:
                continue
            changed = batch.inputs.clone()
            if objective.kind == "mlm":
                if batch.inputs[row, place] != 100:
                    continue
                changed[row, 25:] = 7  # the padding of the second row
                assert batch.inputs[row, place] != batch.targets[row, place]
                moved = model(changed, **options)[row, place] - before[row, place]
                assert (moved.abs().max() > 0) == (row == 0)
            else:
                changed[row, place + 1 :] = 7
                with torch.no_grad():
                    assert torch.equal(model(changed, **options)[row, place], before[row, place])


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (
            Objective(kind="mlm"),
            "objective mlm over 64 positions needs 1 mask_ids, there are 0: .*spare rows 100 to 127",
        ),
        (Objective(kind="span", mask_ids=(100,)), "objective span over 64 positions needs 3 mask_ids, there are 1"),
        (Objective(kind="mlm", mask_ids=(EOS,)), "mask_ids name 0, which ends every document: .*spare rows 100 to 127"),
        (Objective(kind="mlm", mask_ids=(128,)), r"mask_ids \[128\] lie behind the embedding, whose last id is 127"),
    ],
    ids=["none", "few", "eos", "outside"],
)
def test_objectives_that_cannot_be_prepared_are_refused(objective: Objective, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_objective(objective, sequence_length=64, eos_id=EOS, vocab_size=VOCABULARY)


@EACH
def test_enough_mask_ids_pass(objective: Objective) -> None:
    check_objective(objective, sequence_length=64, eos_id=EOS, vocab_size=VOCABULARY)
    assert most_spans(65, SPAN) == 3


@pytest.mark.parametrize("objective", [SPAN, MLM], ids=lambda one: one.kind)
def test_masks_that_stand_in_the_text_are_refused(objective: Objective) -> None:
    tokens = rows(4, 33)
    tokens[2, 5] = objective.mask_ids[-1]
    with pytest.raises(UserError, match=rf"mask_ids \[{objective.mask_ids[-1]}\] stand in the text itself"):
        prepared(tokens, objective)
