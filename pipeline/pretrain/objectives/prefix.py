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
    prefix = _prefixes(lengths, keys)
    targets[~_predicted(lengths, prefix, inputs.shape[1])] = IGNORED
    return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), prefix=torch.from_numpy(prefix.astype(np.int32)))


def prefix_targets(
    lengths: NDArray[np.int64], keys: NDArray[np.uint64], width: int, breaks: NDArray[np.bool_] | None
) -> int:
    """How many targets rows of ``width`` tokens have without those that are breaks, see ``RowSource.breaks``."""
    predicted = _predicted(lengths, _prefixes(lengths, keys), width - 1)
    if breaks is not None:
        predicted &= ~breaks[:, 1:]
    return int(predicted.sum())


def _prefixes(lengths: NDArray[np.int64], keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    return 1 + np.floor(uniform(keys, 1, 0)[:, 0] * np.maximum(lengths - 1, 1)).astype(np.int64)


def _predicted(lengths: NDArray[np.int64], prefix: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Position p predicts token p + 1, so the first that predicts what it does not see is prefix - 1."""
    number = np.arange(count)
    return (number >= prefix[:, None] - 1) & (number < lengths[:, None] - 1)
