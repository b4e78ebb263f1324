"""Two of Ray's workers without Ray: what becomes of an error of one or of both. Prints a line of JSON for each case.

    python -m tests.pipeline.pretrain.refused_ranks FOLDER JOB

A case tells, for each rank, how it ended ("well", or the name of its error), and what the driver would read.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import torch.distributed as dist

from pipeline.errors import StoppedError, UserError
from pipeline.pretrain import ray_entry
from pipeline.pretrain.config import Job
from pipeline.pretrain.ranks import Place, wait_for_all

PATIENCE_S = 1.0


def one_alone(_job: Job, place: Place, _observe: object) -> None:
    if place.rank == 1:
        msg = "an id outside the vocabulary"
        raise UserError(msg)
    wait_for_all()


def both(_job: Job, _place: Place, _observe: object) -> None:
    msg = "stopped after step 3"
    raise StoppedError(msg)


def never(_job: Job, _place: Place, _observe: object) -> None:
    msg = "trained although a rank gave up"
    raise AssertionError(msg)


CASES = {"alone": (one_alone, never), "both": (both,)}
"""What stands for the training, at first and when Ray starts the workers anew."""


def rank(folder: Path, job: Job, case: str, attempt: int, number: int) -> None:
    store = dist.FileStore(str(folder / f"store-{case}-{attempt}"), 2)
    dist.init_process_group("gloo", store=store, rank=number, world_size=2, timeout=timedelta(seconds=20))
    ended = "well"
    with patch.object(ray_entry, "train", CASES[case][attempt]), patch.object(ray_entry, "_MEET_S", PATIENCE_S):
        try:
            ray_entry._worker({"job": job.model_dump_json(), "observe": None})
        except Exception as error:  # what Ray would see
            ended = type(error).__name__
    (folder / f"{case}-{attempt}-{number}").write_text(ended)


def main(folder: Path, job: Job) -> None:
    """Every attempt of every case, two forked ranks each."""
    for case, attempts in CASES.items():
        home = folder / case
        for attempt in range(len(attempts)):
            children = []
            for number in range(2):
                child = os.fork()
                if not child:
                    rank(folder, job.model_copy(update={"home": str(home)}), case, attempt, number)
                    os._exit(0)
                children.append(child)
            for child in children:
                os.waitpid(child, 0)
            ended = [(folder / f"{case}-{attempt}-{number}").read_text() for number in range(2)]
            print(json.dumps([case, *ended, (home / "refused.txt").read_text()]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Job.model_validate_json(Path(sys.argv[2]).read_text()))
