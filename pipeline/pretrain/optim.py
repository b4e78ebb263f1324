"""AdamW and its learning rate, which is a pure function of the step."""

from __future__ import annotations

import math

import torch

from pipeline.pretrain.config import TrainConfig
from pipeline.pretrain.model import Transformer

FINAL_FRACTION = 0.1
"""Of the peak, where the cosine ends (Hoffmann et al. 2022, arXiv:2203.15556, appendix B)."""
DECAY_FRACTION = 0.2
"""Of the steps, in which ``wsd`` falls linearly to zero (Haegele et al. 2024, arXiv:2405.18392, section 4)."""


def learning_rate(config: TrainConfig, step: int) -> float:
    """Rate of the update that ends step ``step``, counted from 1: linear warm-up, then the schedule."""
    peak, warmup, steps = config.learning_rate, config.warmup_steps, config.steps
    if step <= warmup:
        return peak * step / (warmup + 1)
    match config.schedule:
        case "cosine":
            progress = (step - warmup) / max(1, steps - warmup)
            return peak * (FINAL_FRACTION + (1 - FINAL_FRACTION) * (1 + math.cos(math.pi * progress)) / 2)
        case "wsd":
            decay = max(1, round(DECAY_FRACTION * steps))
            return peak * min(1.0, (steps - step + 1) / (decay + 1))


def make_optimizer(model: Transformer, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with decay on matrices only: gains are few, and a decayed embedding punishes rare ids for being rare."""
    decayed = dict(model.matrices())
    plain = [parameter for name, parameter in model.named_parameters() if name not in decayed]
    groups = [
        {"params": list(decayed.values()), "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.95), fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The rate of the next update."""
    for group in optimizer.param_groups:
        group["lr"] = rate


class Gradients:
    """All gradients in one buffer, so that adding them over ranks and measuring them is one call each."""

    def __init__(self, model: torch.nn.Module) -> None:
        parameters = list(model.parameters())
        # One more place holds the loss, which is summed over ranks in the same message.
        self._buffer = torch.zeros(
            sum(p.numel() for p in parameters) + 1, dtype=parameters[0].dtype, device=parameters[0].device
        )
        position = 0
        for parameter in parameters:
            parameter.grad = self._buffer[position : position + parameter.numel()].view_as(parameter)
            position += parameter.numel()

    def clear(self) -> None:
        """Set everything to zero."""
        self._buffer.zero_()

    @property
    def summed(self) -> torch.Tensor:
        """Gradients and loss, to be added up over ranks."""
        return self._buffer

    @property
    def loss(self) -> torch.Tensor:
        """Where the loss is gathered, shape (1,)."""
        return self._buffer[-1:]

    def clip(self, longest: float) -> float:
        """Scale the gradient down to that length if it is longer; returns the length before."""
        gradient = self._buffer[:-1]
        length = float(gradient.norm())
        if length > longest:
            gradient.mul_(longest / length)
        return length
