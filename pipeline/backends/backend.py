"""What the driver asks of whoever runs its tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.commit import Commit
from pipeline.worker import Assignment


@dataclass(frozen=True)
class Finished:
    """An assignment that ended: with its commits, with an error, or with the death of its process."""

    assignment: Assignment
    commits: Sequence[Commit] = ()
    error: BaseException | None = None
    died: bool = False


class Backend(Protocol):
    """Runs assignments. It never retries: the driver owns attempts.

    own_processes: whether they run in processes that may die without the driver's.
    """

    own_processes: bool

    def free_slots(self) -> int:
        """How many assignments it takes right now."""
        ...

    def submit(self, assignment: Assignment) -> None:
        """Start one."""
        ...

    def wait(self, timeout_s: float) -> Sequence[Finished]:
        """What has ended since the last call; waits up to ``timeout_s`` for the first."""
        ...

    def reserve(self, cpus: int, gpus: int) -> None:
        """Leave so much alone from now on, for a training that runs beside.

        Raises:
            UserError: that would leave no worker, or there is not so much.
        """
        ...

    def release(self) -> None:
        """Give the resources back until the next submit (training takes them)."""
        ...

    def close(self) -> None:
        """End; nothing is left behind."""
        ...
