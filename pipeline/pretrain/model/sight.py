"""Which positions see which, made once for all layers. Plain causal attention needs no mask; what else does is here.

Shapes: B rows, T queries, S keys, E head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline.pretrain.model.varlen import can_attend_by_document

if TYPE_CHECKING:
    from pipeline.pretrain.config import Backend
    from pipeline.pretrain.data.cuts import Cuts
    from pipeline.pretrain.model.cache import Cache
    from pipeline.pretrain.model.transformer import Transformer

_HOPPER = 9
"""Compute capability from which cuDNN's kernel is the fastest."""


@dataclass(frozen=True)
class Seen:
    """Who sees whom, beyond the rule that a position sees itself and those before it.

    documents: int (B, T), number of the document of each position: only its own is seen. prefix: int (B,), positions of a
    row's start that see each other both ways. causal: False where all see each other. cuts: of the documents, without which
    a dense mask stands for them.
    """

    documents: Tensor | None = None
    prefix: Tensor | None = None
    causal: bool = True
    cuts: Cuts | None = None


@dataclass(frozen=True)
class Sight:
    """What all layers of one forward pass share."""

    cos: Tensor
    """Of the queries' angles: (T, E), or (B, 1, T, E) where rows are at different positions."""
    sin: Tensor
    causal: bool = True
    """A position sees itself and those before it; read where there is no mask."""
    mask: Tensor | None = None
    """bool (B or 1, 1, T, S), True where a query sees a key."""
    cuts: Cuts | None = None
    """Instead of a mask where a kernel takes documents as they are."""
    backend: Backend = "sdpa"
    cache: Cache | None = None


def make_sight(model: Transformer, tokens: Tensor, seen: Seen, cache: Cache | None) -> Sight:
    """What the layers need to know for those tokens.

    Raises:
        ValueError: more positions than the model has, a mask that cannot go with a cache, or a kernel that wants a GPU.
    """
    length, device = tokens.shape[1], tokens.device
    backend = _backend(model.backend, device)
    if cache is not None:
        return _behind(cache, model, length, seen, backend)
    _check_length(length, model.max_length)
    cos, sin = model.cos[:length], model.sin[:length]
    if seen.cuts is not None and seen.prefix is None and _by_document(model, device):
        return Sight(cos, sin, seen.causal, cuts=seen.cuts)
    return Sight(cos, sin, seen.causal, dense_mask(seen, length, device), backend=backend)


def dense_mask(seen: Seen, length: int, device: torch.device) -> Tensor | None:
    """Where a query sees a key, bool (B or 1, 1, T, T); None where ``causal`` alone says it all.

    The prefix: Raffel et al. 2019, arXiv:1910.10683, section 3.2.1.
    """
    if seen.documents is None and seen.prefix is None:
        return None
    key = torch.arange(length, device=device)
    mask = (key <= key[:, None])[None, None]
    if not seen.causal:
        mask = torch.ones_like(mask)
    if seen.prefix is not None:
        mask = mask | (key < seen.prefix[:, None, None, None])
    if seen.documents is not None:
        mask = mask & (seen.documents[:, None, :, None] == seen.documents[:, None, None, :])
    return mask


def cached_mask(cache: Cache, prefix: Tensor | None, new: int) -> Tensor | None:
    """For T new tokens behind a cache, bool (B or 1, 1, T, S); None where all that is cached is seen, or plain causal.

    prefix: int (B,), counted from each row's first token. A slot of the padding sees itself, so that its softmax is a
    number; nobody else sees it.
    """
    starts = cache.starts
    if starts is None and prefix is None and (new == 1 or cache.length == 0):
        return None
    key = torch.arange(cache.length + new, device=cache.device)
    query = key[cache.length :, None]
    mask = (key <= query)[None, None]
    first = 0 if starts is None else starts[:, None, None, None]
    if prefix is not None:
        mask = mask | (key < first + prefix[:, None, None, None])
    if starts is not None:
        mask = (mask & (key >= first)) | (key == query)
    return mask


def _behind(cache: Cache, model: Transformer, new: int, seen: Seen, backend: Backend) -> Sight:
    """For new tokens behind a cache."""
    if seen.documents is not None or not seen.causal:
        msg = "a cache goes with causal attention over one document a row: give neither documents nor causal=False"
        raise ValueError(msg)
    end = cache.length + new
    _check_length(end - cache.least_start, model.max_length)
    if end > cache.max_length:
        msg = f"{new} tokens behind {cache.length} do not fit a cache of {cache.max_length} slots: make it longer"
        raise ValueError(msg)
    mask = cached_mask(cache, seen.prefix, new)
    cos, sin = model.cos[cache.length : end], model.sin[cache.length : end]
    if cache.starts is not None:
        slots = torch.arange(cache.length, end, device=cache.device)
        positions = (slots - cache.starts[:, None]).clamp(min=0)
        cos, sin = model.cos[positions][:, None], model.sin[positions][:, None]
    # Without a mask: one new token sees all that is cached, several the triangle of themselves.
    return Sight(cos, sin, new > 1, mask, backend=backend, cache=cache)


def _check_length(positions: int, max_length: int) -> None:
    if positions > max_length:
        msg = (
            f"{positions} positions, but the model has {max_length}: give shorter sequences, or a model with a longer "
            "sequence_length or with rope_scaling"
        )
        raise ValueError(msg)


def _backend(wished: Backend, device: torch.device) -> Backend:
    """The kernel for attention without documents."""
    if device.type != "cuda":
        if wished in ("cudnn", "flash", "varlen"):
            msg = f"attention {wished!r} needs a CUDA device, the tokens are on {device.type}: set it to auto or sdpa"
            raise ValueError(msg)
        return "sdpa"
    if wished in ("auto", "varlen"):
        return "cudnn" if torch.cuda.get_device_capability(device)[0] >= _HOPPER else "sdpa"
    return wished


def _by_document(model: Transformer, device: torch.device) -> bool:
    """Whether documents go to the kernel that takes them as they are: a GPU and half precision are needed."""
    if device.type != "cuda" or model.backend not in ("auto", "flash", "varlen") or not can_attend_by_document():
        return False
    halves = (torch.bfloat16, torch.float16)
    return torch.is_autocast_enabled("cuda") or model.embedding.weight.dtype in halves
