"""``sluice stop``: ask the driver to end, and wait until it has."""

from __future__ import annotations

import time

import typer

from pipeline.dataset import Run
from pipeline.errors import RunFailedError
from pipeline.holder import holder
from pipeline.session import STOP_FILE

_POLL_S = 0.25


def stop_run(uri: str, timeout_s: float) -> None:
    """Write the stop file and wait for the lease to be free.

    Raises:
        UserError: there is no run.
        RunFailedError: the driver still holds the run after ``timeout_s``; it will stop once its running shards end.
    """
    storage = Run.open(uri).storage
    if holder(storage) is None:
        typer.echo("no driver is at work")
        return
    deadline = time.monotonic() + timeout_s
    while (driver := holder(storage)) is not None:
        if time.monotonic() > deadline:
            msg = (
                f"the driver (host {driver['host']}, process {driver['pid']}) still works after {timeout_s:g} s; it stops "
                f"when what it runs now is done: wait with `sluice stop {uri} --timeout 600`, or end that process"
            )
            raise RunFailedError(msg)
        if not storage.exists(STOP_FILE):  # a driver that is just starting clears the file away
            storage.write_bytes(STOP_FILE, b"")
        time.sleep(_POLL_S)
    # A driver that was killed meanwhile could not take it away, and the next one must not stop at once.
    storage.delete(STOP_FILE)
    typer.echo("stopped; the same command goes on from here")
