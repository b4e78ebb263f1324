"""``sluice submit``: send a recipe to a Ray cluster as a job."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import typer

from pipeline.backends.ray_jobs import Job, JobState, RayJobs
from pipeline.errors import RunFailedError, UserError
from pipeline.stores import is_uri
from pipeline.workflow import Workflow
from pipeline.works import ReadWork
from workflows.recipe import load

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Submission:
    """A recipe and how it is to be run on the cluster."""

    recipe: Path
    out: str
    overrides: tuple[str, ...]
    limit: int | None
    working_dir: Path
    env: tuple[str, ...]
    driver_cpus: float = 0


def submit_recipe(submission: Submission, address: str, *, wait: bool) -> None:
    """Check the recipe here, send it, and on demand wait for the job's end.

    Raises:
        UserError: the recipe is wrong, or names what is not sent along; ``out`` could not be reached from all nodes.
        RunFailedError: with ``wait``, where the job failed.
    """
    job = as_job(submission, load(submission.recipe, submission.overrides))
    jobs = RayJobs(address)
    state, new = jobs.submit(job)
    typer.echo(f"{'submitted' if new else 'already there'}: {state.id} ({state.status.lower()})")
    if not wait:
        typer.echo(
            f"watch: sluice logs {state.id} --address {address} --follow · sluice status {state.id} --address {address}"
        )
        return
    for text in jobs.logs(state.id, follow=True):
        typer.echo(text, nl=False)
    check_ended(jobs.state(state.id))


def check_ended(state: JobState) -> None:
    """Say how a job ended.

    Raises:
        RunFailedError: it failed or was stopped.
    """
    if state.status != "SUCCEEDED":
        msg = f"job {state.id} {state.status.lower()} (exit code {state.exit_code}): {state.message}"
        raise RunFailedError(msg)
    typer.echo(f"job {state.id} succeeded")


def as_job(submission: Submission, workflow: Workflow) -> Job:
    """The job of a recipe. Its name is derived from run, folder and recipe, so that sending it twice is one job.

    Raises:
        UserError: a path could not be reached on the cluster.
    """
    folder = submission.working_dir.resolve()
    recipe = submission.recipe.resolve()
    if not recipe.is_relative_to(folder):
        msg = f"the recipe {recipe} is not inside the folder sent along, {folder}; give --working-dir its project's folder"
        raise UserError(msg)
    if not is_uri(submission.out) and not Path(submission.out).is_absolute():
        msg = (
            f"--out {submission.out} is relative, and the job's own folder goes with the job; give an absolute path that "
            f"all nodes share, or a URI such as s3://bucket/run"
        )
        raise UserError(msg)
    _check_inputs(workflow, folder)
    command = [
        "sluice",
        "run",
        str(recipe.relative_to(folder)),
        "--out",
        submission.out,
        "--address",
        "auto",
        "--progress",
        "plain",
    ]
    for override in submission.overrides:
        command += ["--set", override]
    if submission.limit is not None:
        command += ["--limit", str(submission.limit)]
    key = hashlib.sha256(repr((submission.out, recipe.read_bytes(), command)).encode()).hexdigest()[:10]
    name = re.sub(r"[^A-Za-z0-9_-]", "-", workflow.name)
    return Job(
        attempt_of=f"{name}-{key}",
        entrypoint=shlex.join(command),
        working_dir=folder,
        env=_environment(submission.env),
        metadata={"run": workflow.name, "out": submission.out},
        cpus=submission.driver_cpus,
    )


def _check_inputs(workflow: Workflow, folder: Path) -> None:
    base = Path(workflow.base_dir).resolve()
    for step in workflow.steps:
        if not isinstance(step.verb, ReadWork):
            continue
        for pattern in step.verb.read.paths:
            if is_uri(pattern) or Path(pattern).is_absolute():
                continue
            where = Path(os.path.normpath(base / pattern))
            if not where.is_relative_to(folder):
                msg = (
                    f"step {step.name!r} reads {pattern}, that is {where}, outside the folder sent along, {folder}; give a "
                    f"--working-dir that holds it, or an absolute path or URI that the cluster reaches"
                )
                raise UserError(msg)


def _environment(given: tuple[str, ...]) -> dict[str, str]:
    env = {}
    for item in given:
        name, assigned, value = item.partition("=")
        if not _ENV_NAME.fullmatch(name):
            msg = f"--env {item}: wants KEY=VALUE, or KEY to hand yours on"
            raise UserError(msg)
        if not assigned and name not in os.environ:
            msg = f"--env {name}: it is not set here; give {name}=VALUE"
            raise UserError(msg)
        env[name] = value if assigned else os.environ[name]
    return env
