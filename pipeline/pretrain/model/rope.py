"""Rotary positions, also for contexts longer than a model was trained for.

Shapes: T positions, E head width.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from pipeline.pretrain.config import RopeScaling

YARN_FAST, YARN_SLOW = 32.0, 1.0
"""Rotations over the original context above which a pair keeps its angle, and below which it is interpolated in full
(Peng et al. 2023, arXiv:2309.00071, section 3.2, alpha = 1 and beta = 32)."""


def rotation(length: int, head_dim: int, theta: float, scaling: RopeScaling | None = None) -> tuple[Tensor, Tensor]:
    """Cosines and sines (T, E) of rotary positions; the two halves of a head form the pairs, as in Llama's HF layout.

    Source: Su et al. 2021, arXiv:2104.09864. Angles are made in float64, since float32 is off by 1e-4 at position
    10,000.
    """
    frequency = frequencies(head_dim, theta, scaling)
    angle = torch.outer(torch.arange(length, dtype=torch.float64), frequency).repeat(1, 2)
    gain = attention_gain(scaling)
    return (angle.cos() * gain).float(), (angle.sin() * gain).float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn every pair (i, i + E/2) of a head by the angle of its position. x: (..., T, E); cos and sin: (T, E)."""
    low, high = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-high, low), dim=-1) * sin


def frequencies(head_dim: int, theta: float, scaling: RopeScaling | None = None) -> Tensor:
    """Angle per position of each pair, float64 (E/2,).

    linear: all angles divided by the factor, so positions lie closer (Chen et al. 2023, arXiv:2306.15595, eq. 4). ntk:
    a larger base, by which the slowest pair is interpolated in full and the fastest hardly (arXiv:2309.00071, section
    3.1). yarn: pairs that turn often over the original context are left alone, slow ones divided, with a ramp between
    (section 3.2).
    """
    if scaling is not None and scaling.method == "ntk":
        theta = ntk_theta(head_dim, theta, scaling.factor)
    plain = theta ** -(torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    if scaling is None or scaling.method == "ntk":
        return plain
    if scaling.method == "linear":
        return plain / scaling.factor
    low, high = (_pair_turning(turns, head_dim, theta, scaling.original_length) for turns in (YARN_FAST, YARN_SLOW))
    first, last = max(math.floor(low), 0), min(math.ceil(high), head_dim - 1)
    ramp = (torch.arange(head_dim // 2, dtype=torch.float64) - first) / max(last - first, 0.001)
    divided = ramp.clamp(0, 1)
    return plain * (1 - divided) + plain / scaling.factor * divided


def ntk_theta(head_dim: int, theta: float, factor: float) -> float:
    """The base by which the slowest of the pairs turns ``factor`` times more slowly."""
    return theta * factor ** (head_dim / (head_dim - 2))


def attention_gain(scaling: RopeScaling | None) -> float:
    """Factor of query and of key, so that scores keep their spread over more positions (YaRN, section 3.3, eq. 22)."""
    return 0.1 * math.log(scaling.factor) + 1.0 if scaling is not None and scaling.method == "yarn" else 1.0


def _pair_turning(turns: float, head_dim: int, theta: float, length: int) -> float:
    """Number of the pair, as a fraction, that turns so often over a length."""
    return head_dim * math.log(length / (turns * 2 * math.pi)) / (2 * math.log(theta))
