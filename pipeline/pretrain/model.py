"""A decoder-only transformer: RMSNorm, rotary positions, grouped-query attention, SwiGLU, tied or own output head.

Shapes: B sequences, T positions, D model width, H heads, E head width, V ids (padded).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import xxhash
from torch import Tensor, nn
from torch.nn import functional

from pipeline.pretrain.config import VOCABULARY_MULTIPLE, Shape

INIT_STD = 0.02


def padded_vocabulary(vocab_size: int) -> int:
    """Rows of the embedding for that many ids."""
    return -(-vocab_size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE


def rotation(length: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines (T, E) of rotary positions; the two halves of a head form the pairs, as in Llama's HF layout.

    Source: Su et al. 2021, arXiv:2104.09864. Angles are made in float64, since float32 is off by 1e-4 at position
    10,000.
    """
    frequency = theta ** -(torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    angle = torch.outer(torch.arange(length, dtype=torch.float64), frequency).repeat(1, 2)
    return angle.cos().float(), angle.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn every pair (i, i + E/2) of a head by the angle of its position. x: (..., T, E); cos and sin: (T, E)."""
    low, high = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-high, low), dim=-1) * sin


class RMSNorm(nn.Module):
    """Divide by the root mean square, times a gain. Source: Zhang and Sennrich 2019, arXiv:1910.07467."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return functional.rms_norm(x, self.weight.shape, self.weight, self.eps)


class Attention(nn.Module):
    """Causal attention; several query heads share a key and value head (Ainslie et al. 2023, arXiv:2305.13245)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = shape.heads, shape.kv_heads, shape.head_dim
        self.qkv = nn.Linear(shape.dim, (shape.heads + 2 * shape.kv_heads) * shape.head_dim, bias=False)
        self.out = nn.Linear(shape.dim, shape.dim, bias=False)
        self.q_norm = RMSNorm(shape.head_dim, shape.norm_eps) if shape.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(shape.head_dim, shape.norm_eps) if shape.qk_norm else nn.Identity()

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        batch, length, _ = x.shape
        heads = self.qkv(x).view(batch, length, -1, self.head_dim).transpose(1, 2)
        query, key, value = heads.split((self.heads, self.kv_heads, self.kv_heads), dim=1)
        query = rotate(self.q_norm(query), cos, sin)
        key = rotate(self.k_norm(key), cos, sin)
        mixed = functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, enable_gqa=self.kv_heads != self.heads
        )
        return self.out(mixed.transpose(1, 2).reshape(batch, length, -1))


class SwiGLU(nn.Module):
    """Gated feed-forward. Source: Shazeer 2020, arXiv:2002.05202."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_up = nn.Linear(shape.dim, 2 * shape.ffn_dim, bias=False)
        self.down = nn.Linear(shape.ffn_dim, shape.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(functional.silu(gate) * up)


class Block(nn.Module):
    """One layer, norms before each half."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(shape.dim, shape.norm_eps)
        self.attention = Attention(shape)
        self.ffn_norm = RMSNorm(shape.dim, shape.norm_eps)
        self.ffn = SwiGLU(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        x = x + self.attention(self.attention_norm(x), cos, sin)
        return x + self.ffn(self.ffn_norm(x))


class Transformer(nn.Module):
    """Token ids to logits.

    max_length: most positions of a sequence. seed: initial weights are a function of (seed, parameter name), so they
    depend neither on the number of ranks nor on the order of construction.
    """

    def __init__(self, shape: Shape, vocab_size: int, *, max_length: int, seed: int = 0) -> None:
        super().__init__()
        self.shape = shape
        rows = padded_vocabulary(vocab_size)
        self.embedding = nn.Embedding(rows, shape.dim)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.dim, shape.norm_eps)
        self.head = None if shape.tied else nn.Linear(shape.dim, rows, bias=False)
        cos, sin = rotation(max_length, shape.head_dim, shape.rope_theta)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self._initialise(seed)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, T, V) of the id after each position."""
        length = tokens.shape[1]
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cos[:length], self.sin[:length])
        head = self.embedding.weight if self.head is None else self.head.weight
        return functional.linear(self.norm(x), head)

    def nats(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """-log p of each target, float32 (B, T)."""
        logits = self(inputs)
        if logits.dtype in (torch.bfloat16, torch.float16):
            logits = logits.float()
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)

    def matrices(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The weights that are decayed: matrices, without the embedding."""
        for name, parameter in self.named_parameters():
            if parameter.ndim >= 2 and not name.startswith("embedding."):
                yield name, parameter

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        """Normal weights; those that write to the residual stream are smaller by sqrt(2 L).

        Its variance so does not grow with depth (Radford et al. 2019, section 2.3).
        """
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                continue
            residual = name.endswith(("attention.out.weight", "ffn.down.weight"))
            std = INIT_STD / math.sqrt(2 * self.shape.layers) if residual else INIT_STD
            generator = torch.Generator().manual_seed(xxhash.xxh3_64_intdigest(name.encode(), seed=seed) >> 1)
            parameter.normal_(0.0, std, generator=generator)
