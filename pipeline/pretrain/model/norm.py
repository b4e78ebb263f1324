"""Root-mean-square normalization."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class RMSNorm(nn.Module):
    """Divide by the root mean square, times a gain. Source: Zhang and Sennrich 2019, arXiv:1910.07467."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        # The fused kernel wants one type for both; it sums in float32 all the same.
        return functional.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)
