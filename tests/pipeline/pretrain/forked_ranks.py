"""Runs with several ranks, forked from one process: torch, which takes seconds to import, is imported once.

    python -m tests.pipeline.pretrain.forked_ranks '[{"job": "job.json", "world": 2, "die": [1, 13]}]'

``die``: the rank that ends without a word, and after which step. One run after the other; exits 0 when each ended as
it should: all ranks well, or, where one died, no other rank well either.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from pipeline.pretrain.torchrun import main


def run(job: str, world: int, die: list[int]) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "store")
        children = [_fork(job, rank, world, store, die) for rank in range(world)]
        codes = []
        for _ in children:
            process, status = os.wait()
            children.remove(process)
            codes.append(os.waitstatus_to_exitcode(status))
            if codes[-1]:  # as a launcher does: the others go too
                for other in children:
                    os.kill(other, signal.SIGKILL)
                for other in children:
                    os.waitpid(other, 0)
                break
        return bool(codes[-1]) == bool(die)


def _fork(job: str, rank: int, world: int, store: str, die: list[int]) -> int:
    process = os.fork()
    if process:
        return process

    def observe(step: int, _saved: bool) -> None:
        if [rank, step] == die:
            os._exit(7)

    options = ["--rank", str(rank), "--world", str(world), "--store", store, "--no-export"]
    os._exit(main([job, *options], observe))


if __name__ == "__main__":
    sys.exit(not all(run(given["job"], given["world"], given.get("die", [])) for given in json.loads(sys.argv[1])))
