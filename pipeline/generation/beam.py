"""Beam search: the continuations that score best, as far as a few at a time can find them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipeline.generation.options import Options
from pipeline.generation.texts import Continuation, End, Row, Texts


def length_penalty(length: int, alpha: float) -> float:
    """What log p of a continuation of that many tokens, end mark included, is divided by.

    Source: Wu et al. 2016, arXiv:1609.08144, equation 14.
    """
    return ((5 + length) / 6) ** alpha


@dataclass
class _Search:
    """The search from one prompt. Its live beams are rows ``first`` to ``first + len(log_probs)`` of the texts."""

    row: Row
    first: int
    log_probs: list[float]
    done: list[Continuation] = field(default_factory=list)

    def add(self, tokens: Sequence[int], log_prob: float, ended: End, options: Options) -> None:
        """Put a continuation aside, end mark included where that ended it, if it is among the best."""
        score = log_prob / length_penalty(len(tokens), options.length_penalty)
        self.done.append(Continuation(tuple(tokens[:-1] if ended == "eos" else tokens), log_prob, score, ended))
        self.done.sort(key=lambda one: one.score, reverse=True)
        del self.done[options.beams :]

    def over(self, options: Options) -> bool:
        """No live beam can get among the best any more, even if all further tokens were certain."""
        if len(self.done) < options.beams:
            return False
        most = max(self.log_probs) / length_penalty(self.row.limit, options.length_penalty)
        return most <= self.done[-1].score


def search(texts: Texts, rows: Sequence[Row], options: Options) -> list[list[Continuation]]:
    """The best continuations of each row, best first, at most ``options.beams`` of them.

    Of all continuations of a prompt's live beams the ``beams`` likeliest are looked at: those that end are put aside,
    and the likeliest that do not end stay live. It is over when no live beam can still score better than ``beams`` that
    are aside, or no token may follow; what is cut off there counts like what ended. One beam without length penalty is
    greedy search.
    """
    searches = [_Search(row, number, [0.0]) for number, row in enumerate(rows)]
    live = searches
    while live:
        log_p = texts.worth(texts.scores())
        picked: list[tuple[int, int]] = []
        still: list[_Search] = []
        for one in live:
            beams = _next(one, log_p, texts, options)
            one.log_probs = [log_prob for _, _, log_prob in beams]
            # Sums that may rise again have no bound.
            if beams and (texts.may_rise or not one.over(options)):
                one.first = len(picked)
                picked += [(row, token) for row, token, _ in beams]
                still.append(one)
        live = still
        if live:
            rows_and_tokens = torch.tensor(picked, device=log_p.device)
            texts.grow(rows_and_tokens[:, 0], rows_and_tokens[:, 1])
    return [one.done for one in searches]


def _next(one: _Search, log_p: Tensor, texts: Texts, options: Options) -> list[tuple[int, int, float]]:
    """Beams that stay live: row, token and log p; what ends among the likeliest goes to ``one.done``."""
    before = torch.tensor(one.log_probs, dtype=log_p.dtype, device=log_p.device)
    total = log_p[one.first : one.first + len(before)] + before[:, None]
    beams: list[tuple[int, int, float]] = []
    # At most one of a beam's continuations ends by its mark, so twice as many leave enough that do not.
    for rank, (place, log_prob) in enumerate(_largest(total.flatten(), 2 * options.beams)):
        beam, token = divmod(place, log_p.shape[1])
        row = one.first + beam
        why = texts.why_over(row, token, one.row)
        if why is None and len(beams) < options.beams:
            beams.append((row, token, log_prob))
        elif why is not None and rank < options.beams:
            one.add([*texts.new(row), token], log_prob, why, options)
    return beams


def _largest(values: Tensor, number: int) -> list[tuple[int, float]]:
    """Places and values of the largest finite ones, largest first; of equal ones those of smaller places."""
    found = values.topk(min(number, len(values))).values
    places = torch.nonzero((values >= found[-1]) & ~torch.isneginf(values))[:, 0]
    best, order = values[places].sort(descending=True, stable=True)
    return list(zip(places[order].tolist(), best.tolist(), strict=True))[:number]
