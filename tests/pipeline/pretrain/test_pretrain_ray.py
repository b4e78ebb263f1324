"""Under Ray Train: a worker that is killed is brought back, and the curve does not show it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.pretrain.config import Job
from tests.pipeline.pretrain.conftest import run_ranks
from tests.pipeline.pretrain.test_pretrain_loop import curve

ray = pytest.importorskip("ray")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[None]:
    """Two cores of a Ray of its own."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.ray
@pytest.mark.slow
def test_a_killed_worker_is_brought_back(make_job: Callable[..., Job], cluster: None, tmp_path: Path) -> None:
    from pipeline.pretrain import ray_entry  # imports ray

    whole, broken = make_job("whole", steps=12), make_job("broken", steps=12)
    died = tmp_path / "died"

    def die_once(step: int, _saved: bool) -> None:
        if step == 8 and ray.train.get_context().get_world_rank() == 1 and not died.exists():
            died.touch()
            os._exit(1)

    ray_entry.launch(broken, 2, die_once)
    assert died.exists()
    assert sorted(path.name for path in Path(broken.home).iterdir()) == ["checkpoints", "metrics.jsonl"]
    run_ranks((whole, 2, None))
    assert curve(broken) == curve(whole)
