"""A task that brings its own processes (training), done in a thread of the driver, so that the driver still hears."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace

from pipeline.backends.backend import Backend, Finished
from pipeline.commit import Commit
from pipeline.errors import RunFailedError, StoppedError, UserError
from pipeline.pretrain.stopping import ASKED, SAVE_S, STOP_FILE
from pipeline.storage import Storage
from pipeline.watch import MetricsWatch
from pipeline.worker import Assignment, TaskSpec, execute

DRAIN_S = 30.0
"""How long a stopping driver waits for running tasks; what has not ended is done again next time."""


class Gang:
    """One such task, from its start to its end.

    spec: with the time the command began. beside: whether the pool may work at the same time.

    Raises:
        UserError: the run lies where the task's processes cannot write files.
    """

    def __init__(self, spec: TaskSpec, storage: Storage, note: Callable[[str], None], *, beside: bool = False) -> None:
        if not storage.is_local:
            msg = (
                f"step {spec.node!r} trains, so its run must lie on a file system all nodes share, not at {storage.uri}"
            )
            raise UserError(msg)
        self.name, self.beside = spec.node, beside
        self.home = storage.local_path(spec.dataset)
        self.home.mkdir(parents=True, exist_ok=True)
        self._assignment = Assignment((replace(spec, home=str(self.home)),))
        self._storage, self._note = storage, note
        self._future: Future[Sequence[Commit]] = Future()
        self._open = contextlib.ExitStack()

    def start(self) -> None:
        """Begin; returns at once."""
        ASKED.clear()
        (self.home / STOP_FILE).unlink(missing_ok=True)  # of a driver that was killed while it stopped
        self._note(f"{self.name}: training in {self.home}")
        self._open.enter_context(MetricsWatch(self.home / "metrics.jsonl", self.name, self._note))
        # Not of an executor: the interpreter would wait for it at its end, also where the training never ends.
        threading.Thread(target=self._work, daemon=True, name=self.name).start()

    def wait(self, timeout_s: float) -> Finished | None:
        """What it came to; None where it goes on.

        Raises:
            StoppedError: somebody else than ``end`` stopped it.
        """
        if not wait([self._future], timeout_s).done:
            return None
        self._open.close()
        match self._future.exception():
            case None:
                return Finished(self._assignment, self._future.result())
            case StoppedError() as error:
                raise error
            case UserError() | RunFailedError() as error:
                return Finished(self._assignment, error=error)
            case error:  # training again would meet it again
                failed = RunFailedError(f"{self.name} failed: {type(error).__name__}: {error}")
                failed.__cause__ = error
                return Finished(self._assignment, error=failed)

    def ask(self) -> None:
        """Ask its processes, wherever they are, to end with a checkpoint."""
        ASKED.set()
        (self.home / STOP_FILE).touch()

    def end(self, backend: Backend) -> None:
        """Let its processes leave a last checkpoint, then take them away, upon which the thread ends. Checkpoints stay."""
        self.ask()
        wait([self._future], SAVE_S)
        backend.close()
        if wait([self._future], DRAIN_S).done:
            ASKED.clear()
        (self.home / STOP_FILE).unlink(missing_ok=True)
        self._open.close()

    def _work(self) -> None:
        try:
            self._future.set_result(execute(self._assignment, self._storage))
        except BaseException as error:  # noqa: BLE001  # raised in the driver's thread
            self._future.set_exception(error)
