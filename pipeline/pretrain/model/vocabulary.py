"""How many rows an embedding has."""

from __future__ import annotations

VOCABULARY_MULTIPLE = 128
"""Rows of the embedding are padded to this: matrix units want multiples of 128 (reason: 2-4 % of a step at 32k)."""


def padded_vocabulary(vocab_size: int) -> int:
    """Rows of the embedding for that many ids."""
    return -(-vocab_size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
