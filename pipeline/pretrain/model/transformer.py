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
from pipeline.pretrain.model.experts import Experts
from pipeline.pretrain.model.feed_forward import make_feed_forward
from pipeline.pretrain.model.norm import RMSNorm
from pipeline.pretrain.model.rope import rotation
from pipeline.pretrain.model.sight import Seen, Sight, make_sight
from pipeline.pretrain.model.vocabulary import padded_vocabulary

if TYPE_CHECKING:
    from pipeline.pretrain.config import Backend, Shape
    from pipeline.pretrain.model.cache import Cache

INIT_STD = 0.02


class Losses(NamedTuple):
    """Sums over the targets of a batch, 0-dim. The caller divides both by the targets of all ranks."""

    nats: Tensor
    """-log p of the targets."""
    extra: Tensor
    """z-loss and load balance, weighted; what is trained is the sum of the two."""


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
        sight = make_sight(self, tokens, Seen(documents, prefix, causal), cache)
        x = self.embedding(tokens)
        if torch.is_autocast_enabled(x.device.type):  # the residual stream too: half the memory traffic of the norms
            x = x.to(torch.get_autocast_dtype(x.device.type))
        for block in self.blocks:
            x = block(x, sight)
        if cache is not None:
            cache.length += tokens.shape[1]
        head = self.embedding.weight if self.head is None else self.head.weight
        return functional.linear(self.norm(x[:, -1:] if last else x), head)

    def nats(self, inputs: Tensor, targets: Tensor, **seen: Any) -> Tensor:
        """-log p of each target, at least float32 (B, T); 0 where the target is ``IGNORED``."""
        return token_nats(self(inputs, **seen), targets)

    def loss(self, batch: Batch, *, z_loss: float = 0.0) -> Losses:
        """Sums over the targets of a batch. z_loss: weight of (log of the softmax's sum)**2."""
        logits = self(batch.inputs, documents=batch.documents, prefix=batch.prefix, causal=batch.causal)
        nats = token_nats(logits, batch.targets).sum()
        extra = torch.zeros_like(nats)
        if z_loss:
            extra = extra + z_loss * squared_normalizers(logits, batch.targets).sum()
        if self.shape.experts is not None:
            extra = extra + self.shape.experts.balance * self._imbalance(batch.targets)
        return Losses(nats, extra)

    def matrices(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The weights that are decayed: matrices, without the embedding."""
        for name, parameter in self.named_parameters():
            if parameter.ndim >= 2 and not name.startswith("embedding."):
                yield name, parameter

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


def token_nats(logits: Tensor, targets: Tensor) -> Tensor:
    """-log p (B, T) of each target; half-precision logits are widened first."""
    return functional.cross_entropy(
        _wide(logits).flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none"
    ).view(targets.shape)


def squared_normalizers(logits: Tensor, targets: Tensor) -> Tensor:
    """(log sum exp of the logits)**2 (B, T), 0 where the target is ``IGNORED``.

    Keeps logits near a scale that bfloat16 resolves. Source: Chowdhery et al. 2022 (PaLM), arXiv:2204.02311, section 5.
    """
    return _wide(logits).logsumexp(dim=-1).square() * (targets != IGNORED)


def _wide(logits: Tensor) -> Tensor:
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
