"""Keys and values of the tokens so far, so that each further token is computed alone.

Shapes: L layers, B rows, K key and value heads, S slots, E head width, T new tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from pipeline.pretrain.config import Shape


class Cache:
    """What a forward pass left for the next one. Written in place: use it without gradients.

    Rows of different lengths are padded on the left: ``starts`` says at which slot each row's first token lies. Position
    of a token is its slot less that, so there may be more slots than a model has positions.
    """

    def __init__(
        self,
        shape: Shape,
        rows: int,
        max_length: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """max_length: slots of a row. dtype: that of the model's activations."""
        size = (shape.layers, rows, shape.kv_heads, max_length, shape.head_dim)
        self._keys = torch.empty(size, device=device, dtype=dtype)
        self._values = torch.empty_like(self._keys)
        self._starts: Tensor | None = None
        self.least_start = 0
        """Smallest of the starts: its row has the most positions."""
        self.length = 0
        """Slots that are filled."""

    @property
    def rows(self) -> int:
        """Rows now."""
        return self._keys.shape[1]

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self._keys.device

    @property
    def max_length(self) -> int:
        """Slots of a row."""
        return self._keys.shape[3]

    @property
    def starts(self) -> Tensor | None:
        """int64 (B,), slot of each row's first token; None: all begin at slot 0."""
        return self._starts

    @starts.setter
    def starts(self, starts: Tensor | None) -> None:
        if starts is None or not bool(starts.any()):
            self._starts, self.least_start = None, 0
        else:
            self._starts = starts.to(self._keys.device, torch.int64)
            self.least_start = int(starts.min())

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add the new tokens' keys and values (B, K, T, E) of one layer; returns all of it, (B, K, length + T, E).

        The forward pass moves ``length`` on after the last layer.
        """
        end = self.length + key.shape[2]
        self._keys[layer, :, :, self.length : end] = key
        self._values[layer, :, :, self.length : end] = value
        return self._keys[layer, :, :, :end], self._values[layer, :, :, :end]

    def reorder(self, rows: Tensor) -> None:
        """Row i becomes a copy of what row ``rows[i]`` was; there may be fewer or more rows than before."""
        rows = rows.to(self._keys.device)
        if len(rows) == self.rows:  # in place: only what is filled is copied
            for part in (self._keys, self._values):
                part[:, :, :, : self.length] = part[:, rows, :, : self.length]
        else:
            self._keys, self._values = self._keys[:, rows], self._values[:, rows]
        if self._starts is not None:
            self.starts = self._starts[rows]

    def cut(self, length: int) -> None:
        """Forget all slots from ``length`` on.

        Raises:
            ValueError: that many are not filled.
        """
        if not 0 <= length <= self.length:
            msg = f"cannot cut a cache of {self.length} slots to {length}"
            raise ValueError(msg)
        self.length = length
