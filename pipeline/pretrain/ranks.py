"""The few collective operations training needs; without a process group they do nothing, and one rank is all."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")
_PATIENCE_S = 10.0
"""For ranks that stop to meet; within the 25 s that a launcher leaves them for a last checkpoint."""


@dataclass(frozen=True)
class Place:
    """Which of how many ranks this process is, and the device it trains on."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


def current_place(device: str) -> Place:
    """The place of this process in the process group, if there is one."""
    if not dist.is_initialized():
        return Place(device=torch.device(device))
    return Place(dist.get_rank(), dist.get_world_size(), torch.device(device))


def add_up(tensor: Tensor) -> Tensor:
    """Sum over ranks, in place. With the same number of ranks the order of addition, hence the bits, are the same."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def from_first(value: T) -> T:
    """What rank 0 has."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


def wait_for_all() -> None:
    """Returns when every rank has come here."""
    if dist.is_initialized():
        dist.barrier()


class Agreement:
    """A question that ranks ask themselves at every step, answered for all alike, one step late.

    The answer travels over the network while the step runs, and by gloo: neither the host nor the GPU waits for it.
    """

    def __init__(self) -> None:
        """Every rank makes one, at the same place."""
        self._group = dist.new_group(backend="gloo") if dist.is_initialized() else None
        # Of its own, since a vote of ``any`` may be under way on some ranks only.
        self._at = dist.new_group(backend="gloo") if dist.is_initialized() else None
        self._asked: tuple[Tensor, dist.Work | None] | None = None

    def any(self, mine: bool) -> bool:
        """Whether any rank said yes when this was last called; without ranks, ``mine``."""
        if self._group is None:
            return mine
        before = self._answer()
        votes = torch.tensor([int(mine)])
        self._asked = votes, dist.all_reduce(votes, group=self._group, async_op=True)
        return before

    def all_at(self, step: int, patience_s: float = _PATIENCE_S) -> bool:
        """Whether every rank asks this at the same step; False where one does not come. Ask it last, before giving up.

        A rank that goes on with a step waits in that step's collectives for those that do not, and cannot come here.
        """
        if self._at is None:
            return True
        ends = torch.tensor([step, -step])
        try:
            work = dist.all_reduce(ends, dist.ReduceOp.MAX, group=self._at, async_op=True)
            if work is not None:
                work.wait(timedelta(seconds=patience_s))
        except RuntimeError:  # gloo's word for out of time, and for a rank that is gone
            return False
        highest, lowest_negated = ends.tolist()
        return highest == -lowest_negated

    def _answer(self) -> bool:
        if self._asked is None:
            return False
        votes, work = self._asked
        if work is not None:
            work.wait()
        return bool(votes.item())
