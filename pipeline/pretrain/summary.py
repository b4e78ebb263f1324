"""What a finished training came to, in a few numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.pretrain.config import Job
from pipeline.pretrain.data.batches import checked_batches
from pipeline.pretrain.training.metrics import read_metrics


def summary(metrics: Path, job: Job) -> dict[str, Any]:
    """Of its metrics, and of what it read; with a model to start from, what that was worth before the first step."""
    lines, start = read_metrics(metrics), job.config.start
    steps = [line for line in lines if "evaluation" not in line]
    losses = [line["loss"] for line in steps if "loss" in line]
    first, *_, last = [line for line in lines if "evaluation" in line] * 2
    return {
        "steps": steps[-1]["step"],
        "tokens": steps[-1]["tokens"],
        "skipped_steps": sum(bool(line.get("skipped")) for line in steps),
        "first_loss": losses[0],
        "final_loss": losses[-1],
        "bits_per_byte": last["bits_per_byte"],
        "unigram_bits_per_byte": last["unigram_bits_per_byte"],
        "held_out_documents": last["documents"],
        "held_out_bytes": last["bytes"],
        "tokenizer_sha256": job.data.tokenizer_sha256,
        **({} if start is None else {"start_from": {"model": start.model, "sha256": start.sha256}}),
        **({} if start is None else {"bits_per_byte_before": first["bits_per_byte"]}),
        **_epochs(job),
    }


def _epochs(job: Job) -> dict[str, Any]:
    """For each stratum, the tokens that were drawn and how many times its sequences were read."""
    if job.config.mixture is None:
        return {}
    _, batches = checked_batches(job, 1)
    tokens, epochs = batches.drawn(job.config.steps), batches.epochs(job.config.steps)
    return {
        "strata": {name: {"tokens": count, "epochs": (epochs or {})[name]} for name, count in (tokens or {}).items()}
    }
