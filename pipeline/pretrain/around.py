"""Which documents were in the batches around a step: what to look at when the loss has jumped (``sluice around``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.pretrain.config import Job
from pipeline.pretrain.data.batches import checked_batches
from pipeline.pretrain.training.metrics import read_metrics

JOB_FILE = "job.json"
_TOLD = ("loss", "grad_norm", "skipped")


def around(home: Path, step: int | None = None, width: int = 1) -> Iterator[dict[str, Any]]:
    """A line for each step of a training that is at most ``width`` from ``step``, or from those that stand out.

    home: its folder, with ``metrics.jsonl`` and ``job.json``. step: None: those whose update was left out, and the one with
    the greatest rise of the loss over the step before. A line: step, loss, grad_norm, skipped, documents (hex ids).

    Raises:
        UserError: no training has begun in that folder, or it has not come to that step, or its shards are not told of.
    """
    path = home / JOB_FILE
    if not path.is_file():
        msg = f"{home} holds no {JOB_FILE}: give the folder of a training, with its metrics.jsonl"
        raise UserError(msg)
    lines = {line["step"]: line for line in read_metrics(home / "metrics.jsonl") if "evaluation" not in line}
    if step is not None and step not in lines:
        msg = f"step {step} is not in {home / 'metrics.jsonl'}, which has {len(lines)} steps"
        raise UserError(msg)
    _, source = checked_batches(Job.model_validate_json(path.read_text(encoding="utf-8")), 1, wait=False)
    centres = standing_out(lines) if step is None else [step]
    for near in sorted({centre + shift for centre in centres for shift in range(-width, width + 1)} & lines.keys()):
        told = {name: lines[near][name] for name in _TOLD if name in lines[near]}
        yield {"step": near, **told, "documents": source.documents_of(source.rows(near))}


def standing_out(lines: dict[int, dict[str, Any]]) -> list[int]:
    """Steps that were left out, and the one with the greatest rise of the loss."""
    losses = {step: line["loss"] for step, line in lines.items() if "loss" in line}
    rises = {step: loss - losses[step - 1] for step, loss in losses.items() if step - 1 in losses}
    found = {step for step, line in lines.items() if line.get("skipped")}
    if rises:
        found.add(max(rises, key=lambda step: rises[step]))
    return sorted(found)
