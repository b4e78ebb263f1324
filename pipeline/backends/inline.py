"""Runs assignments in this process, one at a time: tests, the debugger, and batch jobs without Ray."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.backends.backend import Finished
from pipeline.storage import Storage
from pipeline.worker import Assignment, execute


class InlineBackend:
    """One slot; ``submit`` does the work."""

    own_processes = False

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._finished: list[Finished] = []

    def free_slots(self) -> int:
        """One, until the result is taken."""
        return 0 if self._finished else 1

    def submit(self, assignment: Assignment) -> None:
        """Do it now."""
        try:
            self._finished.append(Finished(assignment, execute(assignment, self._storage)))
        except Exception as error:  # noqa: BLE001  # the driver decides what an error means
            self._finished.append(Finished(assignment, error=error))

    def wait(self, timeout_s: float) -> Sequence[Finished]:
        """What was done."""
        del timeout_s
        finished, self._finished = self._finished, []
        return finished

    def reserve(self, cpus: int, gpus: int) -> None:
        """The training is threads or processes beside this one; the system shares the cores out."""

    def release(self) -> None:
        """Nothing is held."""

    def close(self) -> None:
        """Nothing is held."""
