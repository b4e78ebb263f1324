"""What ties a rank to its driver: it runs the same code, and does not outlive it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pipeline

_INPUT = 0


def import_path() -> str:
    """``PYTHONPATH`` of a rank: what this process was given, after the folder our packages were imported from."""
    return os.pathsep.join(filter(None, (str(Path(pipeline.__file__).parents[1]), os.environ.get("PYTHONPATH"))))


def exit_with_parent() -> None:
    """From now on, end this process when standard input does: a pipe that only the parent holds open.

    A rank whose driver was killed must not go on writing beside the ranks of the next driver.
    """
    threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    while os.read(_INPUT, 1):  # not sys.stdin: Python would wait for its lock when it ends
        pass
    os._exit(1)
