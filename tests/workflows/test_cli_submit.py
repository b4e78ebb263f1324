"""Sending a recipe to a Ray cluster: what is refused here, and one real job on a real cluster."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import UserError
from tests.workflows.conftest import RECIPE, Call, write_recipe
from workflows.commands.submit import Submission, as_job
from workflows.recipe import load

ROOT = Path(__file__).parents[2]


def submission(recipe: Path, **changes: object) -> Submission:
    given = {
        "recipe": recipe,
        "out": "/shared/run",
        "overrides": (),
        "limit": None,
        "working_dir": recipe.parent,
        "env": (),
    }
    return Submission(**{**given, **changes})


def test_a_job_runs_the_same_command_there(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "project" / "recipes", RECIPE)
    job = as_job(
        submission(recipe, working_dir=tmp_path / "project", overrides=("clean.length.min_chars=4",), limit=2),
        load(recipe),
    )
    assert job.entrypoint == (
        "sluice run recipes/small.yaml --out /shared/run --address auto --progress plain "
        "--set clean.length.min_chars=4 --limit 2"
    )
    assert (job.working_dir, job.metadata["out"]) == (tmp_path / "project", "/shared/run")


def test_the_name_of_a_job_is_its_run(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    flow = load(recipe)
    name = as_job(submission(recipe), flow).attempt_of
    assert name.startswith("small-")
    assert as_job(submission(recipe), flow).attempt_of == name
    others = [
        as_job(submission(recipe, out="/shared/other"), flow).attempt_of,
        as_job(submission(recipe, limit=1), flow).attempt_of,
    ]
    recipe.write_text(RECIPE.replace("min_chars: 3", "min_chars: 5"))
    others.append(as_job(submission(recipe), load(recipe)).attempt_of)
    assert len({name, *others}) == 4


def test_what_the_cluster_could_not_reach_is_refused(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "here")
    flow = load(recipe)
    with pytest.raises(UserError, match="is not inside the folder sent along"):
        as_job(submission(recipe, working_dir=tmp_path / "elsewhere"), flow)
    with pytest.raises(UserError, match="--out runs/x is relative"):
        as_job(submission(recipe, out="runs/x"), flow)
    outside = tmp_path / "here" / "outside.yaml"
    outside.write_text(RECIPE.replace('"in-*.jsonl"', '"../other/in-*.jsonl"'))
    with pytest.raises(UserError, match=r"step 'crawl' reads .*outside the folder sent along"):
        as_job(submission(outside), load(outside))
    absolute = tmp_path / "here" / "absolute.yaml"
    absolute.write_text(RECIPE.replace('"in-*.jsonl"', '"/corpus/in-*.jsonl", "s3://bucket/in.jsonl"'))
    assert as_job(submission(absolute), load(absolute)).working_dir == tmp_path / "here"


def test_environment_is_handed_on_by_name_or_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = write_recipe(tmp_path)
    flow = load(recipe)
    monkeypatch.setenv("SLUICE_TEST_REGION", "eu")
    monkeypatch.delenv("SLUICE_TEST_MISSING", raising=False)
    assert as_job(submission(recipe, env=("SLUICE_TEST_REGION", "A=b=c")), flow).env == {
        "SLUICE_TEST_REGION": "eu",
        "A": "b=c",
    }
    for wrong in ("SLUICE_TEST_MISSING", "not a name=1", "=x"):
        with pytest.raises(UserError, match="--env"):
            as_job(submission(recipe, env=(wrong,)), flow)


def test_nobody_answers(tmp_path: Path, sluice: Call) -> None:
    recipe = write_recipe(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    result = sluice(
        "submit", recipe, "--to", "ray", "--address", address, "--out", tmp_path / "run", "--working-dir", tmp_path
    )
    assert result.exit_code == 2
    assert "no Ray dashboard answers" in result.stderr


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Ray head of our own, in its own folder and on its own ports, with `sluice` on its PATH; gives its dashboard."""
    bin_folder = tmp_path_factory.mktemp("bin")
    script = bin_folder / "sluice"
    script.write_text(f"#!{sys.executable}\nfrom workflows.cli import main\nmain()\n")
    script.chmod(0o755)
    temp = Path("/tmp") / f"slj{os.getpid()}"  # short: sockets lie below it
    port, dashboard = free_port(), free_port()
    # Ray asks for a token by default; whether this process has one is its own affair, and the cluster is on loopback.
    env = {
        **os.environ,
        "RAY_AUTH_MODE": "disabled",
        "PATH": f"{bin_folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    command = [
        str(Path(sys.executable).parent / "ray"),
        "start",
        "--head",
        "--block",
        f"--port={port}",
        "--include-dashboard=true",
        f"--dashboard-port={dashboard}",
        # Jobs go to the node's agent. Its default port is one for the whole machine: the second Ray head of a machine
        # (another test's) then has an agent that takes no jobs.
        "--dashboard-agent-listen-port=0",
        "--node-ip-address=127.0.0.1",
        "--num-cpus=2",
        f"--temp-dir={temp}",
        "--object-store-memory=100000000",
        "--disable-usage-stats",
    ]
    head = subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    address = f"http://127.0.0.1:{dashboard}"
    try:
        wait_until_up(address, head)
        yield address
    finally:
        # Its own process group, by its own id: `ray stop` would end everybody's Ray on this machine.
        head.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            head.wait(timeout=20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)
        head.wait(timeout=20)
        subprocess.run(["rm", "-rf", str(temp)], check=False)


def wait_until_up(address: str, head: subprocess.Popen[bytes]) -> None:
    from ray.job_submission import JobSubmissionClient

    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert head.poll() is None, "the Ray head ended while it started"
        try:
            JobSubmissionClient(address).list_jobs()
        except (ConnectionError, RuntimeError):
            time.sleep(0.5)
        else:
            return
    pytest.fail(f"no dashboard at {address} after four minutes")


@pytest.mark.ray
@pytest.mark.slow
def test_a_recipe_runs_as_a_job_and_sending_it_twice_is_one_job(cluster: str, tmp_path: Path, sluice: Call) -> None:
    from ray.job_submission import JobSubmissionClient

    text = RECIPE.replace("    apply:", "    expect: {quarantined: 1.0}\n    apply:")
    recipe = write_recipe(tmp_path / "project", text, shards=3)
    out = tmp_path / "shared" / "run"
    send = (
        "submit",
        recipe,
        "--to",
        "ray",
        "--address",
        cluster,
        "--out",
        out,
        "--working-dir",
        recipe.parent,
        "--env",
        f"PYTHONPATH={ROOT}",
    )
    waited = sluice(*send, "--wait", "--driver-cpus", "1")
    assert waited.exit_code == 0, waited.stderr + waited.stdout
    assert "submitted: small-" in waited.stdout
    assert "report: " in waited.stdout  # the job's own words
    job = waited.stdout.split()[1]
    status = json.loads(sluice("status", out, "--json").stdout)
    assert status["complete"] is True
    assert [(step["docs_in"], step["docs_kept"]) for step in status["steps"]] == [(7, 7), (7, 5)]
    again = sluice(*send)
    assert again.stdout.startswith(f"already there: {job} (succeeded)")
    assert len(JobSubmissionClient(cluster).list_jobs()) == 1
    assert json.loads(sluice("status", job, "--address", cluster, "--json").stdout)["status"] == "SUCCEEDED"
    assert "report: " in sluice("logs", job, "--address", cluster).stdout
    assert sluice("stop", job, "--address", cluster).stdout.strip() == f"{job}: succeeded"
    missing = sluice("status", "nothing", "--address", cluster)
    assert missing.exit_code == 2
    assert job in missing.stderr
    broken = sluice(*send, "--wait", "--set", "clean.length.min_chars=2", "--set", "crawl.read.paths=[gone.jsonl]")
    assert broken.exit_code == 1
    assert "exit code 2" in broken.stderr
