"""How a model takes a stretch of tokens after a given beginning: its probability, and whether greedy search would write it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.pretrain.data.batch import IGNORED
from pipeline.pretrain.model.cross_entropy import token_nats

Logits = Callable[[Tensor], Tensor]
"""Tokens, int64 (B, T) -> logits of the id after each position, (B, T, V)."""
_ROWS = 32
_LOGITS = 1 << 27
"""Held at once, 512 MB in float32."""


@dataclass(frozen=True)
class Span:
    """Tokens of which those from ``first`` on are predicted."""

    ids: tuple[int, ...]
    """Begin mark included."""
    first: int
    """At least 1: the mark itself is never predicted."""


@dataclass(frozen=True)
class SpanScore:
    """What a model makes of the predicted tokens of a span."""

    nats: float
    tokens: int
    right: int
    """Tokens that are the likeliest after those before them."""
    cut: bool
    """The beginning was longer than the model's positions and lost its first tokens."""

    @property
    def greedy(self) -> bool:
        """Greedy search would write just this."""
        return self.right == self.tokens


@torch.inference_mode()
def span_scores(
    logits: Logits, spans: Sequence[Span], *, max_length: int, vocab_size: int, device: torch.device
) -> list[SpanScore | None]:
    """Score spans, those of like length together. max_length: positions of the model. vocab_size: its ids.

    None of a span of which more tokens are to be predicted than the model has positions.
    """
    kept = {number: part for number, span in enumerate(spans) if (part := _kept(span, max_length)) is not None}
    order = sorted(kept, key=lambda number: len(kept[number].ids))
    found: dict[int, SpanScore] = {}
    while order:
        longest = len(kept[order[-1]].ids) - 1
        rows = max(1, min(_ROWS, _LOGITS // (max(1, longest) * vocab_size)))
        batch, order = order[-rows:], order[:-rows]
        scores = _batch(logits, [kept[number] for number in batch], device)
        for number, (nats, right) in zip(batch, scores, strict=True):
            whole, part = spans[number], kept[number]
            found[number] = SpanScore(nats, len(part.ids) - part.first, right, cut=len(part.ids) < len(whole.ids))
    return [found.get(number) for number in range(len(spans))]


def _kept(span: Span, max_length: int) -> Span | None:
    """The last tokens of a span, as many as the model can see and predict; None where that is not all to be predicted."""
    if not 1 <= span.first < len(span.ids):
        msg = f"a span predicts tokens {span.first} to {len(span.ids)}"
        raise ValueError(msg)
    over = len(span.ids) - 1 - max_length
    if over <= 0:
        return span
    if over >= span.first:
        return None
    return Span(span.ids[over:], span.first - over)


def _batch(logits: Logits, spans: Sequence[Span], device: torch.device) -> list[tuple[float, int]]:
    longest = max(len(span.ids) for span in spans) - 1
    inputs = torch.zeros((len(spans), longest), dtype=torch.int64)
    targets = torch.full_like(inputs, IGNORED)
    for row, target, span in zip(inputs, targets, spans, strict=True):
        ids = torch.tensor(span.ids)
        row[: len(ids) - 1] = ids[:-1]
        target[span.first - 1 : len(ids) - 1] = ids[span.first :]
    scores, targets = logits(inputs.to(device)), targets.to(device)
    nats = token_nats(scores, targets).double().sum(dim=1)
    right = (scores.argmax(dim=-1) == targets).sum(dim=1)
    return list(zip(nats.tolist(), right.tolist(), strict=True))
