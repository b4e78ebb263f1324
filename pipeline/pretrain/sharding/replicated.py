"""Gradients of a model of which every rank has the whole, added up in buckets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

BUCKET_BYTES = 64 * 2**20
"""Of one message. NVLink wants tens of megabytes, and a 124M model is still cut into eight (reasoned, not measured)."""


class ReplicatedGradients:
    """Fulfils ``Gradients``. Each gradient is a view into a bucket; buckets hold the parameters from the last one on.

    Buckets are sent in their order, whatever order gradients come in: ranks must agree on it, and a parameter that a
    micro-batch did not use never reports. What was not sent during the backward pass, ``add_up`` sends. As written, and
    compiled by block, a model reports gradients block by block, and messages travel while the backward pass goes on.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, bucket_bytes: int = BUCKET_BYTES) -> None:
        """bucket_bytes: a bucket is closed by the parameter that fills it; sent at once."""
        self._views: list[tuple[nn.Parameter, Tensor]] = []
        self._buckets: list[Tensor] = []
        self._sizes: list[int] = []
        self._missing: list[int] = []
        self._sending: list[dist.Work] = []
        self._num_sent = 0
        self._overlap = False
        for parameters_of_bucket in _cut(list(parameters)[::-1], bucket_bytes):
            self._add_bucket(parameters_of_bucket)
        self.clear()

    def clear(self) -> None:
        """See ``Gradients``."""
        self._missing = list(self._sizes)
        self._num_sent = 0
        for bucket in self._buckets:
            bucket.zero_()
        for parameter, view in self._views:
            if parameter.grad is not view:  # an optimizer's zero_grad, say, has let go of it
                parameter.grad = view

    @contextmanager
    def part(self, *, last: bool) -> Iterator[None]:
        """See ``Gradients``."""
        self._overlap = last and dist.is_initialized()
        try:
            yield
        finally:
            self._overlap = False

    def add_up(self, sums: Tensor) -> Tensor:
        """See ``Gradients``."""
        if not dist.is_initialized():
            return sums
        while self._num_sent < len(self._buckets):
            self._send()
        dist.all_reduce(sums)
        for work in self._sending:
            work.wait()
        self._sending.clear()
        return sums

    def norm(self) -> Tensor:
        """See ``Gradients``."""
        lengths = [torch.linalg.vector_norm(bucket, dtype=torch.float32) for bucket in self._buckets]
        return lengths[0] if len(lengths) == 1 else torch.linalg.vector_norm(torch.stack(lengths))

    def scale_(self, factor: Tensor | float) -> None:
        """See ``Gradients``."""
        for bucket in self._buckets:
            bucket.mul_(factor)

    def _add_bucket(self, parameters: Sequence[nn.Parameter]) -> None:
        number, first = len(self._buckets), parameters[0]
        bucket = torch.zeros(sum(p.numel() for p in parameters), dtype=first.dtype, device=first.device)
        self._buckets.append(bucket)
        self._sizes.append(len(parameters))
        position = 0
        for parameter in parameters:
            view = bucket[position : position + parameter.numel()].view_as(parameter)
            self._views.append((parameter, view))
            parameter.register_post_accumulate_grad_hook(lambda _, number=number: self._arrived(number))
            position += parameter.numel()

    def _arrived(self, number: int) -> None:
        """A parameter of that bucket has its gradient of this pass."""
        if not self._overlap:
            return
        self._missing[number] -= 1
        while self._num_sent < len(self._buckets) and not self._missing[self._num_sent]:
            self._send()

    def _send(self) -> None:
        work = dist.all_reduce(self._buckets[self._num_sent], async_op=True)
        if work is not None:
            self._sending.append(work)
        self._num_sent += 1


def _cut(parameters: Sequence[nn.Parameter], bucket_bytes: int) -> Iterator[list[nn.Parameter]]:
    """Runs of parameters of one type, each ended by the parameter with which it has that many bytes."""
    run: list[nn.Parameter] = []
    num_bytes = 0
    for parameter in parameters:
        if run and (num_bytes >= bucket_bytes or parameter.dtype != run[0].dtype):
            yield run
            run, num_bytes = [], 0
        run.append(parameter)
        num_bytes += parameter.numel() * parameter.element_size()
    if run:
        yield run
