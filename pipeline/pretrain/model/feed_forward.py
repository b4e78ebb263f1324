"""The feed-forward half of a layer.

Shapes: B rows, T positions, D model width, F feed-forward width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from pipeline.pretrain.model.experts import Experts

if TYPE_CHECKING:
    from pipeline.pretrain.config import Shape


class SwiGLU(nn.Module):
    """Gated by a SiLU. Source: Shazeer 2020, arXiv:2002.05202."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_up = nn.Linear(shape.dim, 2 * shape.ffn_dim, bias=False)
        self.fused_rows = {"gate_up.weight": (shape.ffn_dim, shape.ffn_dim)}
        self.down = nn.Linear(shape.ffn_dim, shape.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(functional.silu(gate) * up)


class ReLU2(nn.Module):
    """Not gated; the square of a ReLU. Source: So et al. 2021 (Primer), arXiv:2109.08668, section 3."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.up = nn.Linear(shape.dim, shape.ffn_dim, bias=False)
        self.down = nn.Linear(shape.ffn_dim, shape.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return self.down(functional.relu(self.up(x)).square())


def make_feed_forward(shape: Shape) -> SwiGLU | ReLU2 | Experts:
    """The one that a shape names."""
    if shape.experts is not None:
        return Experts(shape, shape.experts)
    return ReLU2(shape) if shape.feed_forward == "relu2" else SwiGLU(shape)
