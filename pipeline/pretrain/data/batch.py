"""What a model is given at once: inputs, what is to be predicted, and who sees whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.pretrain.data.cuts import Cuts, Cutter

IGNORED = -100
"""A target that is not to be predicted: what torch's ``cross_entropy`` leaves out."""


@dataclass(frozen=True)
class Batch:
    """B rows of T positions.

    inputs, targets: int64 (B, T); a target is ``IGNORED`` where nothing is to be predicted. documents: int32 (B, T), the
    number of the document that each input position belongs to, never falling along a row: a position sees its own
    document only; None: no such mask. prefix: int32 (B,), how many positions at a row's start see each other both ways;
    None: none do. causal: False where all positions see each other. cuts: where ``documents`` begin and end; None: not looked
    up, or there are none.
    """

    inputs: Tensor
    targets: Tensor
    documents: Tensor | None = None
    prefix: Tensor | None = None
    causal: bool = True
    cuts: Cuts | None = None

    @property
    def num_targets(self) -> int:
        """Targets that are to be predicted. Waits for the device: ask while the batch is on the CPU."""
        return int((self.targets != IGNORED).sum())

    def to(self, device: torch.device) -> Batch:
        """The same on a device; to a GPU through pinned memory, without waiting for the copies."""

        def moved(tensor: Tensor) -> Tensor:
            if device.type == "cuda" and tensor.device.type == "cpu":
                return tensor.contiguous().pin_memory().to(device, non_blocking=True)
            return tensor.to(device)

        cuts = None if self.cuts is None else replace(self.cuts, ends=moved(self.cuts.ends))
        return replace(self._with(moved), cuts=cuts)

    def cut(self, cutter: Cutter) -> Batch:
        """The same with ``cuts``, where there are documents that a kernel could take as they are: none with a prefix."""
        if self.documents is None or self.prefix is not None:
            return self
        return replace(self, cuts=cutter.cut(self.documents))

    def split(self, rows: int) -> Iterator[Batch]:
        """Batches of at most that many rows, in order."""
        for first in range(0, len(self.inputs), rows):
            yield self.rows(slice(first, first + rows))

    def rows(self, part: slice) -> Batch:
        """Some of the rows, not cut."""
        return self._with(lambda tensor: tensor[part])

    def _with(self, change: Callable[[Tensor], Tensor]) -> Batch:
        documents, prefix = (None if one is None else change(one) for one in (self.documents, self.prefix))
        return Batch(change(self.inputs), change(self.targets), documents, prefix, self.causal)


def next_token_batch(
    tokens: NDArray[np.int64],
    lengths: NDArray[np.int64] | None = None,
    breaks: NDArray[np.bool_] | None = None,
    *,
    eos_id: int,
    document_mask: bool,
) -> Batch:
    """Rows in which each token is predicted from those before it.

    tokens: int64 (N, T + 1). lengths: int64 (N,), tokens of each row; what is behind is padding and never a target. None:
    no padding. breaks: bool (N, T + 1), tokens that do not follow the one before them in any document, so are no targets;
    None: there are none. document_mask: number the documents. A document begins at the EOS before it, which is its begin
    mark as in ``evaluate``, or at a break; padding belongs to the last one.
    """
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    number = np.arange(inputs.shape[1])
    if lengths is not None or breaks is not None:
        targets = targets.copy()
    if lengths is not None:
        targets[number >= (lengths - 1)[:, None]] = IGNORED
    if breaks is not None:
        targets[breaks[:, 1:]] = IGNORED
    documents = None
    if document_mask:
        begins = inputs == eos_id
        if lengths is not None:
            begins &= number < lengths[:, None]
        if breaks is not None:
            begins |= breaks[:, :-1]
        documents = torch.from_numpy(np.cumsum(begins, axis=1, dtype=np.int32))
    return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), documents)
