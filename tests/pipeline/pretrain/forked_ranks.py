"""Runs with several ranks, forked from one process: torch, which takes seconds to import, is imported once.

    python -m tests.pipeline.pretrain.forked_ranks '[{"job": "job.json", "world": 2, "die": [1, 13]}]'

``die``: the rank that ends without a word, and after which step; with a third entry it gets a SIGTERM instead. One run
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

import pyarrow.dataset  # noqa: F401  # takes a second, once instead of in every rank
import torch

from pipeline.errors import StoppedError
from pipeline.pretrain.torchrun import main


def run(job: str, world: int, die: list[Any]) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "store")
        children = [_fork(job, rank, world, store, die) for rank in range(world)]
        if len(die) == 3:
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
        return failed == bool(die)


def _fork(job: str, rank: int, world: int, store: str, die: list[Any]) -> int:
    process = os.fork()
    if process:
        return process

    def observe(step: int, _saved: bool) -> None:
        if [rank, step] != die[:2]:
            return
        if len(die) == 2:
            os._exit(7)
        os.kill(os.getpid(), signal.SIGTERM)

    options = ["--rank", str(rank), "--world", str(world), "--store", store, "--no-export"]
    os._exit(main([job, *options], observe))


if __name__ == "__main__":
    # The first optimizer imports torch's compiler, 1 s of every rank's time unless it is done before they fork.
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
    sys.exit(not all(run(given["job"], given["world"], given.get("die", [])) for given in json.loads(sys.argv[1])))
