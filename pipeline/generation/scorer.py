"""Logits of the next token of several texts at once, each text only once through the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from pipeline.pretrain.model.cache import Cache

if TYPE_CHECKING:
    from pipeline.pretrain.model.load import LoadedModel

_PREFILL_TOKENS = 1 << 14
"""Tokens of prompts that go through the model at once: its activations are no larger for longer prompts."""


class Scorer(Protocol):
    """Says what may come next. B rows, V ids."""

    num_ids: int
    """V."""
    max_length: int
    """Most positions of a row, the mark before the text included."""
    adds_up: bool
    """What a text scores is the sum of its tokens' logits as they are; else that of their log-softmax."""

    def begin(self, prompts: Sequence[Sequence[int]], room: int) -> Tensor:
        """Logits (B, V) of the token after each prompt (none of them empty); ``room`` more will follow."""
        ...

    def step(self, tokens: Tensor) -> Tensor:
        """Logits (B, V) of the token after one more, int64 (B,), in each row."""
        ...

    def reorder(self, rows: Tensor) -> None:
        """Go on with these rows, int64 (any number); one may stand there several times or not at all."""
        ...


class ModelScorer:
    """One model with its KV cache; shorter prompts are filled up on the left, where nobody looks."""

    adds_up = False

    def __init__(self, model: LoadedModel, *, prefix: bool = False) -> None:
        """prefix: tokens of a prompt see each other both ways, as in models trained with the objective prefix or span."""
        self._prefix = prefix
        self._model, self.max_length = model.model.eval(), model.max_length
        self._shape = model.shape
        self._weight = model.model.embedding.weight
        self.num_ids = self._weight.shape[0]
        self._cache: Cache | None = None

    @torch.inference_mode()
    def begin(self, prompts: Sequence[Sequence[int]], room: int) -> Tensor:
        """See ``Scorer``."""
        longest = max(map(len, prompts))
        device = self._weight.device
        rows = torch.zeros(len(prompts), longest, dtype=torch.int64)
        for row, prompt in zip(rows, prompts, strict=True):
            row[longest - len(prompt) :] = torch.tensor(prompt)
        starts = torch.tensor([longest - len(prompt) for prompt in prompts], device=device)
        self._cache = Cache(self._shape, len(prompts), longest + room, device, self._weight.dtype)
        self._cache.starts = starts
        if self._prefix:  # all at once, since the first token sees the last
            return self._model(rows.to(device), cache=self._cache, prefix=longest - starts, last=True)[:, -1]
        logits = torch.empty(0)
        for part in rows.to(device).split(max(1, _PREFILL_TOKENS // len(prompts)), dim=1):
            logits = self._model(part, cache=self._cache, last=True)
        return logits[:, -1]

    @torch.inference_mode()
    def step(self, tokens: Tensor) -> Tensor:
        """See ``Scorer``."""
        return self._model(tokens[:, None], cache=self._cache)[:, -1]

    @torch.inference_mode()
    def reorder(self, rows: Tensor) -> None:
        """See ``Scorer``."""
        assert self._cache is not None, "begin() comes first"
        self._cache.reorder(rows)
