"""The few collective operations training needs; without a process group they do nothing, and one rank is all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


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
