"""Who drives a run, seen from outside."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Mapping
from typing import Any

import orjson

from pipeline.lease import EXPIRY_S
from pipeline.storage import Storage

LOCK_FILE = "run.lock"


def holder(storage: Storage) -> Mapping[str, Any] | None:
    """Host and process of the driver that holds a run's lease; None where nobody does."""
    return _of_lock(storage) if storage.is_local else _of_records(storage)


def _of_lock(storage: Storage) -> Mapping[str, Any] | None:
    path = storage.local_path(LOCK_FILE)
    if not path.exists():
        return None
    handle = os.open(path, os.O_RDONLY)
    try:
        # Shared, so that two who look do not take each other for the driver; let go at once.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        written = os.read(handle, 1000)
        return orjson.loads(written) if written else {"host": "unknown", "pid": 0}
    finally:
        os.close(handle)
    return None


def _of_records(storage: Storage) -> Mapping[str, Any] | None:
    names = sorted(storage.list("lease"))
    if not names:
        return None
    try:
        last: Mapping[str, Any] = orjson.loads(storage.read_bytes(names[-1]))
    except FileNotFoundError:  # let go between the listing and the reading
        return None
    return last if time.time() - last["renewed"] < EXPIRY_S else None
