"""Masked language model: some tokens are hidden, and all positions see each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.pretrain.data.batch import IGNORED, Batch
from pipeline.pretrain.objectives.chance import uniform

if TYPE_CHECKING:
    from pipeline.pretrain.config import Objective

MASKED, REPLACED = 0.8, 0.1
"""Of the chosen tokens, how many become the mask and how many another id; the rest stays as it is."""
_WHICH, _HOW, _ID = 1, 2, 3


def mlm_batch(
    tokens: NDArray[np.int64],
    lengths: NDArray[np.int64],
    keys: NDArray[np.uint64],
    objective: Objective,
    *,
    vocab_size: int,
) -> Batch:
    """Of each row a share ``rate`` of the tokens is to be predicted where it stands; the row's last token is left out.

    Source: Devlin et al. 2018, arXiv:1810.04805, section 3.1 and appendix A.1. Padding is a document of its own, so that
    no token sees it.
    """
    inputs = tokens[:, :-1].copy()
    targets = np.full_like(inputs, IGNORED)
    used = np.minimum(lengths, inputs.shape[1])
    which, how, other = (uniform(keys, inputs.shape[1], stream) for stream in (_WHICH, _HOW, _ID))
    for row, length in enumerate(used):
        chosen = np.argsort(which[row, :length], kind="stable")[: _chosen(int(length), objective)]
        targets[row, chosen] = inputs[row, chosen]
    replaced = np.where(how < MASKED + REPLACED, (other * vocab_size).astype(np.int64), inputs)
    hidden = np.where(how < MASKED, objective.mask_ids[0], replaced)
    inputs = np.where(targets != IGNORED, hidden, inputs)
    padding = np.arange(inputs.shape[1]) >= used[:, None]
    documents = torch.from_numpy(padding.astype(np.int32)) if padding.any() else None
    return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), documents, causal=False)


def mlm_targets(lengths: NDArray[np.int64], width: int, objective: Objective) -> int:
    """How many targets rows of ``width`` tokens have."""
    return sum(_chosen(min(length, width - 1), objective) for length in lengths.tolist())


def _chosen(length: int, objective: Objective) -> int:
    return min(length, max(1, round(objective.rate * length)))
