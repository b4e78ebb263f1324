"""The few collective operations training needs; without a process group they do nothing, and one rank is all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")
COLLECTIVE_TIMEOUT = timedelta(minutes=10)
"""For which a rank waits for another in one operation: compiling a large model may take one rank minutes more."""
_PATIENCE_S = 10.0
"""For ranks that stop to meet; within the 25 s that a launcher leaves them for a last checkpoint."""


@dataclass(frozen=True)
class Place:
    """Which of how many ranks this process is, and the device it trains on."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


class RanksApartError(RuntimeError):
    """Ranks waited for each other in vain: one hangs, or they do not do the same."""


def join(device: str, **how: Any) -> None:
    """Make the process group of a job's device, of which the others are made.

    how: where the ranks meet, arguments of ``torch.distributed.init_process_group``.

    Raises:
        RanksApartError: not all ranks came in time.
    """
    on_gpu = device == "cuda"
    with told_apart():
        dist.init_process_group(
            "nccl" if on_gpu else "gloo",
            timeout=COLLECTIVE_TIMEOUT,
            device_id=torch.device("cuda", torch.cuda.current_device()) if on_gpu else None,
            **how,
        )


@contextlib.contextmanager
def told_apart() -> Iterator[None]:
    """Say what an operation that ran out of time means. NCCL ends the process itself, with words of its own.

    Raises:
        RanksApartError: instead of torch's error.
    """
    try:
        yield
    except RuntimeError as error:
        words = str(error)
        if "timed out" not in words.lower() and "timeout" not in words.lower():
            raise
        msg = (
            f"a rank waited {COLLECTIVE_TIMEOUT.total_seconds():g} s for the others: one hangs (its disk, its GPU, the "
            f"network) or has died, or they do not do the same, which is a bug. A next launch goes on from the last "
            f"checkpoint. torch says: {words}"
        )
        raise RanksApartError(msg) from error


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
        self._group = _gloo()
        self._at = _gloo()  # of its own, since a vote of ``any`` may be under way on some ranks only
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


def _gloo() -> dist.ProcessGroup | None:
    """Another group of all ranks, for what no GPU need wait for."""
    if not dist.is_initialized():
        return None
    made = dist.new_group(backend="gloo", timeout=COLLECTIVE_TIMEOUT)
    return made if isinstance(made, dist.ProcessGroup) else None  # torch says -1 to a rank that is not in a group
