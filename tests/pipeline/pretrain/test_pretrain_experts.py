"""Experts against a loop over tokens, the load balance against transformers' and against cases worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import silu
from torch.utils.checkpoint import checkpoint
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from pipeline.pretrain.config import Experts as Sizes
from pipeline.pretrain.config import Shape
from pipeline.pretrain.data.batch import IGNORED, Batch
from pipeline.pretrain.model.experts import Experts, imbalance
from pipeline.pretrain.model.transformer import Transformer
from tests.pipeline.pretrain.test_pretrain_model import random_tokens, varied


def made(sizes: Sizes, **changes: object) -> Experts:
    """Experts with weights large enough that the router is sure of itself."""
    experts = Experts(varied(**changes), sizes)
    random = torch.Generator().manual_seed(1)
    for parameter in experts.parameters():
        parameter.data = torch.randn(parameter.shape, generator=random) * 0.3
    return experts


@pytest.mark.parametrize("per_token", [1, 2, 5])
@pytest.mark.parametrize("feed_forward", ["swiglu", "relu2"])
def test_each_token_goes_through_its_experts(per_token: int, feed_forward: str) -> None:
    experts = made(Sizes(count=5, per_token=per_token, ffn_dim=24), feed_forward=feed_forward)
    x = torch.randn(2, 7, 32, generator=torch.Generator().manual_seed(2))
    found = experts(x)
    for token, result in zip(x.flatten(0, 1), found.flatten(0, 1), strict=True):
        scores = [math.exp(value) for value in (experts.router.weight @ token).tolist()]
        order = sorted(range(5), key=lambda one: -scores[one])[:per_token]
        # One expert keeps its probability among all; several share a weight of 1.
        total = sum(scores) if per_token == 1 else sum(scores[one] for one in order)
        expected = torch.zeros(32)
        for one in order:
            inner = experts.up[one] @ token
            inner = silu(inner[:24]) * inner[24:] if feed_forward == "swiglu" else inner.clamp(min=0) ** 2
            expected += scores[one] / total * (experts.down[one] @ inner)
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


def test_imbalance_by_hand() -> None:
    """Two experts, one a token: 1 where both get half, 2 where one gets all and is certain, N * sum f P in general."""
    even = imbalance(torch.full((1, 4, 2), 0.5), torch.tensor([[[0], [1], [0], [1]]]))
    one_sided = imbalance(torch.tensor([[[1.0, 0.0]] * 4]), torch.zeros(1, 4, 1, dtype=torch.int64))
    # f = (3/4, 1/4), P = (0.7, 0.3): 2 * (0.525 + 0.075)
    mixed = imbalance(torch.tensor([[[0.7, 0.3]] * 4]), torch.tensor([[[0], [0], [1], [0]]]))
    assert [one.item() for one in (even, one_sided, mixed)] == pytest.approx([1.0, 2.0, 1.2])


@pytest.mark.parametrize("per_token", [1, 2, 3])
def test_imbalance_equals_that_of_transformers(per_token: int) -> None:
    """Theirs sums the choices of a token and ours takes their mean, hence K times; a layer and a row at a time."""
    logits = torch.randn(9, 6, generator=torch.Generator().manual_seed(3)) * 2
    theirs = load_balancing_loss_func((logits,), num_experts=6, top_k=per_token)
    probability = logits.softmax(-1)[None]
    ours = imbalance(probability, probability.topk(per_token, dim=-1).indices)
    assert ours.item() * per_token == pytest.approx(float(theirs), rel=1e-6)


def shape(balance: float) -> Shape:
    return varied(experts=Sizes(count=4, per_token=2, ffn_dim=24, balance=balance))


def test_load_balance_enters_the_loss_by_layer_row_and_target() -> None:
    """The same sum for rows together and apart: curves of 1, 2 and 4 ranks then agree."""
    model = Transformer(shape(0.25), 40, max_length=8)
    tokens = random_tokens(3, 9, seed=7)
    targets = tokens[:, 1:].clone()
    targets[1, 2:] = IGNORED
    batch = Batch(tokens[:, :-1], targets)
    whole = model.loss(batch).extra.item()
    rows = [block.ffn.imbalance.tolist() for block in model.blocks]
    expected = sum(0.25 * row[0] * 8 + 0.25 * row[1] * 2 + 0.25 * row[2] * 8 for row in rows)
    assert whole == pytest.approx(expected, rel=1e-6)
    assert sum(model.loss(part).extra.item() for part in batch.split(1)) == pytest.approx(whole, rel=1e-5)


def test_balance_is_learned() -> None:
    """Trained on the load balance alone, a router that prefers one expert comes to use all alike."""
    experts = made(Sizes(count=4, per_token=1, ffn_dim=8))
    # A feature that is always there pulls every token to expert 0.
    experts.router.weight.data[:, 0] = torch.tensor([3.0, 0.0, 0.0, 0.0])
    x = torch.randn(1, 256, 32, generator=torch.Generator().manual_seed(4))
    x[..., 0] = 1.0
    optimizer = torch.optim.SGD(experts.router.parameters(), lr=0.5)
    values = []
    for _ in range(60):
        experts(x)
        values.append(experts.imbalance.sum())
        optimizer.zero_grad()
        values[-1].backward()
        optimizer.step()
    assert values[0].item() > 1.5
    assert values[-1].item() < 1.1


def test_an_expert_that_no_token_chose_has_a_gradient_of_zeros() -> None:
    """All ranks then have gradients of the same weights, whatever their tokens chose."""
    experts = made(Sizes(count=4, per_token=1, ffn_dim=8))
    experts(torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(5))).sum().backward()
    used = [bool(gradient.any()) for gradient in experts.up.grad]
    assert sum(used) == 1


def test_recomputed_activations_give_the_same_gradients() -> None:
    tokens = random_tokens(2, 9, seed=8)
    gradients = []
    for recompute in (False, True):
        model = Transformer(shape(0.1), 40, max_length=8)
        if recompute:
            for block in model.blocks:
                block.forward = lambda *given, plain=block.forward: checkpoint(plain, *given, use_reentrant=False)
        found = model.loss(Batch(tokens[:, :-1], tokens[:, 1:]))
        found.trained.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain, rtol=0, atol=1e-6)
