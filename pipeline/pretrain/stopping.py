"""How a driver asks ranks to stop: by an event within its process, and by a file in the training's home elsewhere."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

ASKED = threading.Event()
"""Set by the driver's main thread; ranks without Ray look at it between steps. Cleared when a training begins."""
STOP_FILE = "stop"
"""In the training's home, for ranks on other machines. Who begins a training takes it away."""
SAVE_S = 25.0
"""For a last checkpoint of ranks that are stopped; after that they are killed."""
_LOOK_EVERY_S = 1.0


@contextlib.contextmanager
def asked_by_file(home: Path) -> Iterator[None]:
    """``ASKED`` is set in this process, a rank, once the file is there."""
    ASKED.clear()
    done = threading.Event()

    def watch() -> None:
        while not (home / STOP_FILE).exists():
            if done.wait(_LOOK_EVERY_S):
                return
        ASKED.set()

    thread = threading.Thread(target=watch, daemon=True, name="stop")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
