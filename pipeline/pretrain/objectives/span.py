"""Span corruption in a decoder: the text with holes is the prefix, what was in the holes is predicted behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.pretrain.data.batch import IGNORED, Batch
from pipeline.pretrain.objectives.chance import parts, uniform
from pipeline.pretrain.objectives.spans import fitting, spans

if TYPE_CHECKING:
    from pipeline.pretrain.config import Objective

_KEPT, _HIDDEN = 1, 2


def span_batch(
    tokens: NDArray[np.int64],
    lengths: NDArray[np.int64],
    keys: NDArray[np.uint64],
    objective: Objective,
    *,
    eos_id: int,
) -> Batch:
    """Rows ``kept 0, mask 0, kept 1, mask 1, ..., kept n | mask 0, hidden 0, mask 1, hidden 1, ..., EOS``, prefix first.

    Unlike T5's, a text may begin with a hidden span, and need not end with one. A row grows by two masks a span and an
    EOS, so its last tokens are left out until it fits: with a rate of 0.15 and a mean span of 3 that is 9 % of them.
    Source: Raffel et al. 2019, arXiv:1910.10683, sections 3.1.4 and 3.3.4; as a prefix: Tay et al. 2022 (UL2),
    arXiv:2205.05131, section 3.
    """
    width = tokens.shape[1]
    made = np.full_like(tokens, eos_id)
    predicted = np.zeros(tokens.shape, np.bool_)
    prefix = np.zeros(len(tokens), np.int32)
    kept, hidden = (uniform(keys, width + 1, stream) for stream in (_KEPT, _HIDDEN))
    for row, (text, length) in enumerate(zip(tokens, lengths, strict=True)):
        used = fitting(int(length), width, objective)
        if used < 2:  # nothing to hide something from
            continue
        before, behind = _corrupted(text[:used], (kept[row], hidden[row]), objective, eos_id)
        end = len(before) + len(behind)
        made[row, : len(before)], made[row, len(before) : end] = before, behind
        predicted[row, len(before) : end] = True
        prefix[row] = len(before)
    targets = np.where(predicted, made, IGNORED)[:, 1:]
    return Batch(torch.from_numpy(made[:, :-1]), torch.from_numpy(targets), prefix=torch.from_numpy(prefix))


def span_targets(lengths: NDArray[np.int64], width: int, objective: Objective) -> int:
    """How many targets rows of ``width`` tokens have: what is hidden, a mask before each span, and the EOS."""
    found = 0
    for length, count in zip(*np.unique(lengths, return_counts=True), strict=True):
        used = fitting(int(length), width, objective)
        found += int(count) * (sum(spans(used, objective)) + 1) if used else 0
    return found


def _corrupted(
    text: NDArray[np.int64], chances: tuple[NDArray[np.float64], NDArray[np.float64]], objective: Objective, eos_id: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The text with holes, and what was in them."""
    hidden, count = spans(len(text), objective)
    # One token at least between two spans; before the first and behind the last, which takes what is left, may be none.
    kept = parts(len(text) - hidden + 2, count + 1, chances[0])
    kept[0] -= 1
    taken = parts(hidden, count, chances[1])
    before, behind, position = [], [], 0
    for mask, keep, take in zip(objective.mask_ids, kept, taken, strict=False):
        before += [text[position : position + keep], [mask]]
        behind += [[mask], text[position + keep : position + keep + take]]
        position += keep + take
    return np.concatenate([*before, text[position:]]), np.concatenate([*behind, [eos_id]])
