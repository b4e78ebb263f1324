"""Under Ray Train: a worker that is killed is brought back, and the curve does not show it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.errors import StoppedError, UserError
from pipeline.pretrain.config import Job
from pipeline.pretrain.stopping import STOP_FILE
from pipeline.pretrain.training.checkpoint import latest
from tests.pipeline.pretrain.conftest import run_ranks
from tests.pipeline.pretrain.test_pretrain_loop import curve

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Three cores of a Ray of its own, of which one may be imaginary; it takes some ten seconds to start and to end."""
    ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.ray
@pytest.mark.slow
def test_a_killed_worker_is_brought_back(make_job: Callable[..., Job], cluster: None, tmp_path: Path) -> None:
    """One to three workers are asked for and three had: of batches of four, two take two each and the third stays out."""
    from pipeline.pretrain import ray_entry  # imports ray

    whole, broken = make_job("whole", steps=12), make_job("broken", steps=12)
    died, seen = tmp_path / "died", tmp_path / "seen"

    def die_once(step: int, _saved: bool) -> None:
        context = ray.train.get_context()
        with seen.open("a") as file:
            file.write(f"{context.get_world_rank()} of {context.get_world_size()}\n")
        if step == 8 and context.get_world_rank() == 1 and not died.exists():
            died.touch()
            os._exit(1)

    ray_entry.launch(broken, ray_entry.Workers(count=3, least=1), die_once)
    assert died.exists()
    assert sorted(path.name for path in Path(broken.home).iterdir()) == ["checkpoints", "job.json", "metrics.jsonl"]
    assert set(seen.read_text().splitlines()) == {"0 of 3", "1 of 3"}
    run_ranks((whole, 2, None))
    assert curve(broken) == curve(whole)


@pytest.mark.ray
@pytest.mark.slow
def test_who_is_asked_to_stop_leaves_a_checkpoint(make_job: Callable[..., Job], cluster: None) -> None:
    from pipeline.pretrain import ray_entry  # imports ray

    job = make_job("stopped", steps=2000).model_copy(update={"checkpoint_every": 1500})

    def ask(step: int, _saved: bool) -> None:
        time.sleep(0.05)
        if step == 3:
            (Path(job.home) / STOP_FILE).touch()

    with pytest.raises(StoppedError, match="a next launch goes on from there"):
        ray_entry.launch(job, 2, ask)
    found = latest(Path(job.home) / "checkpoints")
    assert found is not None
    assert 3 < int(found.name.removeprefix("step-")) < 1500
    assert curve(job)[-1]["step"] == int(found.name.removeprefix("step-"))


def test_an_error_of_one_worker_alone_is_told(make_job: Callable[..., Job], tmp_path: Path) -> None:
    """It fails where the other waits for it, so that Ray ends that one; started anew, both end at once and in peace."""
    path = tmp_path / "job.json"
    path.write_text(make_job("unused").model_dump_json())
    command = [sys.executable, "-m", "tests.pipeline.pretrain.refused_ranks", str(tmp_path), str(path)]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    alone = "UserError\nan id outside the vocabulary"
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        ["alone", "RuntimeError", "UserError", alone],
        ["alone", "well", "well", alone],
        ["both", "well", "well", "StoppedError\nstopped after step 3"],
    ]


@pytest.mark.parametrize("ends", ["in peace", "out of restarts"])
def test_a_driver_raises_what_a_worker_wrote(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    from pipeline.pretrain import ray_entry  # imports ray

    job = make_job("refused")
    told = Path(job.home) / "refused.txt"
    left_over = "StoppedError\nof the launch before"
    told.parent.mkdir()
    told.write_text(left_over)

    def fit(_trainer: object) -> None:
        assert not told.exists()
        told.write_text("UserError\nan id outside the vocabulary")
        if ends == "out of restarts":
            raise ray_entry.TrainingFailedError

    monkeypatch.setattr(ray_entry.TorchTrainer, "__init__", lambda *_, **__: None)
    monkeypatch.setattr(ray_entry.TorchTrainer, "fit", fit)
    with pytest.raises(UserError, match="an id outside the vocabulary"):
        ray_entry.launch(job, 2)
    assert not told.exists()


@pytest.mark.parametrize(
    ("count", "least", "fields", "words"),
    [
        (3, None, {}, "3 workers cannot share a batch of 4"),
        (2, 3, {}, "at least 3 workers, but at most 2"),
        (4, 1, {"sharding": "hsdp", "shard_ranks": 2}, "no number of workers up to 1"),
    ],
)
def test_what_cannot_start_is_refused_before_it_does(
    make_job: Callable[..., Job], count: int, least: int | None, fields: dict[str, object], words: str
) -> None:
    from pipeline.pretrain import ray_entry  # imports ray

    with pytest.raises(UserError, match=words):
        ray_entry.launch(make_job("no", **fields), ray_entry.Workers(count=count, least=least))


@pytest.mark.parametrize(
    ("least", "own", "expected"),
    [
        pytest.param(None, None, None, id="fixed"),
        pytest.param(1, None, "30", id="elastic"),
        pytest.param(1, "600", "600", id="own"),
    ],
)
def test_only_elastic_workers_are_soon_asked_for_anew(
    make_job: Callable[..., Job],
    monkeypatch: pytest.MonkeyPatch,
    least: int | None,
    own: str | None,
    expected: str | None,
) -> None:
    """No cluster: the environment at the moment when Ray Train would take it over."""
    from pipeline.pretrain import ray_entry

    name = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
    monkeypatch.delenv(name, raising=False)
    if own is not None:
        monkeypatch.setenv(name, own)
    seen: list[str | None] = []

    class Trainer:
        def __init__(self, *_: object, **__: object) -> None: ...

        def fit(self) -> None:
            seen.append(os.environ.get(name))

    monkeypatch.setattr(ray_entry, "TorchTrainer", Trainer)
    ray_entry.launch(make_job("places"), ray_entry.Workers(count=2, least=least))
    assert seen == [expected]
    assert os.environ.get(name) == own
