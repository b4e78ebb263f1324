"""How a text is continued: greedy, by sampling or by beams, and what is held back."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from pipeline.value import Value

_DRAWN = ("top_k", "top_p", "min_p")
"""Options that say which tokens may be drawn."""


class Options(Value):
    """One way to continue a text.

    Greedy without ``temperature``, ``top_k``, ``top_p``, ``min_p``, ``samples`` and ``beams``; any of the first five
    draws tokens instead. The penalties change the logits first, then temperature, top_k, top_p and min_p follow in this
    order.
    """

    max_new_tokens: int = Field(default=128, gt=0)
    """A continuation ends there, with the end mark, or at the model's last position."""
    min_new_tokens: int = Field(default=0, ge=0)
    """No end mark before that many tokens."""
    temperature: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Logits are divided by it. None: 1 where tokens are drawn, else greedy. 0: greedy."""
    top_k: int | None = Field(default=None, gt=0)
    """Only the k likeliest tokens (Fan et al. 2018, arXiv:1805.04833, section 5.4)."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Only the fewest tokens that together have this probability (Holtzman et al. 2020, arXiv:1904.09751, section 3.1)."""
    min_p: float | None = Field(default=None, ge=0, le=1)
    """Only tokens with at least this share of the likeliest one's probability (Nguyen et al. 2024, arXiv:2407.01082)."""
    repetition_penalty: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Logits of tokens in the prompt or the continuation are divided by it where positive, multiplied where negative
    (Keskar et al. 2019, arXiv:1909.05858, section 4.1)."""
    presence_penalty: float = Field(default=0.0, allow_inf_nan=False)
    """Taken once from the logits of tokens in the continuation."""
    frequency_penalty: float = Field(default=0.0, allow_inf_nan=False)
    """Taken from a logit as often as its token stands in the continuation."""
    no_repeat_ngram: int = Field(default=0, ge=0)
    """No n tokens follow each other twice, prompt included; 0: they may."""
    beams: int = Field(default=1, gt=0)
    """Continuations that beam search keeps; 1: none is made."""
    length_penalty: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Alpha: a beam of l tokens scores log p / ((5 + l) / 6) ** alpha (Wu et al. 2016, arXiv:1609.08144, equation 14)."""
    samples: int = Field(default=1, gt=0)
    """Continuations drawn of each prompt."""
    seed: int = Field(default=0, ge=0, lt=1 << 64)

    @property
    def drawn_at(self) -> float:
        """Temperature that tokens are drawn at; 0: greedy."""
        if self.temperature is not None:
            return self.temperature
        return 1.0 if self.samples > 1 or self._limits() else 0.0

    def _limits(self) -> list[str]:
        return [name for name in _DRAWN if getattr(self, name) is not None]

    @model_validator(mode="after")
    def _agree(self) -> Self:
        drawn = self._limits() + ["temperature"] * bool(self.temperature) + ["samples"] * (self.samples > 1)
        if self.beams > 1 and drawn:
            msg = (
                f"beam search draws no tokens, so beams={self.beams} does not go with {', '.join(drawn)}; leave one out"
            )
            raise ValueError(msg)
        if self.samples > 1 and self.drawn_at == 0:
            msg = f"{self.samples} samples at temperature 0 are one and the same; give a temperature, or one sample"
            raise ValueError(msg)
        if self.min_new_tokens > self.max_new_tokens:
            msg = f"min_new_tokens={self.min_new_tokens} is more than max_new_tokens={self.max_new_tokens}"
            raise ValueError(msg)
        return self
