"""Runs with several ranks, forked from one process: torch, which takes seconds to import, is imported once for all of them.

    python -m tests.pipeline.pretrain.forked_ranks
    {"told": "stderr", "runs": [{"job": "job.json", "world": 2, "die": [1, 13]}]}

``die``: the rank that ends without a word, and after which step. With a third entry it does not end: it gets a SIGINT
("ctrl-c"), or sleeps for as long as the tests may take ("hang"), or the loss of its first sequence of that step is no number
("nan"), or else it gets a SIGTERM. One run after the other; the answer is true when each ended as it should: all ranks well,
or, where one died or hung, no other rank well either, or, where one was told to stop, all ranks stopped. What the ranks say
lies in the file ``told``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset  # noqa: F401  # takes a second, once instead of in every rank
import torch

from pipeline.errors import StoppedError
from pipeline.pretrain import ranks
from pipeline.pretrain.config import Job
from pipeline.pretrain.data.batch import Batch
from pipeline.pretrain.data.batches import checked_batches
from pipeline.pretrain.model.transformer import Losses, Transformer
from pipeline.pretrain.torchrun import main

TIMEOUT_S = 120
"""For which a rank waits for others: a fault that would let them wait for ever fails a test before its own limit."""
TIMEOUT_OF_HANGING_S = 5


def run(job: str, world: int, die: list[Any]) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "store")
        children = [_fork(job, rank, world, store, die) for rank in range(world)]
        if len(die) == 3 and die[2] not in ("nan", "hang"):
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
        return failed == (len(die) == 2 or "hang" in die)


def _fork(job: str, rank: int, world: int, store: str, die: list[Any]) -> int:
    process = os.fork()
    if process:
        return process
    ranks.COLLECTIVE_TIMEOUT = timedelta(seconds=TIMEOUT_OF_HANGING_S if "hang" in die else TIMEOUT_S)
    if die[2:] == ["nan"]:
        _spoil(job, rank == die[0], die[1])

    def observe(step: int, _saved: bool) -> None:
        if [rank, step] != die[:2] or "nan" in die:
            return
        if len(die) == 2:
            os._exit(7)
        if "hang" in die:
            time.sleep(3600)
        os.kill(os.getpid(), signal.SIGINT if "ctrl-c" in die else signal.SIGTERM)

    options = ["--rank", str(rank), "--world", str(world), "--store", store, "--no-export"]
    os._exit(main([job, *options], observe))


def _spoil(path: str, mine: bool, step: int) -> None:
    _, source = checked_batches(Job.model_validate_json(Path(path).read_text()), 1)
    windows = source.tokens(source.rows(step))[0]
    loss = Transformer.loss

    def spoiled(self: Transformer, batch: Batch, *, z_loss: float = 0.0) -> Losses:
        found = loss(self, batch, z_loss=z_loss)
        wrong = mine and any(np.array_equal(batch.inputs[0].numpy(), window[:-1]) for window in windows)
        return Losses(*(one * float("nan") for one in found)) if wrong else found

    setattr(Transformer, "loss", spoiled)  # the type checker knows no assigned methods


def serve() -> None:
    """Answers each line of standard input by a line: whether all its runs ended as they should."""
    answers = os.fdopen(os.dup(1), "w")
    # A shell ignores it for what it starts in the background, and ranks leave an ignored signal as it is.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # The first optimizer imports torch's compiler, 1 s of every rank's time unless it is done before they fork.
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
    for line in sys.stdin:
        asked = json.loads(line)
        with Path(asked["told"]).open("wb") as told:
            os.dup2(told.fileno(), 1)
            os.dup2(told.fileno(), 2)
        well = all(run(given["job"], given["world"], given["die"]) for given in asked["runs"])
        print(json.dumps(well), file=answers, flush=True)


if __name__ == "__main__":
    serve()
