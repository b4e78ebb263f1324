"""The model against slow, obvious versions of its parts."""

from __future__ import annotations

import cmath
import math

import pytest
import torch

from pipeline.pretrain.config import PRESETS, Shape
from pipeline.pretrain.model import RMSNorm, Transformer, padded_vocabulary, rotate, rotation
from pipeline.pretrain.optim import Gradients

SMALL = Shape(layers=2, dim=32, heads=4, kv_heads=2, ffn_dim=64)


def random_tokens(*shape: int, seed: int = 0, vocab: int = 40) -> torch.Tensor:
    return torch.randint(0, vocab, shape, generator=torch.Generator().manual_seed(seed))


def test_rotation_is_multiplication_by_a_complex_unit() -> None:
    """Pair (i, i + E/2) at position p is turned by p * theta**(-2 i / E)."""
    length, width, theta = 5, 8, 100.0
    x = torch.randn(length, width, generator=torch.Generator().manual_seed(1))
    turned = rotate(x, *rotation(length, width, theta))
    for position in range(length):
        for pair in range(width // 2):
            before = complex(x[position, pair], x[position, pair + width // 2])
            after = before * cmath.exp(1j * position * theta ** (-2 * pair / width))
            assert turned[position, pair].item() == pytest.approx(after.real, abs=1e-6)
            assert turned[position, pair + width // 2].item() == pytest.approx(after.imag, abs=1e-6)


def test_rotated_products_depend_on_distance_only() -> None:
    cos, sin = rotation(64, 8, 10_000.0)
    query, key = torch.randn(2, 8, generator=torch.Generator().manual_seed(2))
    near = rotate(query, cos[7], sin[7]) @ rotate(key, cos[3], sin[3])
    far = rotate(query, cos[57], sin[57]) @ rotate(key, cos[53], sin[53])
    assert near.item() == pytest.approx(far.item(), abs=1e-5)


def test_rms_norm_by_hand() -> None:
    norm = RMSNorm(2, eps=0.0)
    norm.weight.data = torch.tensor([1.0, 2.0])
    # sqrt((9 + 16) / 2) = 3.5355
    assert norm(torch.tensor([3.0, 4.0])).tolist() == pytest.approx([0.848528, 2.262742], abs=1e-5)


@pytest.mark.parametrize("qk_norm", [False, True])
def test_attention_equals_loops_over_heads_and_positions(qk_norm: bool) -> None:
    """Query head h reads key and value head h // (heads / kv_heads)."""
    shape = SMALL.model_copy(update={"qk_norm": qk_norm})
    attention = Transformer(shape, 40, max_length=6).double().blocks[0].attention
    if qk_norm:
        attention.q_norm.weight.data.mul_(1.5)
    x = torch.randn(1, 6, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    cos, sin = (part.double() for part in rotation(6, 8, shape.rope_theta))
    projected = (x[0] @ attention.qkv.weight.T).view(6, 8, 8)
    outputs = torch.zeros(6, 4, 8, dtype=torch.float64)
    for head in range(4):
        shared = head // 2
        query, key, value = projected[:, head], projected[:, 4 + shared], projected[:, 6 + shared]
        query, key = rotate(attention.q_norm(query), cos, sin), rotate(attention.k_norm(key), cos, sin)
        for position in range(6):
            scores = [(query[position] @ key[before]).item() / math.sqrt(8) for before in range(position + 1)]
            weights = [math.exp(value) for value in scores]
            for before, weight in enumerate(weights):
                outputs[position, head] += weight / sum(weights) * value[before]
    expected = outputs.reshape(6, 32) @ attention.out.weight.T
    torch.testing.assert_close(attention(x, cos, sin)[0], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("tied", [True, False])
def test_no_position_sees_a_later_one(tied: bool) -> None:
    model = Transformer(SMALL.model_copy(update={"tied": tied}), 40, max_length=12)
    tokens = random_tokens(2, 12)
    changed = tokens.clone()
    changed[:, 7] = (changed[:, 7] + 1) % 40
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :7], after[:, :7])
    assert (before[:, 7:] - after[:, 7:]).abs().amax(dim=(0, 2)).min() > 0


@pytest.mark.parametrize(("tied", "qk_norm"), [(True, False), (False, True)])
def test_gradients_equal_finite_differences(tied: bool, qk_norm: bool) -> None:
    model = Transformer(SMALL.model_copy(update={"tied": tied, "qk_norm": qk_norm}), 40, max_length=9).double()
    tokens = random_tokens(2, 9, seed=4)

    def loss() -> torch.Tensor:
        return model.nats(tokens[:, :-1], tokens[:, 1:]).mean()

    gradients = Gradients(model)
    loss().backward()
    step = 1e-5
    for name, parameter in model.named_parameters():
        # The embedding row of a token that occurs; elsewhere the largest entry.
        place = int(parameter.grad.abs().argmax())
        flat = parameter.data.view(-1)
        ends = []
        for sign in (1, -1):
            flat[place] += sign * step
            with torch.no_grad():
                ends.append(loss().item())
            flat[place] -= sign * step
        slope = (ends[0] - ends[1]) / (2 * step)
        assert parameter.grad.view(-1)[place].item() == pytest.approx(slope, rel=1e-6, abs=1e-9), name
    assert float(gradients.summed[:-1].norm()) > 0


def test_one_batch_can_be_learned_by_heart() -> None:
    model = Transformer(SMALL, 40, max_length=16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    tokens = random_tokens(4, 17, seed=5)
    for _ in range(120):
        optimizer.zero_grad()
        loss = model.nats(tokens[:, :-1], tokens[:, 1:]).mean()
        loss.backward()
        optimizer.step()
    # Sixteen random ids of 40 after each other cannot be guessed (3.7 nats), only remembered.
    assert loss.item() < 0.1


@pytest.mark.parametrize(
    ("preset", "matrices", "embeddings"),
    [
        # a layer: d*d (1 + 2 kv / heads) + d*d + 3*d*ffn
        ("tiny", 2 * (128 * 128 * 3 + 3 * 128 * 384), 32_768 * 128),
        ("124m", 12 * (4 * 768**2 + 3 * 768 * 2048), 32_768 * 768),
        ("350m", 24 * (4 * 1024**2 + 3 * 1024 * 2816), 32_768 * 1024),
        ("1.3b", 24 * (3 * 2048**2 + 3 * 2048 * 5632), 2 * 32_768 * 2048),
    ],
)
def test_presets_have_the_parameters_they_are_named_for(preset: str, matrices: int, embeddings: int) -> None:
    shape = PRESETS[preset]
    with torch.device("meta"), torch.no_grad():
        model = Transformer(shape, 32_768, max_length=8)
    norms = (2 * shape.layers + 1) * shape.dim
    assert sum(p.numel() for p in model.parameters()) == matrices + embeddings + norms


@pytest.mark.parametrize(("vocab_size", "rows"), [(1, 128), (128, 128), (129, 256), (8192, 8192), (50_257, 50_304)])
def test_vocabulary_is_padded_to_128(vocab_size: int, rows: int) -> None:
    assert padded_vocabulary(vocab_size) == rows


def test_weights_are_a_function_of_the_seed() -> None:
    one, same, other = (Transformer(SMALL, 40, max_length=8, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["embedding.weight"], other["embedding.weight"])
    # A longer model starts with the same layers: a weight depends on its name, not on its turn.
    deeper = Transformer(SMALL.model_copy(update={"layers": 3}), 40, max_length=8, seed=1).state_dict()
    assert torch.equal(one["blocks.1.attention.qkv.weight"], deeper["blocks.1.attention.qkv.weight"])
