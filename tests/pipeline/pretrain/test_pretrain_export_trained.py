"""A run's newest checkpoint as the files that others read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.errors import RunFailedError
from pipeline.pretrain.config import Job
from pipeline.pretrain.model.export import export
from pipeline.pretrain.model.load import load_model
from pipeline.pretrain.model.transformer import Transformer
from pipeline.pretrain.ranks import Place
from pipeline.pretrain.training.checkpoint import latest, load_weights
from pipeline.pretrain.training.loop import train
from tests.pipeline.pretrain.conftest import SMALL, VOCABULARY


def test_the_exported_model_is_the_trained_one(make_job: Callable[..., Job], tmp_path: Path) -> None:
    job = make_job("small", steps=8, shape=SMALL.model_copy(update={"tied": False, "qk_norm": True}))
    with pytest.raises(RunFailedError, match="holds no complete checkpoint to export"):
        export(job, tmp_path / "export")
    train(job, Place())
    export(job, tmp_path / "export")
    model = Transformer(job.config.shape, VOCABULARY, max_length=16)
    checkpoint = latest(Path(job.home) / "checkpoints")
    assert checkpoint is not None
    load_weights(checkpoint, model)
    tokens = torch.tensor([[0, 5, 9, 9, 31, 2, 47]])
    loaded = load_model(tmp_path / "export")
    assert loaded.max_length == 16
    with torch.no_grad():
        assert torch.equal(loaded.model(tokens), model(tokens))
        assert model(tokens).std() > 0.3  # trained, not the zeros of a fresh model
