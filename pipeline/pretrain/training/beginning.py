"""The model of a training, whole and on the CPU, before it is put on ranks."""

from __future__ import annotations

from pathlib import Path

from pipeline.pretrain.config import Job
from pipeline.pretrain.model.load import fill, unfilled
from pipeline.pretrain.model.transformer import Transformer


def first_model(job: Job) -> Transformer:
    """With the weights before the first step: drawn by the seed, or of the model to start from.

    Every rank makes the whole model, the same one; files are mapped, so that ranks of a node share what they read.

    Raises:
        UserError: the weights to start from are missing, broken or of another shape.
    """
    model = _model(job, job.config.seed if job.config.start is None else None)
    if job.config.start is not None:
        fill(model, [Path(name) for name in job.start_weights])
    return model


def empty_model(job: Job) -> Transformer:
    """With weights that are still to come, from a checkpoint."""
    return _model(job, None)


def _model(job: Job, seed: int | None) -> Transformer:
    config, length = job.config, job.config.sequence_length
    if config.start is not None:
        length = max(length, config.start.positions)
        return unfilled(config.shape, config.start.rows, max_length=length, attention=job.attention)
    return Transformer(config.shape, job.data.vocab_size, max_length=length, seed=seed, attention=job.attention)
