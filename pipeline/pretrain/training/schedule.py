"""The learning rate: a pure function of the step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.pretrain.config import TrainConfig

FINAL_FRACTION = 0.1
"""Of the peak, where the cosine ends (Hoffmann et al. 2022, arXiv:2203.15556, appendix B)."""


def learning_rate(config: TrainConfig, step: int) -> float:
    """Rate of the update that ends step ``step``, counted from 1: linear warm-up, then the schedule.

    wsd stays at the peak and falls linearly to zero in the last ``decay_fraction`` of the steps (Haegele et al. 2024,
    arXiv:2405.18392, section 4).
    """
    peak, warmup, steps = config.learning_rate, config.warmup_steps, config.steps
    if step <= warmup:
        return peak * step / (warmup + 1)
    match config.schedule:
        case "cosine":
            progress = (step - warmup) / max(1, steps - warmup)
            return peak * (FINAL_FRACTION + (1 - FINAL_FRACTION) * (1 + math.cos(math.pi * progress)) / 2)
        case "wsd":
            decay = max(1, round(config.decay_fraction * steps))
            return peak * min(1.0, (steps - step + 1) / (decay + 1))
