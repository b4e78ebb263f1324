"""The curves as TensorBoard shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import UserError


class Board:
    """Event files of a folder; what a run goes on from hides what was written of later steps."""

    def __init__(self, folder: Path, *, step: int) -> None:
        """step: the last one that stays.

        Raises:
            UserError: tensorboardX is not installed.
        """
        try:
            from tensorboardX import SummaryWriter  # only where it is asked for
        except ImportError as error:
            msg = "tensorboard: true needs the package tensorboardX: install it (it comes with ray[train]), or set it to false"
            raise UserError(msg) from error
        # Files are named by the second they were begun in; the step tells those of one second apart, and which is later.
        self._writer = SummaryWriter(str(folder), purge_step=step + 1, filename_suffix=f".{step:08d}")

    def write(self, line: Mapping[str, Any]) -> None:
        """The numbers of a line of the metrics: ``train/loss``, of an evaluation ``held_out/bits_per_byte``."""
        group = str(line.get("evaluation", "train"))
        for name, value in _numbers(line):
            self._writer.add_scalar(f"{group}/{name}", value, int(line["step"]))

    def close(self) -> None:
        """Bring them to disk."""
        self._writer.close()


def _numbers(fields: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """All numbers of a line but the step, those of nested parts by their path."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{above}{name}/")
        elif isinstance(value, int | float) and name != "step":
            yield f"{above}{name}", float(value)
