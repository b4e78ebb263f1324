"""A language model that anyone can check: the next token's logits are looked up by the last two tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline.generation.texts import Marks

EOS = 0
BEGIN = 1
"""Stands before a text, and is an id of its own, so that a test sees who takes it for a word."""


class Table:
    """Logits (V,) of the token after two others; ``table`` is (V, V, V).

    sway: (V,) What the length of the text adds, so that no two texts of the same pairs are equally likely.
    """

    adds_up = False

    def __init__(self, table: np.ndarray, max_length: int = 1000, sway: np.ndarray | None = None) -> None:
        self.sway = np.zeros(table.shape[-1], np.float32) if sway is None else sway
        self.table, self.num_ids, self.max_length = table, table.shape[-1], max_length
        self.rows: list[list[int]] = []
        self.tokens_read = 0

    @classmethod
    def random(cls, num_ids: int, seed: int, scale: float = 2.0, **more: int) -> Table:
        rng = np.random.default_rng(seed)
        table = rng.normal(0, scale, (num_ids,) * 3).astype(np.float32)
        return cls(table, sway=rng.normal(0, 0.1, num_ids).astype(np.float32), **more)

    def logits(self, text: Sequence[int]) -> np.ndarray:
        before = text[-2] if len(text) > 1 else 0
        return self.table[before, text[-1]] + 0.1 * np.sin(len(text) * self.sway)

    def begin(self, prompts: Sequence[Sequence[int]], room: int) -> Tensor:
        self.rows, self.room = [list(prompt) for prompt in prompts], room
        self.tokens_read += sum(map(len, prompts))
        return self._all()

    def step(self, tokens: Tensor) -> Tensor:
        assert self.room > 0
        self.room -= 1
        self.tokens_read += len(tokens)
        for row, token in zip(self.rows, tokens.tolist(), strict=True):
            assert len(row) < self.max_length
            row.append(token)
        return self._all()

    def reorder(self, rows: Tensor) -> None:
        self.rows = [list(self.rows[row]) for row in rows.tolist()]

    def _all(self) -> Tensor:
        return torch.from_numpy(np.stack([self.logits(row) for row in self.rows]))


def marks(num_ids: int) -> Marks:
    return Marks(eos_id=EOS, begin_id=BEGIN, vocab_size=num_ids)
