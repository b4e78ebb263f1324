"""Document masks on a GPU without a mask: FlashAttention over rows that are laid end to end and cut at documents."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from pipeline.pretrain.data.cuts import Cuts


def can_attend_by_document() -> bool:
    """Whether this torch has the kernel."""
    return _kernel() is not None


def attend_by_document(query: Tensor, key: Tensor, value: Tensor, cuts: Cuts, *, causal: bool) -> Tensor:
    """Attention inside each document: what the dense mask of ``documents`` gives, in time of their lengths squared.

    query: (B, H, T, E); key, value: (B, K, T, E), half precision, on a GPU. Returns (B, H, T, E).

    Raises:
        RuntimeError: this torch does not have the kernel.
    """
    kernel = _kernel()
    if kernel is None:
        msg = "document masks by varlen need torch 2.10 or newer: set attention to sdpa, which uses a dense mask"
        raise RuntimeError(msg)
    batch, _, length, _ = query.shape
    query, key, value = (one.transpose(1, 2).flatten(0, 1) for one in (query, key, value))
    options = _options(kernel, causal=causal, grouped=query.shape[1] != key.shape[1])
    mixed = kernel(query, key, value, cuts.ends, cuts.ends, cuts.longest, cuts.longest, **options)
    assert isinstance(mixed, Tensor)  # a tuple only where the normalizers are asked for
    return mixed.unflatten(0, (batch, length)).transpose(1, 2)


def _kernel() -> Callable[..., Any] | None:
    """Looked up when it is wanted: its module imports the compiler, 2 s that most processes need not spend.

    Nothing here is cached: compiled code looks once, and warns of caches.
    """
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:  # torch below 2.10
        return None
    return varlen_attn


def _parameters(kernel: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(kernel).parameters)


def _options(kernel: Callable[..., Any], *, causal: bool, grouped: bool) -> dict[str, Any]:
    """The same wish in the words of the torch at hand: 2.10 says is_causal; grouped heads have a flag since 2.12."""
    known = _parameters(kernel)
    options: dict[str, Any] = {"enable_gqa": grouped} if "enable_gqa" in known else {}
    if causal:
        options |= {"is_causal": True} if "is_causal" in known else {"window_size": (-1, 0)}
    return options
