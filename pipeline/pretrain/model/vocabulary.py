"""How many rows an embedding has, and for how many positions at once their logits are there; free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

VOCABULARY_MULTIPLE = 128
"""Rows of the embedding are padded to this: matrix units want multiples of 128 (reason: 2-4 % of a step at 32k)."""

CHUNK_LOGITS: Mapping[str, int] = MappingProxyType({"cpu": 1 << 23, "cuda": 1 << 28})
"""Logits at once, by device. On a core 32 MB of float32, fastest of 4 to 256; a GPU's products want thousands of rows, and
have 8,192 with 32,768 ids (reasoned, not measured)."""
_LEAST_ROWS = 128
"""Each chunk adds to the gradient of the whole head: with 64 rows of 131,072 ids that costs 5 % more."""


def padded_vocabulary(vocab_size: int) -> int:
    """Rows of the embedding for that many ids."""
    return -(-vocab_size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE


def chunk_rows(vocabulary: int, device: str) -> int:
    """Positions of a chunk, for V ids on a type of device."""
    return max(_LEAST_ROWS, CHUNK_LOGITS["cpu" if device == "cpu" else "cuda"] // vocabulary)
