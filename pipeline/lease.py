"""One driver a run: a lease that dies with its process, or with its heartbeat where the run lies elsewhere."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from pipeline.errors import UserError
from pipeline.storage import Storage

HEARTBEAT_S = 10.0
EXPIRY_S = 60.0
"""A lease on an object store that was not renewed for this long has no holder any more."""


class Lease:
    """Held while a driver works on a run.

    On a local disk the kernel's file lock decides, so that a killed driver's lease is free at once; elsewhere a
    numbered record is created if absent and renewed, and a newer number may follow once it has expired.

    Raises (on entering):
        UserError: another driver holds the run.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._me = {"host": socket.gethostname(), "pid": os.getpid(), "holder": uuid.uuid4().hex}
        self._handle: int | None = None
        self._name: str | None = None
        self._stop = threading.Event()
        self._beat: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._storage.is_local:
            self._lock(self._storage.local_path("run.lock"))
        else:
            self._claim()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._beat is not None:
            self._beat.join()
        if self._handle is not None:
            os.close(self._handle)
        if self._name is not None:
            self._storage.delete(self._name)

    def _lock(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _take(handle)
        except OSError as error:
            holder = os.read(handle, 1000).decode(errors="replace").strip() or "an unknown process"
            os.close(handle)
            msg = (
                f"another driver holds this run: {holder} ({path}); wait for it, stop it with `sluice stop "
                f"{path.parent}`, or give this run another --out"
            )
            raise UserError(msg) from error
        os.ftruncate(handle, 0)
        os.write(handle, orjson.dumps(self._me))
        self._handle = handle

    def _claim(self) -> None:
        names = sorted(self._storage.list("lease"))
        if names:
            last = orjson.loads(self._storage.read_bytes(names[-1]))
            if time.time() - last["renewed"] < EXPIRY_S:
                msg = f"another driver holds this run: host {last['host']} pid {last['pid']} ({names[-1]}); wait for it"
                raise UserError(msg)
        number = int(names[-1].rpartition("/")[2].partition(".")[0]) + 1 if names else 0
        name = f"lease/{number:08d}.json"
        if not self._storage.create_if_absent(name, self._record()):
            msg = f"another driver took this run at the same moment ({name}); wait for it"
            raise UserError(msg)
        self._name = name
        self._beat = threading.Thread(target=self._renew, daemon=True, name="lease")
        self._beat.start()

    def _record(self) -> bytes:
        return orjson.dumps({**self._me, "renewed": time.time()})

    def _renew(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            if self._name is not None:
                self._storage.write_bytes(self._name, self._record())


def _take(handle: int) -> None:
    """Lock a file. `sluice status` holds a shared lock for an instant, so one refusal does not mean a driver."""
    for pause_s in (0.02, 0.1, 0.2):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(pause_s)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
