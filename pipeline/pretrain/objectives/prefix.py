"""Prefix language model: a row's first tokens see each other both ways, the rest is predicted."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.pretrain.data.batch import IGNORED, Batch
from pipeline.pretrain.objectives.chance import uniform


def prefix_batch(tokens: NDArray[np.int64], lengths: NDArray[np.int64], keys: NDArray[np.uint64]) -> Batch:
    """The prefix has 1 to L - 1 of a row's L tokens, each number equally likely; its tokens are no targets.

    Source: Raffel et al. 2019, arXiv:1910.10683, section 3.2.1; Liu et al. 2018, arXiv:1801.10198.
    """
    inputs, targets = tokens[:, :-1], tokens[:, 1:].copy()
    prefix = 1 + np.floor(uniform(keys, 1, 0)[:, 0] * np.maximum(lengths - 1, 1)).astype(np.int64)
    number = np.arange(inputs.shape[1])
    # Position p predicts token p + 1, so the first that predicts what it does not see is prefix - 1.
    targets[(number < prefix[:, None] - 1) | (number >= lengths[:, None] - 1)] = IGNORED
    return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), prefix=torch.from_numpy(prefix.astype(np.int32)))
