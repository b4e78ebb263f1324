"""What is done to logits before a token is chosen: penalties for what was said, and limits on what may be drawn.

Shapes: B rows, V ids, L tokens so far. ``tokens`` is int64 (B, L), on the left filled up with ``NONE``, so that the
continuations of all rows begin in one column, ``start``. Logits are float (B, V); each function returns new ones, with
-inf where a token must not come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from pipeline.generation.options import Options

NONE = -1
"""No token: what fills a short row up, and the mark before a text, which is no part of it."""
_MOST_COMPARED = 1 << 22
"""Comparisons of n-grams that are held in memory at once, 1 byte each."""


def counts(tokens: Tensor, num_ids: int) -> Tensor:
    """How often each id stands in each row, int64 (B, V)."""
    found = tokens.new_zeros(len(tokens), num_ids + 1)
    places = torch.where(tokens < 0, num_ids, tokens)
    return found.scatter_add_(1, places, torch.ones_like(places))[:, :num_ids]


def penalised(logits: Tensor, tokens: Tensor, start: int, options: Options) -> Tensor:
    """Repetition penalty over the whole row, presence and frequency penalties over the continuation alone."""
    if options.repetition_penalty != 1:
        away = torch.where(logits > 0, logits / options.repetition_penalty, logits * options.repetition_penalty)
        logits = torch.where(counts(tokens, logits.shape[1]) > 0, away, logits)
    if options.presence_penalty or options.frequency_penalty:
        said = counts(tokens[:, start:], logits.shape[1])
        taken = options.frequency_penalty * said + options.presence_penalty * (said > 0)
        logits = logits - taken.to(logits.dtype)
    return logits


def without_repeats(logits: Tensor, tokens: Tensor, ngram: int) -> Tensor:
    """-inf where a token would make an n-gram that the row has already."""
    length = tokens.shape[1]
    if not 0 < ngram <= length:
        return logits
    logits = logits.clone()
    # Rows at a time, since (rows, L, n - 1) comparisons of long texts would not fit.
    rows_at_once = max(1, _MOST_COMPARED // (length * ngram))
    for first in range(0, len(tokens), rows_at_once):
        part = tokens[first : first + rows_at_once]
        before = part[:, : length - 1].unfold(1, ngram - 1, 1) if ngram > 1 else part.new_zeros(len(part), length, 0)
        alike = (before == part[:, None, length - ngram + 1 :]).all(2)
        after = part[:, ngram - 1 :]
        row, place = torch.nonzero(alike & (after >= 0), as_tuple=True)
        logits[first + row, after[row, place]] = -torch.inf
    return logits


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """-inf for all but the k largest; of equal ones those of smaller ids stay."""
    if k >= logits.shape[1]:
        return logits
    smallest = logits.topk(k, dim=1).values[:, -1:]
    above, equal = logits > smallest, logits == smallest
    room = k - above.sum(1, keepdim=True)
    kept = above | (equal & (equal.cumsum(1) <= room))
    return logits.masked_fill(~kept, -torch.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """-inf for all but the fewest tokens whose probabilities sum to at least p; of equal ones smaller ids come first."""
    probability, order = logits.double().softmax(1).sort(dim=1, descending=True, stable=True)
    cumulated = probability.cumsum(1)
    before = torch.cat((torch.zeros_like(cumulated[:, :1]), cumulated[:, :-1]), dim=1)
    # p = 1 keeps all, though a sum of rounded numbers may reach it early.
    kept_sorted = (before < p) | (p >= 1)
    kept = torch.zeros_like(kept_sorted).scatter_(1, order, kept_sorted)
    return logits.masked_fill(~kept, -torch.inf)


def keep_min_p(logits: Tensor, share: float) -> Tensor:
    """-inf for tokens with less than a share of the likeliest one's probability."""
    probability = logits.double().softmax(1)
    return logits.masked_fill(probability < share * probability.amax(1, keepdim=True), -torch.inf)


def allowed(logits: Tensor, tokens: Tensor, start: int, options: Options) -> Tensor:
    """Logits after the penalties, which are for greedy and beam search too."""
    return without_repeats(penalised(logits, tokens, start, options), tokens, options.no_repeat_ngram)


def limited(logits: Tensor, options: Options) -> Tensor:
    """Logits, float64, of what may be drawn: temperature, then top-k, top-p, min-p. The temperature must be above 0."""
    # Less the largest first: a temperature of 1e-300 would make infinities of the logits themselves.
    logits = (logits.double() - logits.double().amax(1, keepdim=True)) / options.drawn_at
    if options.top_k is not None:
        logits = keep_top_k(logits, options.top_k)
    if options.top_p is not None:
        logits = keep_top_p(logits, options.top_p)
    if options.min_p is not None:
        logits = keep_min_p(logits, options.min_p)
    return logits
