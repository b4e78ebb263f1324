"""Ranks as workers of Ray Train, which starts them anew when one dies. The only file of the stage that imports ray."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import ray.train
import torch.distributed as dist
from ray.train.torch import TorchConfig
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.train.v2.torch.torch_trainer import TorchTrainer

from pipeline.errors import RunFailedError, StoppedError, UserError
from pipeline.pretrain.config import Job
from pipeline.pretrain.data.batches import checked_batches
from pipeline.pretrain.lifeline import import_path
from pipeline.pretrain.ranks import COLLECTIVE_TIMEOUT, Agreement, Place, current_place, from_first, join, told_apart
from pipeline.pretrain.sharding.world import check_ranks, usable_ranks
from pipeline.pretrain.stopping import asked_by_file
from pipeline.pretrain.training.loop import Observer, train

if TYPE_CHECKING:
    from collections.abc import Iterator

Placement = Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"]

_MAX_FAILURES = 3
"""Ray's default is 0: the first lost worker would end the run."""
_START_TIMEOUT = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
_ELASTIC_TIMEOUT_S = 30
"""For the workers' places, before any starts. After a node's death Ray may ask for as many as it last knew of: it waits so
long, and asks again by what there is then. Where the number is fixed Ray's own 60 s hold: asking again changes nothing."""
_REFUSED = "refused.txt"
_MEET_S = 10.0
"""For ranks that end with an error of ours: one that has not come by then is taken to wait for this one elsewhere."""
_OURS = (UserError, RunFailedError, StoppedError)
"""What ends a training for good: Ray must not start it anew."""


@dataclass(frozen=True, kw_only=True)
class Workers:
    """How many workers, and where.

    least: a run also starts, or goes on, with that few where no more can be had, and takes more when they come; None:
    always ``count``. placement: of Ray's placement group; PACK fills nodes, as fast links are within them.
    """

    count: int
    least: int | None = None
    placement: Placement = "PACK"


def launch(job: Job, workers: Workers | int, observe: Observer | None = None) -> None:
    """Train with those workers on the cluster this process is connected to.

    observe: called on every worker after each step; pickled by value.

    Raises:
        UserError: the recipe or the corpus is at fault.
        RunFailedError: the loss is no longer a number, or workers died more often than Ray Train brings them back.
        StoppedError: somebody asked for it, by ``stopping.STOP_FILE``; there is a checkpoint, as ``train`` says.
    """
    asked = Workers(count=workers) if isinstance(workers, int) else workers
    _check(job, asked)
    storage = Path(job.home) / "ray_train"
    shutil.rmtree(storage, ignore_errors=True)  # a driver that was killed left it
    refused = Path(job.home) / _REFUSED
    refused.unlink(missing_ok=True)
    on_gpu = job.device == "cuda"
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"job": job.model_dump_json(), "observe": observe},
        torch_config=TorchConfig(
            backend="nccl" if on_gpu else "gloo", timeout_s=int(COLLECTIVE_TIMEOUT.total_seconds())
        ),
        scaling_config=ScalingConfig(
            num_workers=asked.count if asked.least is None else (asked.least, asked.count),
            use_gpu=on_gpu,
            resources_per_worker={"CPU": 1, "GPU": int(on_gpu)},
            placement_strategy=asked.placement,
        ),
        run_config=RunConfig(
            name="run",
            storage_path=str(storage),
            failure_config=FailureConfig(max_failures=_MAX_FAILURES),
            worker_runtime_env={"env_vars": {"PYTHONPATH": import_path()}},
        ),
    )
    try:
        with _patience(asked):
            trainer.fit()
    except TrainingFailedError as error:
        _raise_refused(refused, error)
        msg = f"training stopped after {_MAX_FAILURES} restarts: {error}"
        raise RunFailedError(msg) from error
    finally:
        shutil.rmtree(storage, ignore_errors=True)
    _raise_refused(refused)


@contextlib.contextmanager
def _patience(asked: Workers) -> Iterator[None]:
    """How long Ray waits for places, unless the user's environment says it; it hands the environment on as it starts."""
    ours = asked.least is not None and _START_TIMEOUT not in os.environ
    if ours:
        os.environ[_START_TIMEOUT] = str(_ELASTIC_TIMEOUT_S)
    try:
        yield
    finally:
        if ours:
            del os.environ[_START_TIMEOUT]


def _raise_refused(refused: Path, cause: Exception | None = None) -> None:
    """Raise what the first rank that gave up wrote, if any did."""
    if not refused.exists():
        return
    kind, _, message = refused.read_text(encoding="utf-8").partition("\n")
    refused.unlink()
    raise {one.__name__: one for one in _OURS}.get(kind, RunFailedError)(message) from cause


def _check(job: Job, asked: Workers) -> None:
    least = asked.count if asked.least is None else asked.least
    if least > asked.count:
        msg = f"at least {least} workers, but at most {asked.count}: lower min_workers"
        raise UserError(msg)
    # Where the number may change, ranks that cannot share the batch stay out; there must be one size that can.
    usable = asked.count if asked.least is None else usable_ranks(job, least)
    if not usable:
        msg = f"no number of workers up to {least} shares batches of {job.config.batch_size}: raise min_workers"
        raise UserError(msg)
    check_ranks(job, usable)
    checked_batches(job, usable)


def _worker(given: dict[str, Any]) -> None:
    """One rank. Our own checkpoints bring it back, so that a new driver can go on where Ray's state is gone."""
    job = Job.model_validate_json(given["job"])
    observe: Observer | None = given["observe"]
    refused = Path(job.home) / _REFUSED
    if from_first(refused.exists()):  # a rank gave up, and Ray starts all anew: they end in peace, the driver raises
        return
    place = _place_among_usable(job)
    if place is None:
        return
    meeting = Agreement()
    try:
        with told_apart(), asked_by_file(Path(job.home)):
            train(job, place, observe)
    except _OURS as error:
        _refuse(refused, error)
        # Would fail again in the same way, so Ray need not see it where every rank comes here. Where one does not, it
        # waits for this one in a collective, and only Ray can end it.
        if not meeting.all_at(0, _MEET_S):
            raise


def _refuse(refused: Path, error: Exception) -> None:
    """Tell the driver; where another rank has, that one was first and this error may only follow from its own."""
    refused.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError), refused.open("x", encoding="utf-8") as file:
        file.write(f"{type(error).__name__}\n{error}")


def _place_among_usable(job: Job) -> Place | None:
    """The place of this worker among those that share the batch; None for one that stays out.

    Those that stay out are done at once, so nothing here may report to Ray, which waits for all.
    """
    place = current_place(job.device)
    usable = usable_ranks(job, place.world)
    if usable == place.world:
        return place
    address = from_first(_free_address() if place.rank == 0 else None)
    dist.destroy_process_group()
    if place.rank >= usable:
        return None
    if usable > 1:
        join(job.device, init_method=f"tcp://{address}", rank=place.rank, world_size=usable)
    return current_place(job.device)


def _free_address() -> str:
    """Where this node can be reached, and a port that is free on it."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return f"{ray.util.get_node_ip_address()}:{probe.getsockname()[1]}"
