"""The model against slow, obvious versions of its parts."""

from __future__ import annotations

import cmath
import math

import pytest
import torch

from pipeline.pretrain.config import PRESETS, Experts, RopeScaling, Shape
from pipeline.pretrain.data.batch import IGNORED, Batch
from pipeline.pretrain.model.feed_forward import ReLU2, SwiGLU
from pipeline.pretrain.model.norm import RMSNorm
from pipeline.pretrain.model.rope import rotate, rotation
from pipeline.pretrain.model.sight import Sight
from pipeline.pretrain.model.transformer import Transformer
from pipeline.pretrain.model.vocabulary import padded_vocabulary
from tests.pipeline.pretrain.conftest import SMALL


def random_tokens(*shape: int, seed: int = 0, vocab: int = 40) -> torch.Tensor:
    return torch.randint(0, vocab, shape, generator=torch.Generator().manual_seed(seed))


def varied(**changes: object) -> Shape:
    return SMALL.model_copy(update=changes)


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
    shape = varied(qk_norm=qk_norm)
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
    torch.testing.assert_close(attention(x, Sight(cos, sin))[0], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("tied", [True, False])
def test_no_position_sees_a_later_one(tied: bool) -> None:
    model = Transformer(varied(tied=tied), 40, max_length=12)
    tokens = random_tokens(2, 12)
    changed = tokens.clone()
    changed[:, 7] = (changed[:, 7] + 1) % 40
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :7], after[:, :7])
    assert (before[:, 7:] - after[:, 7:]).abs().amax(dim=(0, 2)).min() > 0


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(varied(tied=True), id="plain"),
        pytest.param(varied(tied=False, qk_norm=True), id="untied-qk_norm"),
        pytest.param(varied(feed_forward="relu2"), id="relu2"),
        pytest.param(varied(rope_scaling=RopeScaling(method="yarn", factor=2.0, original_length=4)), id="yarn"),
        pytest.param(varied(experts=Experts(count=3, per_token=2, ffn_dim=24, balance=0.1)), id="experts"),
        pytest.param(
            varied(experts=Experts(count=3, per_token=1, ffn_dim=24, balance=0.1), feed_forward="relu2"),
            id="experts-relu2",
        ),
    ],
)
def test_gradients_equal_finite_differences(shape: Shape) -> None:
    """Of everything that is trained on: nats, z-loss and load balance, under a document mask and a prefix."""
    model = Transformer(shape, 40, max_length=9).double()
    with torch.no_grad():
        for parameter in model.parameters():  # far from a tie of the router, where there is no slope
            parameter.mul_(3)
    tokens = random_tokens(2, 9, seed=4)
    targets = tokens[:, 1:].clone()
    targets[1, :3] = IGNORED
    documents = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1], [0] * 8])
    batch = Batch(tokens[:, :-1], targets, documents, torch.tensor([2, 4]))

    def loss() -> torch.Tensor:
        return model.loss(batch, z_loss=1e-2).trained / 13

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
        assert parameter.grad.view(-1)[place].item() == pytest.approx(slope, rel=1e-5, abs=1e-8), name


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
    deeper = Transformer(varied(layers=3), 40, max_length=8, seed=1).state_dict()
    assert torch.equal(one["blocks.1.attention.qkv.weight"], deeper["blocks.1.attention.qkv.weight"])


def test_feed_forwards_by_hand() -> None:
    """One unit of width 1: SwiGLU is down * silu(gate x) * up x, ReLU^2 is down * max(0, up x)**2."""
    one = Shape(layers=1, dim=2, heads=1, kv_heads=1, ffn_dim=1)
    swiglu, relu2 = SwiGLU(one), ReLU2(one)
    swiglu.gate_up.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    swiglu.down.weight.data = torch.tensor([[1.0], [2.0]])
    # silu(1) = 1 / (1 + e**-1) = 0.731059; times 3
    assert swiglu(torch.tensor([1.0, 3.0])).tolist() == pytest.approx([2.193176, 4.386352], abs=1e-5)
    relu2.up.weight.data = torch.tensor([[1.0, -1.0]])
    relu2.down.weight.data = torch.tensor([[1.0], [-2.0]])
    assert relu2(torch.tensor([5.0, 2.0])).tolist() == [9.0, -18.0]
    assert relu2(torch.tensor([2.0, 5.0])).tolist() == [0.0, 0.0]


def test_losses_are_sums_over_the_targets() -> None:
    model = Transformer(SMALL, 40, max_length=8)
    tokens = random_tokens(3, 9, seed=6)
    targets = tokens[:, 1:].clone()
    targets[0, 4:] = IGNORED
    targets[2] = IGNORED
    found = model.loss(Batch(tokens[:, :-1], targets), z_loss=0.5)
    nats = squares = 0.0
    logits = model(tokens[:, :-1]).double()
    for row, position in [(0, place) for place in range(4)] + [(1, place) for place in range(8)]:
        scores = [math.exp(value) for value in logits[row, position].tolist()]
        nats += math.log(sum(scores)) - logits[row, position, targets[row, position]].item()
        squares += math.log(sum(scores)) ** 2
    assert found.nats.item() == pytest.approx(nats, rel=1e-5)
    assert found.extra.item() == pytest.approx(0.5 * squares, rel=1e-5)
    assert model.loss(Batch(tokens[:, :-1], targets)).extra.item() == 0.0
    each = model.nats(tokens[:, :-1], targets)
    assert each.sum().item() == pytest.approx(nats, rel=1e-5)
    assert each[2].tolist() == [0.0] * 8


def test_more_positions_than_the_model_has_are_refused_in_words() -> None:
    model = Transformer(SMALL, 40, max_length=8)
    assert model(random_tokens(1, 8), last=True).shape == (1, 1, 128)
    with pytest.raises(ValueError, match="9 positions, but the model has 8: give shorter sequences"):
        model(random_tokens(1, 9))


@pytest.mark.parametrize("backend", ["cudnn", "flash", "varlen"])
def test_kernels_of_a_gpu_are_refused_on_a_cpu(backend: str) -> None:
    with pytest.raises(ValueError, match=f"attention '{backend}' needs a CUDA device, the tokens are on cpu"):
        Transformer(SMALL, 40, max_length=8, attention=backend)(random_tokens(1, 4))


def test_experts_and_relu2_have_the_parameters_of_their_widths() -> None:
    """A layer's feed-forward: 3 d f with SwiGLU, 2 d f with ReLU^2; of n experts n times that, and a router of d n."""
    counts = {
        name: sum(p.numel() for p in Transformer(shape, 40, max_length=8).blocks[0].ffn.parameters())
        for name, shape in {
            "swiglu": SMALL,
            "relu2": varied(feed_forward="relu2"),
            "experts": varied(experts=Experts(count=5, ffn_dim=24)),
            "experts-relu2": varied(feed_forward="relu2", experts=Experts(count=5, ffn_dim=24)),
        }.items()
    }
    assert counts == {
        "swiglu": 3 * 32 * 64,
        "relu2": 2 * 32 * 64,
        "experts": 5 * 3 * 32 * 24 + 32 * 5,
        "experts-relu2": 5 * 2 * 32 * 24 + 32 * 5,
    }


def test_half_precision_is_close_and_keeps_a_narrow_residual_stream() -> None:
    model = Transformer(varied(qk_norm=True, experts=Experts(count=4, ffn_dim=24)), 40, max_length=16)
    tokens = random_tokens(4, 17, seed=9)
    batch = Batch(tokens[:, :-1], tokens[:, 1:])
    widths = []
    model.blocks[1].register_forward_pre_hook(lambda _, given: widths.append(given[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        half = model.loss(batch, z_loss=1e-4)
    full = model.loss(batch, z_loss=1e-4)
    assert widths == [torch.bfloat16, torch.float32]
    assert (half.nats.dtype, half.extra.dtype) == (torch.float32, torch.float32)
    assert half.nats.item() == pytest.approx(full.nats.item(), rel=2e-3)
    assert half.extra.item() == pytest.approx(full.extra.item(), rel=2e-2)
    half.trained.backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in model.parameters())
