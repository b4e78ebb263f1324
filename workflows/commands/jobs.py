"""``status``, ``logs`` and ``stop`` of a job that was submitted to a Ray cluster."""

from __future__ import annotations

from dataclasses import asdict

import orjson
import typer

from pipeline.backends.ray_jobs import RayJobs
from pipeline.errors import RunFailedError


def show_job(name: str, address: str, *, as_json: bool) -> None:
    """Print where a job is.

    Raises:
        UserError: no such cluster or job.
    """
    state = RayJobs(address).state(name)
    if as_json:
        typer.echo(orjson.dumps(asdict(state), option=orjson.OPT_INDENT_2))
    else:
        typer.echo(f"{state.id}: {state.status.lower()}. {state.message}".rstrip())


def print_job_logs(name: str, address: str, *, follow: bool) -> None:
    """Print what a job printed.

    Raises:
        UserError: no such cluster or job.
    """
    for text in RayJobs(address).logs(name, follow=follow):
        typer.echo(text, nl=False)


def stop_job(name: str, address: str, timeout_s: float) -> None:
    """Stop a job.

    Raises:
        UserError: no such cluster or job.
        RunFailedError: it has not ended after ``timeout_s``.
    """
    state = RayJobs(address).stop(name, timeout_s)
    if not state.ended:
        msg = f"job {name} is still {state.status.lower()} after {timeout_s:g} s; look at `sluice logs {name} --address {address}`"
        raise RunFailedError(msg)
    typer.echo(f"{name}: {state.status.lower()}")
