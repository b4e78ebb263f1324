"""Gradients of a model that FSDP2 has split: each rank holds, adds up and measures its own piece of each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, Shard


class ShardedGradients:
    """Fulfils ``Gradients``.

    Every part reduces its gradients into the pieces: keeping them whole until the last would take 4 bytes a parameter on
    each rank, which is what splitting is to save. Groups of ``hsdp`` add theirs up only after the last.
    """

    def __init__(self, model: FSDPModule) -> None:
        """model: what ``distribute`` gave."""
        if not isinstance(model, nn.Module):
            msg = f"{type(model).__name__} is no module"
            raise TypeError(msg)
        self._model: FSDPModule = model
        self._parameters = list(model.parameters())
        self._group = _shard_group(self._parameters[0])

    def clear(self) -> None:
        """See ``Gradients``."""
        for parameter in self._parameters:
            parameter.grad = None

    @contextmanager
    def part(self, *, last: bool) -> Iterator[None]:
        """See ``Gradients``."""
        self._model.set_requires_all_reduce(last)
        self._model.set_is_last_backward(last)
        yield

    def add_up(self, sums: Tensor) -> Tensor:
        """See ``Gradients``. FSDP has finished the gradients by the end of the backward pass."""
        dist.all_reduce(sums)
        return sums

    def norm(self) -> Tensor:
        """See ``Gradients``."""
        pieces = self._pieces()
        device = self._parameters[0].device
        squares = torch.zeros((), dtype=torch.float32, device=device)
        if pieces:
            squares = torch.stack([torch.linalg.vector_norm(p, dtype=torch.float32) for p in pieces]).square().sum()
        dist.all_reduce(squares, group=self._group)
        return squares.sqrt()

    def scale_(self, factor: Tensor | float) -> None:
        """See ``Gradients``."""
        for piece in self._pieces():
            piece.mul_(factor)

    def _pieces(self) -> list[Tensor]:
        grads = (parameter.grad for parameter in self._parameters)
        return [grad.to_local() if isinstance(grad, DTensor) else grad for grad in grads if grad is not None]


def _shard_group(parameter: nn.Parameter) -> dist.ProcessGroup:
    """The ranks among which a parameter is split."""
    if not isinstance(parameter, DTensor):
        msg = "the model was not split: distribute() it first"
        raise TypeError(msg)
    split = [dim for dim, placement in enumerate(parameter.placements) if isinstance(placement, Shard)]
    return parameter.device_mesh.get_group(split[0])
