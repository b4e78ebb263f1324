"""What each step came to: gathered on the device, brought over every few steps, written as lines of the metrics."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.pretrain.config import Job
from pipeline.pretrain.data.source import RowSource
from pipeline.pretrain.model.flops import flops_per_token, measured_peak_flops, peak_flops, utilization
from pipeline.pretrain.ranks import Place
from pipeline.pretrain.training.metrics import MetricsFile
from pipeline.pretrain.training.schedule import learning_rate
from pipeline.pretrain.training.tensorboard import Board

NAMED_DOCUMENTS = 50
"""Of a batch, in a line or a message; ``sluice around`` tells all."""


class NotANumberError(Exception):
    """The loss or the gradient of a step was not one."""

    def __init__(self, step: int, loss: float, grad_norm: float) -> None:
        super().__init__(f"step {step}: loss {loss}, gradient {grad_norm}: no longer a number")
        self.step = step


class Recorder:
    """The metrics of one rank. All ranks gather, so that all see a loss that is no number; rank 0 writes."""

    def __init__(self, job: Job, source: RowSource, place: Place, step: int) -> None:
        """step: the one the run goes on from; what the files hold of later ones is taken back."""
        self._job, self._source, self._place = job, source, place
        self._began = time.time() if job.began is None else job.began
        self._first = True
        self._pending: list[tuple[int, Tensor]] = []
        self._num_targets = 0
        self._since = time.perf_counter()
        self._file: MetricsFile | None = None
        self._board: Board | None = None
        self._peaks: dict[str, float | None] = {}
        if place.rank == 0:
            home = Path(job.home)
            home.mkdir(parents=True, exist_ok=True)
            self._file = MetricsFile(home / "metrics.jsonl", step=step)
            self._board = Board(home / "tensorboard", step=step) if job.tensorboard else None
            self._peaks = _peaks(place.device)

    def close(self) -> None:
        """End the files."""
        for file in (self._file, self._board):
            if file is not None:
                file.close()

    def start_clock(self) -> None:
        """What follows is training, and what was before, an evaluation say, shall not count as such."""
        self._since = time.perf_counter()

    def add(self, step: int, values: Tensor, num_targets: int) -> None:
        """Note a step, and bring over what is noted where it is time. values: (3,) loss, gradient's length, left out (1, 0).

        Raises:
            NotANumberError: see ``flush``.
        """
        self._pending.append((step, values))
        self._num_targets += num_targets
        if self._first or step % self._job.log_every == 0:
            self.flush()

    def flush(self) -> None:
        """Bring over and write what is noted. Waits for the device.

        Raises:
            NotANumberError: the first step that came to none; those before it are written.
        """
        if not self._pending:
            return
        steps, values = zip(*self._pending, strict=True)
        found = torch.stack(values).tolist()
        speed = self._speed(len(steps))
        self._pending.clear()
        for step, (loss, grad_norm, skipped) in zip(steps, found, strict=True):
            if not (math.isfinite(loss) and math.isfinite(grad_norm)):
                raise NotANumberError(step, loss, grad_norm)
            line = {"loss": loss, "grad_norm": grad_norm, "lr": learning_rate(self._job.config, step), **speed}
            self._write_step(step, {**line, **({"skipped": True} if skipped else {})})

    def left_out(self, step: int) -> None:
        """A step whose batch is not trained on."""
        self.flush()
        named = self._source.documents_of(self._source.rows(step))[:NAMED_DOCUMENTS]
        self._write_step(step, {"skipped": True, "documents": named})

    def write(self, line: Mapping[str, Any]) -> None:
        """A line that is no step's."""
        if self._file is not None:
            self._file.write(line)
        if self._board is not None:
            self._board.write(line)

    def sync(self) -> None:
        """Bring the lines to disk: a checkpoint must never know more than the curve."""
        if self._file is not None:
            self._file.sync()

    def _write_step(self, step: int, line: Mapping[str, Any]) -> None:
        first, self._first = self._first, False  # on every rank: all must bring values over at the same steps
        if self._file is None:
            return
        config = self._job.config
        drawn = self._source.drawn(step)
        more: dict[str, Any] = {} if drawn is None else {"strata": drawn}
        if first:
            more["seconds_to_first_step"] = round(time.time() - self._began, 2)
        self.write({"step": step, "tokens": step * config.batch_size * config.sequence_length, **line, **more})

    def _speed(self, num_steps: int) -> dict[str, float]:
        """Of the steps since the last time: targets a second, and the share of the GPUs' operations that the model needs."""
        config, now = self._job.config, time.perf_counter()
        seconds, targets = now - self._since, self._num_targets
        self._since, self._num_targets = now, 0
        places = num_steps * config.batch_size * config.sequence_length  # padding takes time too
        flops = flops_per_token(config.shape, self._job.data.vocab_size, config.sequence_length).total
        found = {"tokens_per_s": round(targets / seconds, 1)}
        for name, peak in self._peaks.items():
            share = utilization(places / seconds / self._place.world, flops, peak)
            if share is not None:
                found[name] = round(share, 4)
        return found


def _peaks(device: torch.device) -> dict[str, float | None]:
    """Operations a second that utilization is measured by: of the data sheet, and of this GPU now. None on a CPU."""
    if device.type != "cuda":
        return {}
    return {
        "mfu": peak_flops(torch.cuda.get_device_name(device)),
        "mfu_measured": measured_peak_flops(device),
    }
