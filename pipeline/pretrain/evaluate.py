"""Bits per byte of held-out documents.

The definition. Each document stands alone: its context is one EOS, then its own tokens, and no other document. It is
cut into windows of T tokens, so a token sees at most T before it, and the first of a later window sees the one before
it. Every token of the text is predicted exactly once; the EOS that ends a document, being no text, has 0 bytes, and
its loss is not counted. With n_i the nats (-ln p) of token i and b the UTF-8 bytes of the texts,

    bits per byte = sum n_i / (ln 2 * b)

over all documents together, hence weighted by bytes. Vocabularies compare, since a coarser one predicts fewer and
harder tokens for the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.pretrain.data import Corpus, Int64s
from pipeline.pretrain.ranks import Place, add_up

Nats = Callable[[Tensor, Tensor], Tensor]
"""(inputs (B, T), targets (B, T)) -> -log p of each target given the inputs up to its position, (B, T)."""


@dataclass(frozen=True)
class Score:
    """What an evaluation found."""

    bits_per_byte: float
    nats_per_token: float
    documents: int
    bytes: int
    tokens: int


@dataclass(frozen=True)
class Window:
    """A stretch of one document: inputs are ``tokens[:-1]``, targets ``tokens[1:]``."""

    tokens: Int64s


def document_windows(tokens: Int64s, eos_id: int, length: int) -> Iterator[Window]:
    """Windows of at most ``length`` targets, of which each token of the document is one exactly once."""
    context = np.concatenate((np.array([eos_id], np.int64), tokens))
    for begin in range(0, len(tokens), length):
        yield Window(context[begin : begin + length + 1])


def score(nats: Nats, corpus: Corpus, *, length: int, max_documents: int, place: Place) -> Score:
    """Score the first ``max_documents`` held-out documents; ranks share the work and all get the result."""
    chosen = min(max_documents, len(corpus.held_out.start))
    num_bytes = int(corpus.held_out.num_bytes[:chosen].sum())
    mine = [
        window
        for document in range(place.rank, chosen, place.world)
        for window in document_windows(corpus.held_out_tokens(document), corpus.data.eos_id, length)
    ]
    # Windows of like length go together, so that little is padded.
    mine.sort(key=lambda window: len(window.tokens))
    total = torch.zeros(2, dtype=torch.float64)
    with torch.inference_mode():
        for begin in range(0, len(mine), 8):
            inputs, targets, real = _padded(mine[begin : begin + 8], corpus.data.eos_id, place)
            losses = nats(inputs, targets).to(torch.float64)
            total[0] += losses[real].sum().cpu()
            total[1] += real.sum().cpu()
    summed, tokens = add_up(total.to(place.device)).tolist()
    return Score(summed / (math.log(2) * num_bytes), summed / max(1.0, tokens), chosen, num_bytes, int(tokens))


def _padded(windows: list[Window], eos_id: int, place: Place) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, targets and which targets are real, each (B, longest); attention is causal, so padding sees, unseen."""
    longest = max(len(window.tokens) for window in windows)
    rows = np.full((len(windows), longest), eos_id, np.int64)
    real = np.zeros((len(windows), longest - 1), np.bool_)
    for row, mask, window in zip(rows, real, windows, strict=True):
        row[: len(window.tokens)] = window.tokens
        mask[: len(window.tokens) - 1] = True
    tokens = torch.from_numpy(rows).to(place.device)
    return tokens[:, :-1], tokens[:, 1:], torch.from_numpy(real).to(place.device)
