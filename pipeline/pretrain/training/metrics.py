"""The learning curve on disk: one JSON line a step, evaluations as lines of their own."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pipeline.errors import UserError


class MetricsFile:
    """``metrics.jsonl``, cut back to the step a run goes on from, so that each step stands in it once."""

    def __init__(self, path: Path, *, step: int) -> None:
        """step: the last one that stays.

        Raises:
            UserError: the file lacks a step before it; the curve could not be continued.
        """
        # Before the first step stands what the model to start from was worth, which is then told anew.
        lines = [line for line in read_metrics(path) if line["step"] <= step and step]
        known = sum("evaluation" not in line for line in lines)
        if known != step:
            msg = f"{path} holds {known} of the {step} steps before the checkpoint: remove the checkpoints, start over"
            raise UserError(msg)
        fresh = path.with_name(path.name + ".new")
        self._file = fresh.open("w", encoding="utf-8")
        for line in lines:
            self.write(line)
        self.sync()
        fresh.replace(path)

    def write(self, line: Mapping[str, Any]) -> None:
        """Append a line; a reader sees it at once."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Bring it to disk: a checkpoint must never know more than the curve."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Bring it to disk and end."""
        self.sync()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Lines of a metrics file; a last one that was cut off by a crash is left out. Empty where there is no file."""
    if not path.exists():
        return []
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    return [json.loads(line) for line in whole.splitlines() if line]
