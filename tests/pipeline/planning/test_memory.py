"""The memory estimate against the tensors that a step really holds, counted on a CPU under mixed precision."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from pipeline.errors import UserError
from pipeline.planning.memory import GIB, Memory, Setting, check_memory, estimate, layer_bytes
from pipeline.pretrain.config import Job, Shape, TokenData, TokenFiles, TrainConfig
from pipeline.pretrain.data.batch import Batch
from pipeline.pretrain.model.transformer import Transformer
from pipeline.pretrain.sharding.recompute import recompute_blocks

ROWS, LENGTH, VOCABULARY, DIM = 1, 64, 256, 256
VARIANTS = {
    "all heads": {"kv_heads": 2},
    "grouped": {"kv_heads": 1},
    "relu2": {"kv_heads": 2, "feed_forward": "relu2"},
    "qk norm": {"kv_heads": 2, "qk_norm": True},
}


class FusedNorm(torch.autograd.Function):
    """What a GPU's norm keeps: its input and a number a row. The CPU's keeps four float32 copies."""

    @staticmethod
    def forward(ctx, x, weight, eps):
        scale = torch.rsqrt(x.float().square().mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).to(x.dtype) * weight


@pytest.fixture(autouse=True)
def _a_gpus_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.functional, "rms_norm", lambda x, _shape, weight, eps: FusedNorm.apply(x, weight, eps))


def shape_of(layers: int, **variant: object) -> Shape:
    return Shape(**{"layers": layers, "dim": DIM, "heads": 2, "ffn_dim": 640, **variant})


def sizes(tensors: Iterable[torch.Tensor]) -> dict[int, int]:
    """Bytes by address."""
    return {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in tensors}


def known_to_python() -> dict[int, int]:
    # By type, not isinstance: some objects warn when they are asked for their class. No subclass: what a compiler has left of
    # an earlier test has no address.
    return sizes(one for one in gc.get_objects() if type(one) in (torch.Tensor, torch.nn.Parameter))


def bytes_a_token(shape: Shape, recompute: str) -> float:
    """What a forward pass leaves for the backward pass, without the bfloat16 copies of weights."""
    model = Transformer(shape, VOCABULARY, max_length=LENGTH)
    recompute_blocks(model.blocks, recompute)
    tokens = torch.zeros(ROWS, LENGTH, dtype=torch.long)
    batch, saved = Batch(tokens, tokens), []
    before = known_to_python()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor)
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        losses = model.loss(batch)
    after = known_to_python() | sizes(saved)
    del losses
    held = sum(size for address, size in after.items() if address not in before)
    copies = 2 * sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2 and name.startswith("blocks."))
    return (held - (copies if recompute == "none" else 0)) / (ROWS * LENGTH)


def estimated(shape: Shape, recompute: str) -> float:
    setting = Setting(
        shape=shape,
        vocab_size=VOCABULARY,
        sequence_length=LENGTH,
        micro_batch_tokens=ROWS * LENGTH,
        recompute=recompute,
    )
    return estimate(setting).activations / (ROWS * LENGTH)


@pytest.mark.parametrize(
    ("variant", "recompute"),
    [
        *((variant, "none") for variant in VARIANTS),
        ("grouped", "selective"),
        ("relu2", "selective"),
        ("grouped", "full"),
    ],
)
def test_activations_of_a_layer(variant: str, recompute: str) -> None:
    """The difference of four layers and two, so that what stands outside of the blocks falls out."""
    few, many = (shape_of(layers, **VARIANTS[variant]) for layers in (2, 4))
    counted = (bytes_a_token(many, recompute) - bytes_a_token(few, recompute)) / 2
    assert (estimated(many, recompute) - estimated(few, recompute)) / 2 == pytest.approx(counted, rel=0.02)


def test_a_layer_by_hand() -> None:
    """Width 256, two heads of 128, one of keys, 640: 10 x 256 + 2 x 4 x 128 + 2 x 3 x 128 + 8 x 640."""
    assert layer_bytes(shape_of(1, kv_heads=1)) == 2560 + 1024 + 768 + 5120


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_weights_gradients_and_moments(optimizer: str) -> None:
    shape = shape_of(2, kv_heads=1)
    model = Transformer(shape, VOCABULARY, max_length=LENGTH)
    config = TrainConfig(shape=shape, learning_rate=1e-3, optimizer=optimizer)
    from pipeline.pretrain.training.optim import make_optimizers

    optimizers = make_optimizers(model, config)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    for one in optimizers:
        one.step()
    state = sum(
        value.nbytes
        for one in optimizers
        for held in one.state.values()
        for value in held.values()
        if isinstance(value, torch.Tensor) and value.ndim
    )
    weights = sum(p.nbytes for p in model.parameters())
    found = estimate(setting(shape, optimizer=optimizer))
    assert found.weights == found.gradients == weights
    # Gains are the few weights that Muon leaves to AdamW, with a second moment each.
    assert state <= found.moments + 4 * sum(p.numel() for p in model.parameters() if p.ndim < 2)
    assert found.moments <= state


def setting(shape: Shape, **changes: object) -> Setting:
    fields = {"shape": shape, "vocab_size": VOCABULARY, "sequence_length": LENGTH, "micro_batch_tokens": 4 * LENGTH}
    return Setting(**{**fields, **changes})


def test_ranks_share_what_is_split() -> None:
    shape = Shape(layers=24, dim=2048, heads=16, kv_heads=8, ffn_dim=5632, tied=False)
    whole = estimate(setting(shape, ranks=8))
    split = estimate(setting(shape, ranks=8, sharding="fsdp"))
    nodes = estimate(setting(shape, ranks=16, sharding="hsdp", shard_ranks=8))
    for part in ("weights", "gradients", "moments"):
        assert getattr(split, part) == getattr(nodes, part) == getattr(whole, part) // 8
    assert split.activations == whole.activations
    assert split.total < whole.total


def test_recomputing_and_compiling_save_activations() -> None:
    shape = shape_of(12, kv_heads=2)
    amounts = [estimate(setting(shape, recompute=recompute)).activations for recompute in ("none", "selective", "full")]
    assert amounts == sorted(amounts, reverse=True)
    assert estimate(setting(shape, compile=True)).total < estimate(setting(shape)).total


@pytest.mark.parametrize(
    ("micro_batch_tokens", "vocab_size", "logits"),
    [
        pytest.param(4 * LENGTH, VOCABULARY, 4 * LENGTH * VOCABULARY, id="all at once"),
        pytest.param(1 << 15, 1 << 15, 1 << 28, id="a quarter"),
        pytest.param(1 << 20, 1 << 17, 1 << 28, id="a chunk however many tokens"),
    ],
)
def test_logits_of_a_chunk_and_the_gradient_of_the_head(micro_batch_tokens: int, vocab_size: int, logits: int) -> None:
    found = estimate(setting(shape_of(2, kv_heads=2), micro_batch_tokens=micro_batch_tokens, vocab_size=vocab_size))
    assert found.logits == 12 * logits + 8 * vocab_size * DIM


@pytest.mark.parametrize(
    ("shape", "chunk"),
    [
        (
            Shape(layers=1, dim=256, heads=2, kv_heads=2, ffn_dim=640),
            4 * (4 * 256 * 256 + 3 * 256 * 640),
        ),  # less than a GiB in all
        (Shape(layers=24, dim=2048, heads=16, kv_heads=16, ffn_dim=5632), GIB),
        (
            Shape(layers=2, dim=16_384, heads=128, kv_heads=128, ffn_dim=65_536),
            4 * 16_384 * 2 * 65_536,
        ),  # gate and up of one layer
    ],
    ids=["small", "many", "large matrix"],
)
def test_muon_works_in_chunks(shape: Shape, chunk: int) -> None:
    assert estimate(setting(shape, optimizer="muon")).buffers == pytest.approx(3 * chunk, rel=0.01)
    assert estimate(setting(shape, optimizer="muon", ranks=8, sharding="fsdp")).buffers == pytest.approx(
        3 * chunk, rel=0.01
    )
    assert estimate(setting(shape)).buffers == 0


def test_a_job_that_does_not_fit_is_refused_in_words(tmp_path: Path) -> None:
    shape = Shape(layers=24, dim=2048, heads=16, kv_heads=8, ffn_dim=5632, tied=False)
    files = TokenFiles(tokens=str(tmp_path / "a.bin"), documents=str(tmp_path / "a.parquet"))
    job = Job(
        config=TrainConfig(shape=shape, sequence_length=2048, batch_size=64, learning_rate=1e-3),
        data=TokenData(shards=(files,), dtype="uint16", vocab_size=32_768, eos_id=0),
        home=str(tmp_path),
        device="cuda",
        micro_batch_tokens=32_768,
    )
    found = check_memory(job, 2, 200 * GIB)
    assert isinstance(found, Memory)
    assert (
        found.weights == 4 * 1_266_780_160
    )  # 24 (2 x 2048 x 128 x 24 + 3 x 2048 x 5632 + 4096) + 2048 + 2 x 2048 x 32768
    with pytest.raises(UserError, match=r"has 40.0 free \(weights 4\.7.*micro_batch_tokens below 32,768.*selective"):
        check_memory(job, 2, 40 * GIB)
    with pytest.raises(UserError, match="try sharding: fsdp, or"):
        check_memory(job.model_copy(update={"micro_batch_tokens": 2048}), 2, 20 * GIB)
