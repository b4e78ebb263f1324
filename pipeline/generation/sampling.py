"""Which token is drawn: a function of the seed, the prompt, the sample's number and the position, and of nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.pretrain.data.order import mix

_DOUBLE_BITS = 53


def row_key(prompt: Sequence[int], sample: int, seed: int) -> int:
    """64 bits by which a row draws: the same prompt draws the same, whatever stands beside it in a batch."""
    content = np.array([seed, sample, *prompt], np.uint64).astype("<u8").tobytes()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def uniforms(keys: NDArray[np.uint64], position: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each key at a position (how many tokens were drawn before); (B,) -> (B,)."""
    bits = mix(keys ^ mix(np.array([position], np.uint64)))
    return (bits >> np.uint64(64 - _DOUBLE_BITS)).astype(np.float64) / (1 << _DOUBLE_BITS)


def draw(logits: Tensor, uniform: NDArray[np.float64]) -> Tensor:
    """A token of each row by its probability: the first whose cumulated probability lies above the row's number.

    logits: float64 (B, V), at least one finite a row. uniform: float64 (B,) in [0, 1). Returns int64 (B,).
    """
    cumulated = logits.softmax(1).cumsum(1)
    wanted = torch.from_numpy(uniform).to(logits.device)[:, None] * cumulated[:, -1:]
    found = torch.searchsorted(cumulated, wanted, right=True)
    # u * total may round up to the total itself: then the last token that has any probability.
    last = (cumulated < cumulated[:, -1:]).sum(1, keepdim=True)
    return torch.minimum(found, last)[:, 0]
