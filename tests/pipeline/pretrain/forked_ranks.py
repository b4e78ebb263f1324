"""Runs with several ranks, forked from one process: torch, which takes seconds to import, is imported once.

    python -m tests.pipeline.pretrain.forked_ranks '[{"job": "job.json", "world": 2, "die": [1, 13]}]'

``die``: the rank that ends without a word, and after which step; with a third entry it gets a SIGTERM instead, or, where
that is "nan", it does not end, and the loss of the rank's first sequence of that step is no number. One run
after the other; exits 0 when each ended as it should: all ranks well, or, where one died, no other rank well either, or,
where one was told to stop, all ranks stopped.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset  # noqa: F401  # takes a second, once instead of in every rank
import torch

from pipeline.errors import StoppedError
from pipeline.pretrain.config import Job
from pipeline.pretrain.data.batch import Batch
from pipeline.pretrain.data.batches import checked_batches
from pipeline.pretrain.model.transformer import Losses, Transformer
from pipeline.pretrain.torchrun import main


def run(job: str, world: int, die: list[Any]) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "store")
        children = [_fork(job, rank, world, store, die) for rank in range(world)]
        if len(die) == 3 and die[2] != "nan":
            codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
            return set(codes) == {StoppedError.exit_code}
        failed = False
        while children and not failed:
            process, status = os.wait()
            children.remove(process)
            failed = os.waitstatus_to_exitcode(status) != 0
        for other in children:  # as a launcher does: the others go too
            os.kill(other, signal.SIGKILL)
            os.waitpid(other, 0)
        return failed == (len(die) == 2)


def _fork(job: str, rank: int, world: int, store: str, die: list[Any]) -> int:
    process = os.fork()
    if process:
        return process
    if die[2:] == ["nan"]:
        _spoil(job, rank == die[0], die[1])

    def observe(step: int, _saved: bool) -> None:
        if [rank, step] != die[:2] or "nan" in die:
            return
        if len(die) == 2:
            os._exit(7)
        os.kill(os.getpid(), signal.SIGTERM)

    options = ["--rank", str(rank), "--world", str(world), "--store", store, "--no-export"]
    os._exit(main([job, *options], observe))


def _spoil(path: str, mine: bool, step: int) -> None:
    _, source = checked_batches(Job.model_validate_json(Path(path).read_text()), 1)
    windows = source.tokens(source.rows(step))[0]
    loss = Transformer.loss

    def spoiled(self: Transformer, batch: Batch, *, z_loss: float = 0.0) -> Losses:
        found = loss(self, batch, z_loss=z_loss)
        wrong = mine and any(np.array_equal(batch.inputs[0].numpy(), window[:-1]) for window in windows)
        return Losses(found.nats * float("nan"), found.extra) if wrong else found

    setattr(Transformer, "loss", spoiled)  # the type checker knows no assigned methods


if __name__ == "__main__":
    # The first optimizer imports torch's compiler, 1 s of every rank's time unless it is done before they fork.
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
    sys.exit(not all(run(given["job"], given["world"], given.get("die", [])) for given in json.loads(sys.argv[1])))
