"""What a model makes of documents, added up over those of one kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_GROUPS = 40
OTHERS = "(others)"
"""Name of what is left where there are more groups than ``MOST_GROUPS``: a corpus may have a source a file."""


@dataclass(frozen=True)
class Part:
    """Sums over some documents."""

    nats: float
    """-ln p of all tokens."""
    tokens: int
    bytes: int
    """UTF-8 bytes of the texts."""
    documents: int

    @property
    def bits_per_byte(self) -> float:
        """Comparable over vocabularies; not a number where the texts have no byte."""
        return self.nats / (math.log(2) * self.bytes) if self.bytes else math.nan

    @property
    def nats_per_token(self) -> float:
        """Mean loss; of one vocabulary only."""
        return self.nats / max(1, self.tokens)

    @property
    def perplexity(self) -> float:
        """Of a token: exp of the above; infinite where that is more than a float holds."""
        try:
            return math.exp(self.nats_per_token)
        except OverflowError:
            return math.inf

    def __add__(self, other: Part) -> Part:
        """Of the documents of both."""
        return Part(
            self.nats + other.nats,
            self.tokens + other.tokens,
            self.bytes + other.bytes,
            self.documents + other.documents,
        )

    def line(self) -> dict[str, Any]:
        """What is told of it beside others."""
        return {"bits_per_byte": self.bits_per_byte, "documents": self.documents, "bytes": self.bytes}


def parts_by(
    names: Sequence[str], nats: NDArray[np.float64], num_tokens: NDArray[np.int64], num_bytes: NDArray[np.int64]
) -> dict[str, Part]:
    """Sums over the documents of each name, most bytes first; names without a byte are left out. All of length D."""
    known, of = np.unique(np.array(names, object).astype(str), return_inverse=True)
    columns = [np.bincount(of, weights=column, minlength=len(known)) for column in (nats, num_tokens, num_bytes)]
    columns.append(np.bincount(of, minlength=len(known)))
    parts = {
        str(name): Part(float(total), int(tokens), int(size), int(documents))
        for name, total, tokens, size, documents in zip(known, *columns, strict=True)
        if size
    }
    return largest(parts)


def largest(parts: dict[str, Part]) -> dict[str, Part]:
    """At most ``MOST_GROUPS``, most bytes first; the smallest become one."""
    order = sorted(parts, key=lambda name: (-parts[name].bytes, name))
    if len(order) <= MOST_GROUPS:
        return {name: parts[name] for name in order}
    kept = {name: parts[name] for name in order[: MOST_GROUPS - 1]}
    rest = Part(0.0, 0, 0, 0)
    for name in order[MOST_GROUPS - 1 :]:
        rest += parts[name]
    return {**kept, OTHERS: rest}
