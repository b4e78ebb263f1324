"""Documents cut into windows for a model to predict, each token of them exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.pretrain.ranks import Place, add_up

Int64s = NDArray[np.int64]
Nats = Callable[[Tensor, Tensor], Tensor]
"""(inputs (B, T), targets (B, T)) -> -log p of each target given the inputs up to its position, (B, T)."""

_ROWS = 8
_LOGITS = 1 << 27
"""Held at once, 512 MB in float32: a window of 4,096 tokens over 32,768 ids."""


@dataclass(frozen=True)
class Window:
    """A stretch of one document behind the mark that it begins with.

    Of the mark and the document's tokens, inputs are those from ``begin`` on, targets those from ``begin + 1`` to
    ``end``, both one after the other; targets up to ``done`` were scored by an earlier window.
    """

    document: int
    begin: int
    end: int
    done: int


@dataclass(frozen=True)
class Cut:
    """How documents are cut."""

    begin_id: int
    """The mark before each document."""
    length: int
    """Most inputs of a window."""
    stride: int
    """How far apart windows begin: of those after the first, the last ``stride`` targets are scored, so each of these has
    at least ``length - stride`` tokens before it. ``length``: windows do not overlap."""

    def windows(self, document: int, num_tokens: int) -> Iterator[Window]:
        """Windows of a document, in order."""
        done = begin = 0
        while done < num_tokens:
            end = min(begin + self.length, num_tokens)
            yield Window(document, begin, end, done)
            done, begin = end, begin + self.stride


def document_nats(
    nats: Nats,
    num_tokens: Sequence[int],
    tokens_of: Callable[[int], Int64s],
    cut: Cut,
    place: Place,
    *,
    vocab_size: int,
) -> NDArray[np.float64]:
    """Nats of each of D documents, float64 (D,); ranks share the work and all get the result.

    Every rank calls ``nats`` equally often, since under sharding each call is a collective one.
    """
    windows = [window for document, count in enumerate(num_tokens) for window in cut.windows(document, int(count))]
    # Windows of like length go together, so that little is padded; the longest last.
    windows.sort(key=lambda window: window.end - window.begin)
    rows = max(1, min(_ROWS, _LOGITS // (cut.length * vocab_size)))
    batches = [windows[first : first + rows] for first in range(0, len(windows), rows)]
    found = torch.zeros(len(num_tokens), dtype=torch.float64)
    with torch.no_grad():  # not inference mode: what FSDP gathers in it cannot be trained on afterwards
        for turn in range(0, len(batches), place.world):
            mine = turn + place.rank
            batch = batches[mine] if mine < len(batches) else batches[0][:1]
            inputs, targets, counted = _padded(batch, tokens_of, cut.begin_id)
            losses = nats(inputs.to(place.device), targets.to(place.device)).to("cpu", torch.float64)
            if mine < len(batches):
                of = torch.tensor([window.document for window in batch])
                found.index_add_(0, of, losses.masked_fill(~counted, 0.0).sum(dim=1))
    return add_up(found.to(place.device)).cpu().numpy()


def _padded(
    windows: Sequence[Window], tokens_of: Callable[[int], Int64s], begin_id: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, targets and which targets count, each (B, longest); attention is causal, so padding sees, unseen."""
    longest = max(window.end - window.begin for window in windows)
    rows = np.full((len(windows), longest + 1), begin_id, np.int64)
    counted = np.zeros((len(windows), longest), np.bool_)
    for row, mask, window in zip(rows, counted, windows, strict=True):
        tokens = tokens_of(window.document)[max(0, window.begin - 1) : window.end]
        # Behind the mark a document's token k stands at k + 1.
        first = int(window.begin == 0)
        row[first : first + len(tokens)] = tokens
        mask[window.done - window.begin : window.end - window.begin] = True
    both = torch.from_numpy(rows)
    return both[:, :-1], both[:, 1:], torch.from_numpy(counted)
