"""Nodes that come and go while Ray trains: the workers become more and fewer, the curve is that of an undisturbed run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.pretrain.config import Job
from pipeline.pretrain.training.metrics import read_metrics
from tests.chaos.conftest import Done

pytestmark = [pytest.mark.chaos, pytest.mark.ray, pytest.mark.sweep, pytest.mark.timeout(1800)]

LIMIT_S = 600
ROUNDING = 1e-3
"""One worker adds gradients in another order than two, which grows with the steps: 5e-5 at step 24. Other batches differ by 1e-2."""


def test_a_training_grows_with_a_node_and_shrinks_without_it(undisturbed: Done, tmp_path: Path) -> None:
    """One worker until a second node is there, two until it is gone, then one; a worker waits for that in its step."""
    import ray
    from ray.cluster_utils import Cluster

    (home,) = undisturbed.out.glob("model-*")
    job = Job.model_validate_json((home / "job.json").read_bytes()).model_copy(update={"home": str(tmp_path / "home")})
    grown, seen = tmp_path / "grown", tmp_path / "seen"

    def hold(step: int, _saved: bool) -> None:
        world = ray.train.get_context().get_world_size()
        with seen.open("a") as file:
            file.write(f"{world}\n")
        if world == 2 and step == 16:
            grown.touch()
        until = time.monotonic() + LIMIT_S
        while step == (16 if world == 2 else 8) and (world == 2 or not grown.exists()) and time.monotonic() < until:
            time.sleep(0.2)

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False)
        failed: list[BaseException] = []
        training = threading.Thread(target=train, args=(job, hold, failed))
        training.start()
        wait_until(seen.exists)
        second = cluster.add_node(num_cpus=1)  # in the main thread: Ray sets handlers of signals
        wait_until(grown.exists)
        cluster.remove_node(second, allow_graceful=False)
        training.join(LIMIT_S)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert failed == []
    sizes = seen.read_text().split()
    assert [size for number, size in enumerate(sizes) if number == 0 or size != sizes[number - 1]] == ["1", "2", "1"]
    assert losses(Path(job.home)) == pytest.approx(losses(home), rel=ROUNDING)


def train(job: Job, hold: Callable[[int, bool], None], failed: list[BaseException]) -> None:
    from pipeline.pretrain import ray_entry

    try:
        ray_entry.launch(job, ray_entry.Workers(count=2, least=1), hold)
    except BaseException as error:
        failed.append(error)


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.2)


def losses(home: Path) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in read_metrics(home / "metrics.jsonl") if "loss" in line}
