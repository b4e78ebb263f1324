"""Loss over a vocabulary without its logits: by chunks of positions, each forgotten before the next.

Shapes: N positions, D model width, V ids (padded).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.pretrain.data.batch import IGNORED
from pipeline.pretrain.model.vocabulary import chunk_rows

_HALVES = (torch.bfloat16, torch.float16)


class Sums(NamedTuple):
    """Over the targets, 0-dim, at least float32."""

    trained: Tensor
    """nats + z_loss * squares: this one has the gradient."""
    nats: Tensor
    """-log p."""
    squares: Tensor
    """Squared logs of the softmax's sums (Chowdhery et al. 2022, PaLM, arXiv:2204.02311, section 5): small, they keep logits
    near a scale that bfloat16 resolves."""


def sums(hidden: Tensor, head: Tensor, targets: Tensor, *, z_loss: float) -> Sums:
    """What all logits, ``hidden @ head.T``, come to.

    hidden: (N, D). head: (V, D). targets: int64 (N,), ``IGNORED`` where nothing is to be predicted. Products are taken in
    the autocast's type, softmax and sums in float32 at least. The gradients of a chunk are made with its loss, so no product
    is taken twice; between the passes N D and V D numbers are kept instead of N V.
    """
    learn = torch.is_grad_enabled() and (hidden.requires_grad or head.requires_grad)
    if torch.is_autocast_enabled(hidden.device.type):
        hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
    return Sums(*_Sums.apply(hidden, head, targets, z_loss, learn))


def chunked_nats(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """-log p (N,) of each target; 0 where it is ``IGNORED``. Arguments as in ``sums``."""
    chunks = [
        token_nats(functional.linear(hidden[part], head), targets[part]) for part in _chunks(len(hidden), head, hidden)
    ]
    return torch.cat(chunks)


def token_nats(logits: Tensor, targets: Tensor) -> Tensor:
    """-log p (...) of each target, logits (..., V); half-precision logits are widened first."""
    return functional.cross_entropy(
        _wide(logits).flatten(0, -2), targets.flatten(), ignore_index=IGNORED, reduction="none"
    ).view(targets.shape)


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, z_loss: float, learn: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        product = hidden.dtype
        weight, kept = head.to(product), torch.float32 if product in _HALVES else product
        nats, squares = (torch.zeros((), dtype=kept, device=hidden.device) for _ in range(2))
        to_hidden = torch.empty_like(hidden) if learn else None
        to_head = torch.zeros(head.shape, dtype=kept, device=head.device) if learn else None
        for part in _chunks(len(hidden), head, hidden):
            rows, wanted = hidden[part], targets[part]
            logits = (rows @ weight.t()).to(kept)
            known, normalizers = wanted != IGNORED, logits.logsumexp(dim=-1)
            at = wanted.clamp(min=0)[:, None]
            nats = nats + torch.where(known, normalizers - logits.gather(1, at)[:, 0], 0.0).sum()
            squares = squares + torch.where(known, normalizers.square(), 0.0).sum()
            if to_hidden is None or to_head is None:
                continue
            # In the logits' place: p - 1 at the target, p elsewhere; of the squared normalizer 2 normalizer p.
            slopes = logits.sub_(normalizers[:, None]).exp_().mul_((known * (1 + 2 * z_loss * normalizers))[:, None])
            slopes = slopes.scatter_add_(1, at, -known[:, None].to(kept)).to(product)
            to_hidden[part] = slopes @ weight
            _add_product(to_head, slopes.t(), rows)
        if to_hidden is not None and to_head is not None:
            ctx.save_for_backward(to_hidden, to_head)
            ctx.head_dtype = head.dtype
        ctx.mark_non_differentiable(nats, squares)
        return nats + z_loss * squares, nats, squares

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        slope, (to_hidden, to_head) = grad_outputs[0], ctx.saved_tensors
        return (slope * to_hidden).to(to_hidden.dtype), (slope * to_head).to(ctx.head_dtype), None, None, None


def _add_product(total: Tensor, one: Tensor, other: Tensor) -> None:
    """Add a product; where it is of another type, rounded to that first."""
    if total.dtype == one.dtype:
        total.addmm_(one, other)
    else:
        total += one @ other


def _chunks(count: int, head: Tensor, hidden: Tensor) -> Iterator[slice]:
    step = chunk_rows(len(head), hidden.device.type)
    for first in range(0, count, step):
        yield slice(first, first + step)


def _wide(logits: Tensor) -> Tensor:
    return logits.float() if logits.dtype in _HALVES else logits
