"""How much of the sequences of a step is padding: in its summary, and in a warning where it is much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

MUCH = 0.02
"""Share of all places from which on padding is warned of."""
SHARD_SEQUENCES = 1000
"""Sequences of tokens a shard should have: the fewer there are, the fewer documents there are to fill a row to its end."""


class Padding(NamedTuple):
    """Places without a token in the sequences of a step."""

    shards: int
    sequences: int
    sequence_length: int
    tokens: int
    padding: int

    @classmethod
    def of(cls, facts: Iterable[Mapping[str, Any]]) -> Self:
        """From the facts of the shards of a step of kind sequences."""
        known = list(facts)
        lengths = [fact["sequence_length"] for fact in known]
        sums = (sum(fact[name] for fact in known) for name in ("tokens", "padding"))
        return cls(len(known), sum(fact["sequences"] for fact in known), max(lengths, default=0), *sums)

    @property
    def share(self) -> float:
        """Of all places; 0 where there is no sequence."""
        return self.padding / (self.sequences * (self.sequence_length + 1)) if self.sequences else 0.0

    def summary(self, step: str) -> str:
        """One line."""
        return f"{step}: {self.sequences:,} sequences of {self.sequence_length:,} tokens, {self.share:.2%} padding"

    def warning(self, step: str) -> str | None:
        """What to change, where padding is much."""
        if self.share <= MUCH:
            return None
        tokens, wanted = self.tokens // self.shards, SHARD_SEQUENCES * self.sequence_length
        said = f"{step}: {self.share:.1%} of its places are padding: sequence_length {self.sequence_length:,}"
        if tokens < wanted:
            return (
                f"{said}, but only {tokens:,} tokens a shard; give `tokenize` tokens_per_shard of {wanted:,} or more"
                " (it needs as many tokens in all), or take shorter sequences"
            )
        return f"{said} leaves room that no document fills; take longer sequences, or `policy: concat`"
