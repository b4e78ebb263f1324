"""Ranks as workers of Ray Train, which starts them anew when one dies. The only file of the stage that imports ray."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import ray.train
from ray.train.torch import TorchConfig
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.train.v2.torch.torch_trainer import TorchTrainer

from pipeline.errors import RunFailedError, UserError
from pipeline.pretrain.batches import checked_batches
from pipeline.pretrain.config import Job
from pipeline.pretrain.lifeline import import_path
from pipeline.pretrain.loop import Observer, train
from pipeline.pretrain.ranks import current_place

_MAX_FAILURES = 3
"""Ray's default is 0: the first lost worker would end the run."""
_START_TIMEOUT_S = 300
"""Ray's 60 s are too few for importing torch on busy disks and cores."""
_REFUSED = "refused.txt"


def launch(job: Job, workers: int, observe: Observer | None = None) -> None:
    """Train with that many workers on the cluster this process is connected to.

    observe: called on every worker after each step; pickled by value.

    Raises:
        UserError: the recipe or the corpus is at fault.
        RunFailedError: the loss is no longer a number, or workers died more often than Ray Train brings them back.
    """
    checked_batches(job, workers)
    storage = Path(job.home) / "ray_train"
    shutil.rmtree(storage, ignore_errors=True)  # a driver that was killed left it
    refused = Path(job.home) / _REFUSED
    refused.unlink(missing_ok=True)
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(_START_TIMEOUT_S))
    on_gpu = job.device == "cuda"
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"job": job.model_dump_json(), "observe": observe},
        torch_config=TorchConfig(backend="nccl" if on_gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=on_gpu, resources_per_worker={"CPU": 1, "GPU": int(on_gpu)}
        ),
        run_config=RunConfig(
            name="run",
            storage_path=str(storage),
            failure_config=FailureConfig(max_failures=_MAX_FAILURES),
            worker_runtime_env={"env_vars": {"PYTHONPATH": import_path()}},
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        msg = f"training stopped after {_MAX_FAILURES} restarts: {error}"
        raise RunFailedError(msg) from error
    finally:
        shutil.rmtree(storage, ignore_errors=True)
    if refused.exists():
        kind, _, message = refused.read_text(encoding="utf-8").partition("\n")
        refused.unlink()
        raise (UserError if kind == UserError.__name__ else RunFailedError)(message)


def _worker(given: dict[str, Any]) -> None:
    """One rank. Our own checkpoints bring it back, so that a new driver can go on where Ray's state is gone."""
    job = Job.model_validate_json(given["job"])
    observe: Observer | None = given["observe"]

    def report(step: int, saved: bool) -> None:
        if observe is not None:
            observe(step, saved)
        if saved:  # a barrier over all ranks, so not every step
            ray.train.report({"step": step})

    place = current_place(job.device)
    try:
        train(job, place, report)
    except (UserError, RunFailedError) as error:
        # Would fail again in the same way, so Ray must not see it: every rank ends in peace, the driver raises.
        if place.rank == 0:
            refused = Path(job.home) / _REFUSED
            refused.write_text(f"{type(error).__name__}\n{error}", encoding="utf-8")
