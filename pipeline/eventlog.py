"""The driver's diary, ``logs/driver.jsonl``: what happened when, one JSON line an event, over all commands of a run."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from pipeline.errors import StoppedError, UserError
from pipeline.storage import Storage

LOG_FILE = "logs/driver.jsonl"
UPLOAD_EVERY_S = 10.0
"""Object stores cannot append: there the whole file is put anew, at most this often and at the end."""


class EventLog:
    """Appends events. Only the holder of the run's lease may write."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._handle: int | None = None
        self._waiting = b""
        self._uploaded = time.monotonic()
        self._complained = False
        if storage.is_local:
            path = storage.local_path(LOG_FILE)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        elif storage.exists(LOG_FILE):
            self._waiting = storage.read_bytes(LOG_FILE)

    def write(self, event: str, **facts: Any) -> None:
        """Note an event with its facts (plain data)."""
        line = orjson.dumps({"time": round(time.time(), 3), "event": event, **facts}, default=str) + b"\n"
        self._waiting += line
        if self._handle is not None or time.monotonic() - self._uploaded > UPLOAD_EVERY_S:
            self._put()

    def close(self) -> None:
        """Write what waits."""
        self._put()
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _put(self) -> None:
        """Bring lines to disk. A diary that cannot be written (a full disk) must not end a run or hide its error."""
        try:
            if self._handle is None:
                self._storage.write_bytes(LOG_FILE, self._waiting)
                self._uploaded = time.monotonic()
            elif self._waiting:
                os.write(self._handle, self._waiting)  # whole lines at once: a reader never sees half of one
                self._waiting = b""
        except OSError as error:
            if not self._complained:
                self._complained = True
                print(f"{LOG_FILE} cannot be written: {error}", file=sys.stderr)


@contextlib.contextmanager
def logged(storage: Storage, settings: Mapping[str, Any]) -> Iterator[EventLog]:
    """A log for one command: notes that it began, and how it ended."""
    log = EventLog(storage)
    log.write("started", host=socket.gethostname(), pid=os.getpid(), settings=dict(settings))
    try:
        yield log
    except BaseException as error:
        log.write("ended", outcome=_outcome(error), error=f"{type(error).__name__}: {error}")
        raise
    else:
        log.write("ended", outcome="done")
    finally:
        log.close()


def _outcome(error: BaseException) -> str:
    match error:
        case StoppedError():
            return "stopped"
        case UserError():
            return "refused"
        case _:
            return "failed"


def events(storage: Storage, *, start: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Events from byte ``start`` of the log on, and where the next ones will begin; a half-written line waits."""
    if not storage.exists(LOG_FILE):
        return [], start
    data = storage.read_bytes(LOG_FILE)[start:]
    whole = data[: data.rfind(b"\n") + 1]
    return [orjson.loads(line) for line in whole.splitlines()], start + len(whole)
