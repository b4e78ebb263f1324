"""A feed-forward of experts, of which a router picks some for each token.

Shapes: B rows, T positions, N experts, K experts a token, D model width, F width of an expert.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from pipeline.pretrain.config import Experts as Sizes
    from pipeline.pretrain.config import Shape


class Experts(nn.Module):
    """The sum of the K most probable experts, weighted by their probabilities.

    These are made to add up to 1 (Jiang et al. 2024, Mixtral, arXiv:2401.04088, section 2.1), except for K = 1, where the
    router would learn nothing from a weight of 1 (Fedus et al. 2021, arXiv:2101.03961, eq. 2). No token is dropped,
    however full an expert is. The loop over experts waits for the device at each: right first, fast later.
    """

    def __init__(self, shape: Shape, sizes: Sizes) -> None:
        super().__init__()
        self.count, self.per_token, self.gated = sizes.count, sizes.per_token, shape.feed_forward == "swiglu"
        entering = 2 * sizes.ffn_dim if self.gated else sizes.ffn_dim
        self.router = nn.Linear(shape.dim, sizes.count, bias=False)
        # One tensor for all experts: each then has a gradient, also where no token chose it.
        self.up = nn.Parameter(torch.empty(sizes.count, entering, shape.dim))
        self.fused_rows = {"up": (sizes.ffn_dim, sizes.ffn_dim)} if self.gated else {}
        self.down = nn.Parameter(torch.empty(sizes.count, shape.dim, sizes.ffn_dim))
        self.imbalance: Tensor | None = None
        """(B,), of the last forward pass, see ``imbalance``."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        # In float32 at least: a score that bfloat16 rounds may pick another expert.
        wide = torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            scores = functional.linear(x.to(wide), self.router.weight.to(wide))
        probability = scores.softmax(dim=-1)
        weight, chosen = probability.topk(self.per_token, dim=-1)
        if self.per_token > 1:
            weight = weight / weight.sum(dim=-1, keepdim=True)
        self.imbalance = imbalance(probability, chosen)
        return self._mixed(x.flatten(0, 1), weight.flatten(0, 1), chosen.flatten(0, 1)).view_as(x)

    def _mixed(self, x: Tensor, weight: Tensor, chosen: Tensor) -> Tensor:
        """x: (B T, D); weight, chosen: (B T, K)."""
        total = torch.zeros_like(x)
        for expert in range(self.count):
            token, rank = (chosen == expert).nonzero(as_tuple=True)
            entering = functional.linear(x[token], self.up[expert])
            if self.gated:
                gate, up = entering.chunk(2, dim=-1)
                inner = functional.silu(gate) * up
            else:
                inner = functional.relu(entering).square()
            share = functional.linear(inner, self.down[expert]) * weight[token, rank, None]
            total = total.index_add(0, token, share.to(total.dtype))
        return total


def imbalance(probability: Tensor, chosen: Tensor) -> Tensor:
    """N * sum over experts of (share of choices) * (mean probability), for each row (B,); 1 where all are used alike.

    probability: (B, T, N); chosen: int64 (B, T, K). Source: Fedus et al. 2021, arXiv:2101.03961, eq. 4 to 6, here for
    each row instead of each batch (as DeepSeek-AI 2024, arXiv:2412.19437, eq. 17 to 20), since rows are the same for any
    number of ranks and micro-batches are not.
    """
    count = probability.shape[-1]
    choices = functional.one_hot(chosen, count).to(probability.dtype).mean(dim=(1, 2))
    return count * (choices * probability.mean(dim=1)).sum(dim=-1)
