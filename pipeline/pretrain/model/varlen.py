"""Document masks on a GPU without a mask: FlashAttention over rows that are laid end to end and cut at documents."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # torch below 2.10
    varlen_attn = None


def can_attend_by_document() -> bool:
    """Whether this torch has the kernel."""
    return varlen_attn is not None


def attend_by_document(query: Tensor, key: Tensor, value: Tensor, ends: Tensor, *, causal: bool) -> Tensor:
    """Attention inside each document: what the dense mask of ``documents`` gives, in time of their lengths squared.

    query: (B, H, T, E); key, value: (B, K, T, E), half precision, on a GPU. ends: see ``sight.document_ends``. Returns
    (B, H, T, E).

    Raises:
        RuntimeError: this torch does not have the kernel.
    """
    if varlen_attn is None:
        msg = "document masks by varlen need torch 2.10 or newer: set attention to sdpa, which uses a dense mask"
        raise RuntimeError(msg)
    batch, _, length, _ = query.shape
    query, key, value = (one.transpose(1, 2).flatten(0, 1) for one in (query, key, value))
    # T bounds every document's length; the true maximum would have to be waited for.
    options = _options(causal=causal, grouped=query.shape[1] != key.shape[1])
    mixed = varlen_attn(query, key, value, ends, ends, length, length, **options)
    assert isinstance(mixed, Tensor)  # a tuple only where the normalizers are asked for
    return mixed.unflatten(0, (batch, length)).transpose(1, 2)


_PARAMETERS = frozenset(() if varlen_attn is None else inspect.signature(varlen_attn).parameters)


def _options(*, causal: bool, grouped: bool) -> dict[str, Any]:
    """The same wish in the words of the torch at hand: 2.10 says is_causal; grouped heads have a flag since 2.12."""
    options: dict[str, Any] = {"enable_gqa": grouped} if "enable_gqa" in _PARAMETERS else {}
    if causal:
        options |= {"is_causal": True} if "is_causal" in _PARAMETERS else {"window_size": (-1, 0)}
    return options
