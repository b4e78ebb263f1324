"""A decoder-only transformer: RMSNorm, rotary positions, grouped-query attention, feed-forward, tied or own output head.

Shapes: B sequences, T positions, D model width, V ids (padded).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.pretrain.data.batch import IGNORED, Batch
from pipeline.pretrain.model.attention import Attention
from pipeline.pretrain.model.cross_entropy import chunked_nats, sums
from pipeline.pretrain.model.experts import Experts
from pipeline.pretrain.model.feed_forward import SwiGLU, make_feed_forward
from pipeline.pretrain.model.norm import RMSNorm
from pipeline.pretrain.model.rope import rotation
from pipeline.pretrain.model.sight import Seen, Sight, make_sight
from pipeline.pretrain.model.vocabulary import padded_vocabulary

if TYPE_CHECKING:
    from pipeline.pretrain.config import Backend, Shape
    from pipeline.pretrain.model.cache import Cache

INIT_STD = 0.02


class Losses(NamedTuple):
    """Sums over the targets of a batch, 0-dim. The caller divides them by the targets of all ranks."""

    trained: Tensor
    """The sum of the other two, and the one that has a gradient."""
    nats: Tensor
    """-log p of the targets."""
    extra: Tensor
    """z-loss and load balance, weighted."""


class Block(nn.Module):
    """One layer, norms before each half."""

    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(shape.dim, shape.norm_eps)
        self.attention = Attention(shape, layer)
        self.ffn_norm = RMSNorm(shape.dim, shape.norm_eps)
        self.ffn = make_feed_forward(shape)

    def forward(self, x: Tensor, sight: Sight) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        x = x + self.attention(self.attention_norm(x), sight)
        return x + self.ffn(self.ffn_norm(x))


class Transformer(nn.Module):
    """Token ids to logits.

    max_length: most positions of a sequence. seed: initial weights are a function of (seed, parameter name), so they
    depend neither on the number of ranks nor on the order of construction; None: weights are to be loaded. attention:
    which kernel is preferred, see ``make_sight``.
    """

    def __init__(
        self, shape: Shape, vocab_size: int, *, max_length: int, seed: int | None = 0, attention: Backend = "auto"
    ) -> None:
        super().__init__()
        self.shape, self.max_length, self.backend = shape, max_length, attention
        rows = padded_vocabulary(vocab_size)
        self.embedding = nn.Embedding(rows, shape.dim)
        self.blocks = nn.ModuleList(Block(shape, layer) for layer in range(shape.layers))
        self.norm = RMSNorm(shape.dim, shape.norm_eps)
        self.head = None if shape.tied else nn.Linear(shape.dim, rows, bias=False)
        cos, sin = rotation(max_length, shape.head_dim, shape.rope_theta, shape.rope_scaling)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        if seed is not None:
            self._initialise(seed)

    def forward(
        self,
        tokens: Tensor,
        *,
        documents: Tensor | None = None,
        prefix: Tensor | None = None,
        causal: bool = True,
        cache: Cache | None = None,
        last: bool = False,
    ) -> Tensor:
        """Logits (B, T, V) of the id after each position.

        tokens: int64 (B, T); with a cache only the new ones. documents, prefix, causal: who sees whom, see ``Seen``.
        last: logits of the last position only, (B, 1, V).

        Raises:
            ValueError: more positions than ``max_length``.
        """
        x = self._hidden(tokens, Seen(documents, prefix, causal), cache)
        return functional.linear(x[:, -1:] if last else x, self._head())

    def nats(self, inputs: Tensor, targets: Tensor, **seen: Any) -> Tensor:
        """-log p of each target, at least float32 (B, T); 0 where the target is ``IGNORED``. seen: see ``Seen``."""
        x = self._hidden(inputs, Seen(**seen))
        return chunked_nats(x.flatten(0, 1), self._head(), targets.flatten()).view(targets.shape)

    def loss(self, batch: Batch, *, z_loss: float = 0.0) -> Losses:
        """Sums over the targets of a batch. z_loss: weight of (log of the softmax's sum)**2."""
        x = self._hidden(batch.inputs, Seen(batch.documents, batch.prefix, batch.causal, batch.cuts))
        found = sums(x.flatten(0, 1), self._head(), batch.targets.flatten(), z_loss=z_loss)
        trained, extra = found.trained, z_loss * found.squares
        if self.shape.experts is not None:
            balance = self.shape.experts.balance * self._imbalance(batch.targets)
            trained, extra = trained + balance, extra + balance.detach()
        return Losses(trained, found.nats, extra)

    def _hidden(self, tokens: Tensor, seen: Seen, cache: Cache | None = None) -> Tensor:
        """What the head is applied to, (B, T, D)."""
        sight = make_sight(self, tokens, seen, cache)
        x = self.embedding(tokens)
        if torch.is_autocast_enabled(x.device.type):  # the residual stream too: half the memory traffic of the norms
            x = x.to(torch.get_autocast_dtype(x.device.type))
        for block in self.blocks:
            x = block(x, sight)
        if cache is not None:
            cache.length += tokens.shape[1]
        return self.norm(x)

    def _head(self) -> Tensor:
        return self.embedding.weight if self.head is None else self.head.weight

    def matrices(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The weights that are decayed: matrices, without the embedding."""
        for name, parameter in self.named_parameters():
            if parameter.ndim >= 2 and not name.startswith("embedding."):
                yield name, parameter

    def fused_rows(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The weights in which several matrices lie one below the other, and the rows of each."""
        for name, module in self.named_modules():
            if isinstance(module, Attention | SwiGLU | Experts):
                yield from ((f"{name}.{weight}", rows) for weight, rows in module.fused_rows.items())

    def _imbalance(self, targets: Tensor) -> Tensor:
        """Of all layers, summed over the targets of their rows."""
        counted = (targets != IGNORED).sum(dim=1)
        found = [module.imbalance for module in self.modules() if isinstance(module, Experts)]
        return torch.stack([(counted * rows).sum() for rows in found if rows is not None]).sum()

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        """Normal weights; those that write to the residual stream are smaller by sqrt(2 L).

        Its variance so does not grow with depth (Radford et al. 2019, section 2.3).
        """
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                continue
            residual = name.endswith(("attention.out.weight", "ffn.down.weight", "ffn.down"))
            std = INIT_STD / math.sqrt(2 * self.shape.layers) if residual else INIT_STD
            digest = hashlib.blake2b(name.encode(), digest_size=8, key=str(seed).encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
            parameter.normal_(0.0, std, generator=generator)
