"""Contrastive decoding: what a model says, less what a smaller one says anyway (Li et al. 2022, arXiv:2210.15097)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.generation.scorer import Scorer

_IMPLAUSIBLE = 1e4
"""Taken from the log p of tokens that are ruled out: they come only where nothing else is left, the likeliest first."""


def contrast(larger: Tensor, smaller: Tensor, *, alpha: float, temperature: float) -> Tensor:
    """The larger model's log p less the smaller one's, where the token is plausible to the larger one.

    larger, smaller: logits (B, V). alpha: plausible is what has at least this share of its likeliest token's probability.
    temperature: that the smaller one's logits are divided by. Returns float64 (B, V); section 3 of the paper.
    """
    ours = larger.double().log_softmax(1)
    theirs = (smaller.double() / temperature).log_softmax(1)
    plausible = ours >= ours.amax(1, keepdim=True) + math.log(alpha)
    return torch.where(plausible, ours - theirs, ours - _IMPLAUSIBLE)


class Contrastive:
    """Two scorers as one. Where tokens are drawn, it is by the softmax of the scores over the plausible ones."""

    adds_up = True

    def __init__(self, larger: Scorer, smaller: Scorer, *, alpha: float = 0.1, temperature: float = 1.0) -> None:
        """Defaults are the paper's for a pair of OPT models.

        Raises:
            UserError: the two number other ids, or alpha or temperature is out of range.
        """
        if larger.num_ids != smaller.num_ids:
            msg = (
                f"the smaller model has {smaller.num_ids:,} ids, the larger {larger.num_ids:,}; contrastive decoding needs "
                "two models of one tokenizer"
            )
            raise UserError(msg)
        if not 0 < alpha <= 1 or not temperature > 0:
            msg = f"contrastive decoding needs 0 < alpha <= 1 and a temperature above 0, not {alpha} and {temperature}"
            raise UserError(msg)
        self._larger, self._smaller, self._alpha, self._temperature = larger, smaller, alpha, temperature
        self.num_ids = larger.num_ids
        self.max_length = min(larger.max_length, smaller.max_length)

    def begin(self, prompts: Sequence[Sequence[int]], room: int) -> Tensor:
        """See ``Scorer``."""
        return self._both(self._larger.begin(prompts, room), self._smaller.begin(prompts, room))

    def step(self, tokens: Tensor) -> Tensor:
        """See ``Scorer``."""
        return self._both(self._larger.step(tokens), self._smaller.step(tokens))

    def reorder(self, rows: Tensor) -> None:
        """See ``Scorer``."""
        self._larger.reorder(rows)
        self._smaller.reorder(rows)

    def _both(self, larger: Tensor, smaller: Tensor) -> Tensor:
        return contrast(larger, smaller, alpha=self._alpha, temperature=self._temperature)
