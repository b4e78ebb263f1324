"""Attention with grouped queries and rotary positions.

Shapes: B rows, T positions, S keys, D model width, H heads, K key and value heads, E head width.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from pipeline.pretrain.model.norm import RMSNorm
from pipeline.pretrain.model.rope import rotate
from pipeline.pretrain.model.varlen import attend_by_document

if TYPE_CHECKING:
    from pipeline.pretrain.config import Backend, Shape
    from pipeline.pretrain.model.sight import Sight


class Attention(nn.Module):
    """Several query heads share a key and value head (Ainslie et al. 2023, arXiv:2305.13245)."""

    def __init__(self, shape: Shape, layer: int) -> None:
        """layer: its number, under which a cache keeps its keys and values."""
        super().__init__()
        self.layer = layer
        self.heads, self.kv_heads, self.head_dim = shape.heads, shape.kv_heads, shape.head_dim
        self.qkv = nn.Linear(shape.dim, (shape.heads + 2 * shape.kv_heads) * shape.head_dim, bias=False)
        # Of the queries', keys' and values' projections, one below the other.
        self.fused_rows = {
            "qkv.weight": tuple(n * shape.head_dim for n in (shape.heads, shape.kv_heads, shape.kv_heads))
        }
        self.out = nn.Linear(shape.heads * shape.head_dim, shape.dim, bias=False)
        self.q_norm = RMSNorm(shape.head_dim, shape.norm_eps) if shape.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(shape.head_dim, shape.norm_eps) if shape.qk_norm else nn.Identity()

    def forward(self, x: Tensor, sight: Sight) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        batch, length, _ = x.shape
        heads = self.qkv(x).view(batch, length, -1, self.head_dim).transpose(1, 2)
        query, key, value = heads.split((self.heads, self.kv_heads, self.kv_heads), dim=1)
        # Angles are float32; kernels want all three in the type of the projection.
        query = rotate(self.q_norm(query), sight.cos, sight.sin).type_as(value)
        key = rotate(self.k_norm(key), sight.cos, sight.sin).type_as(value)
        if sight.cache is not None:
            key, value = sight.cache.extend(self.layer, key, value)
        mixed = attend(query, key, value, sight)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, -1))


def attend(query: Tensor, key: Tensor, value: Tensor, sight: Sight) -> Tensor:
    """Values weighted by softmax(query . key / sqrt(E)) over the keys that are seen.

    query: (B, H, T, E); key, value: (B, K, S, E). Returns (B, H, T, E).
    """
    if sight.cuts is not None:
        return attend_by_document(query, key, value, sight.cuts, causal=sight.causal)
    with _kernels(sight.backend):
        return functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=sight.mask,
            is_causal=sight.causal and sight.mask is None,
            enable_gqa=query.shape[1] != key.shape[1],
        )


def _kernels(backend: Backend) -> contextlib.AbstractContextManager[object]:
    """The order in which kernels are tried; the later ones take what the first cannot, as a mask or float32.

    Set inside of the layer, so that activations that are computed again in the backward pass come from the same kernel.
    """
    if backend == "cudnn":
        # On Hopper 1.7 to 2.3 times as fast as FlashAttention 2, which torch prefers (pytorch issue 142132).
        order = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION]
    elif backend == "flash":
        order = [SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION]
    else:
        return contextlib.nullcontext()
    return sdpa_kernel([*order, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH], set_priority=True)
