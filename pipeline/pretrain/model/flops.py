"""Floating-point operations of a training step, parameters, and what a GPU could do at most."""

# The standard library alone at import: the planner reads this without torch, a GPU host without pydantic.

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from pipeline.pretrain.model.vocabulary import padded_vocabulary

if TYPE_CHECKING:
    import torch

    from pipeline.pretrain.config import Shape

_PEAKS = MappingProxyType(
    {
        "V100": 125.0,  # has no bfloat16: float16
        "T4": 65.0,  # likewise
        "A10": 125.0,
        "A10G": 70.0,
        "A30": 165.0,
        "A40": 149.7,
        "A6000": 154.8,
        "A100": 312.0,
        "A800": 312.0,
        "L4": 121.0,
        "L40": 181.0,
        "L40S": 362.0,
        "H20": 148.0,
        "H100": 989.4,
        "H100 PCIE": 756.5,
        "H100 NVL": 835.0,
        "H800": 989.4,
        "H200": 989.4,
        "GH200": 989.4,
        "B100": 1750.0,
        "B200": 2250.0,
        "GB200": 2500.0,
        "RTX 3090": 71.0,
        "RTX 4090": 165.2,
        "RTX 5090": 209.5,
        "MI250X": 383.0,
        "MI300X": 1307.4,
        "MI325X": 1307.4,
    }
)
"""Dense bfloat16 with float32 sums, TFLOP/s, by the makers' data sheets; none of them with sparsity, whose figure is double."""


@dataclass(frozen=True)
class Parameters:
    """How many weights a shape has.

    total: all. embedding: the matrix of ids, and the output head where it is a matrix of its own. matrices: what one token
    is multiplied with: the blocks' matrices, of experts those that a token goes through, and the output head, tied or not.
    """

    total: int
    embedding: int
    matrices: int

    @property
    def without_embedding(self) -> int:
        """All but embedding and head: the N of Kaplan et al. and of the Step Law."""
        return self.total - self.embedding


@dataclass(frozen=True)
class Flops:
    """Operations for one token, forward and backward pass, recomputation not counted.

    matrices: 6 N. attention: 12 L d T, every position against all T; half of it is never needed under a causal mask.
    """

    matrices: int
    attention: int

    @property
    def total(self) -> int:
        """The usual count (Chowdhery et al. 2022, PaLM, arXiv:2204.02311, appendix B): attention as if it were not causal."""
        return self.matrices + self.attention

    @property
    def causal(self) -> int:
        """With the half of the attention that a causal mask leaves: fewer operations, so a lower utilization."""
        return self.matrices + self.attention // 2


def parameters(shape: Shape, vocab_size: int) -> Parameters:
    """Weights of a shape over that many ids. The head multiplies the padded rows of the embedding too: they are counted."""
    rows = padded_vocabulary(vocab_size)
    attention = shape.dim * shape.head_dim * 2 * (shape.heads + shape.kv_heads)
    all_ffn, used_ffn = _feed_forward(shape)
    gains = 2 * shape.dim + (2 * shape.head_dim if shape.qk_norm else 0)
    embedding = rows * shape.dim * (1 if shape.tied else 2)
    return Parameters(
        total=shape.layers * (attention + all_ffn + gains) + shape.dim + embedding,
        embedding=embedding,
        matrices=shape.layers * (attention + used_ffn) + rows * shape.dim,
    )


def _feed_forward(shape: Shape) -> tuple[int, int]:
    """Weights of one layer's feed-forward: all, and those that one token is multiplied with."""
    per_width = shape.dim * (3 if shape.feed_forward == "swiglu" else 2)
    if shape.experts is None:
        return per_width * shape.ffn_dim, per_width * shape.ffn_dim
    router, expert = shape.dim * shape.experts.count, per_width * shape.experts.ffn_dim
    return router + shape.experts.count * expert, router + shape.experts.per_token * expert


def flops_per_token(shape: Shape, vocab_size: int, length: int) -> Flops:
    """Operations of a training step, for each token of sequences of that length."""
    width = shape.heads * shape.head_dim
    return Flops(6 * parameters(shape, vocab_size).matrices, 12 * shape.layers * width * length)


def peak_flops(device_name: str) -> float | None:
    """Operations a second of one GPU by its data sheet, dense bfloat16; None where the name is not in the table.

    device_name: as ``torch.cuda.get_device_name()`` gives it, "NVIDIA H100 80GB HBM3" say.
    """
    words = set(re.split(r"[^A-Z0-9]+", device_name.upper()))
    fitting = [name for name in _PEAKS if words.issuperset(name.split())]
    return 1e12 * _PEAKS[max(fitting, key=len)] if fitting else None


def measured_peak_flops(device: torch.device, *, size: int = 8192, seconds: float = 1.0) -> float:
    """Operations a second of large bfloat16 matrix products on this very device: what it can reach, as it is cooled now.

    size: rows and columns of both factors, drawn at random, since zeros run faster. seconds: about how long it takes.
    """
    import torch

    def synchronize() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    left, right = (torch.randn(size, size, device=device).to(torch.bfloat16) for _ in range(2))
    torch.matmul(left, right)  # the first call chooses a kernel
    synchronize()
    times, began = 0, time.perf_counter()
    while (past := time.perf_counter() - began) < seconds:
        for _ in range(10 if device.type == "cuda" else 1):
            torch.matmul(left, right)
            times += 1
        synchronize()
    return times * 2 * size**3 / past


def utilization(tokens_per_s: float, flops: float, peak: float | None) -> float | None:
    """Model FLOP utilization of one GPU: operations that the model needs, over those the GPU could have done.

    tokens_per_s: of one GPU. flops: for one token, ``Flops.total`` or ``Flops.causal``. peak: ``peak_flops``, or
    ``measured_peak_flops`` as the other base; None gives None.
    """
    return None if peak is None else tokens_per_s * flops / peak
