"""Activations that are not kept but computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

if TYPE_CHECKING:
    from pipeline.pretrain.config import Recompute

_KEPT = frozenset(
    {
        "aten.mm.default",
        "aten.addmm.default",
        "aten.bmm.default",
        "aten._grouped_mm.default",
        "aten._scaled_dot_product_flash_attention.default",
        "aten._scaled_dot_product_flash_attention_for_cpu.default",
        "aten._scaled_dot_product_cudnn_attention.default",
        "aten._scaled_dot_product_efficient_attention.default",
        "torch_attn._varlen_attn.default",
    }
)
"""What ``selective`` keeps: matrix products and attention, nearly all of the arithmetic but half of the memory."""


def recompute_blocks(blocks: Iterable[nn.Module], how: Recompute) -> None:
    """Let every block keep its input alone (full), or the outputs of its products too (selective).

    The name of no parameter changes: the blocks' ``forward`` is replaced, they are not wrapped. Source: Chen et al.
    2016, arXiv:1604.06174; selective as in Korthikanti et al. 2022, arXiv:2205.05198, section 5, by operation.
    """
    if how == "none":
        return
    options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}  # no dropout, so no random numbers
    if how == "selective":
        options["context_fn"] = partial(create_selective_checkpoint_contexts, _policy)
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, **options)


def _policy(_context: object, operation: Callable[..., object], *_: object, **__: object) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if str(operation) in _KEPT else CheckpointPolicy.PREFER_RECOMPUTE
