"""Where the documents of a micro-batch begin and end, found on the host, in sizes that hardly ever change."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_TOKENS_PER_DOCUMENT = 256
"""Few documents are shorter on average: the first micro-batch then has room for what the others will bring."""


@dataclass(frozen=True)
class Cuts:
    """The documents of all rows, laid end to end.

    ends: int32 (N + 1,), 0, then where each ends: what kernels call cu_seqlens. The last ones may be empty. longest: no document
    has more positions.
    """

    ends: Tensor
    longest: int


class Cutter:
    """Cuts micro-batches of one shape in one size, so that code compiled for the first takes the others too.

    The documents are filled up with empty ones to a power of two that never shrinks, and the longest is rounded up to one:
    compiled code meets a new size a few times in a training at most. A kernel starts work for ``longest`` positions of N
    documents, and FlashAttention's backward pass keeps a float32 block of 128 positions for each: that is why N is not
    simply the number of tokens.
    """

    def __init__(self) -> None:
        self._count, self._longest = 0, 0

    def cut(self, documents: Tensor) -> Cuts:
        """Where they change.

        documents: int (B, T) on the CPU, the number of each position's document; a row begins a new one.
        """
        length = documents.shape[1]
        begins = torch.ones(documents.shape, dtype=torch.bool)
        torch.ne(documents[:, 1:], documents[:, :-1], out=begins[:, 1:])
        found = begins.flatten().nonzero().squeeze(1)
        least = max(len(found), documents.numel() // _TOKENS_PER_DOCUMENT)
        self._count = max(self._count, _power_of_two(least))
        ends = torch.full((self._count + 1,), documents.numel(), dtype=torch.int32)
        ends[: len(found)] = found
        self._longest = max(self._longest, _power_of_two(int(ends.diff().max())))
        return Cuts(ends, min(self._longest, length))


def _power_of_two(least: int) -> int:
    return 1 << max(0, least - 1).bit_length()
