"""Tells how training goes while the driver waits for it: the last lines of a growing ``metrics.jsonl``."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

EVERY_S = 5.0


class MetricsWatch:
    """While entered, reads new metrics every few seconds and gives one line about them to ``note``."""

    def __init__(self, path: Path, name: str, note: Callable[[str], None]) -> None:
        self._path = path
        self._name = name
        self._note = note
        self._last_step = -1
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True, name="metrics")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _loop(self) -> None:
        while not self._stop.wait(EVERY_S):
            self._look()

    def _look(self) -> None:
        if not self._path.exists():
            return
        # A killed trainer may have left half a line; the next one cuts it off.
        lines = self._path.read_bytes().rpartition(b"\n")[0].splitlines()
        steps = [row for row in map(orjson.loads, lines[-50:]) if "loss" in row and "evaluation" not in row]
        if not steps or steps[-1]["step"] == self._last_step:
            return
        last = steps[-1]
        self._last_step = last["step"]
        self._note(
            f"{self._name}: step {last['step']}, loss {last['loss']:.3f}, {last.get('tokens_per_s', 0):,.0f} tokens/s"
        )
