"""The Ray Jobs API: send a command to a cluster, watch it, stop it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from pipeline.errors import UserError

EXCLUDED = (".git", ".venv", "__pycache__", "runs", "*.egg-info", ".ruff_cache", ".pytest_cache", ".hypothesis")
"""Not sent along with a working directory, which Ray limits to some hundred megabytes."""

_POLL_S = 0.5
_AGENT_WAIT_S = 180.0
"""A cluster that has just started answers before it can take a job, on busy cores minutes before."""
_NO_AGENT = "No available agent"
_AGENT_REMEDY = (
    " (the agent of its node has no port: where two Ray clusters share a machine, start each with "
    "--dashboard-agent-listen-port=0)"
)


@dataclass(frozen=True)
class Job:
    """A command for a cluster.

    attempt_of: name of the job without its attempt's number. cpus: CPUs that the driver itself takes from the cluster.
    """

    attempt_of: str
    entrypoint: str
    working_dir: Path
    env: Mapping[str, str]
    metadata: Mapping[str, str]
    cpus: float = 0


@dataclass(frozen=True)
class JobState:
    """Where a job is: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED, and what Ray says of it."""

    id: str
    status: str
    message: str
    exit_code: int | None

    @property
    def ended(self) -> bool:
        """Nothing will change any more."""
        return JobStatus(self.status).is_terminal()


class RayJobs:
    """The jobs of one cluster.

    Raises:
        UserError: nothing answers at that address.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        try:
            self._client = JobSubmissionClient(address)
        except AuthenticationError as error:
            msg = f"the cluster at {address} wants its token: export RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH)"
            raise UserError(msg) from error
        except (ConnectionError, RuntimeError) as error:
            msg = f"no Ray dashboard answers at {address}: {error}; give http://HOST:8265 of the cluster's head"
            raise UserError(msg) from error

    def submit(self, job: Job) -> tuple[JobState, bool]:
        """Submit a job, unless an attempt of it is waiting, running or has succeeded: (its state, True where it is new).

        Attempts are numbered; Ray takes each id once, so two who submit at the same time get the same job.
        """
        for attempt in range(1, 10_000):
            name = f"{job.attempt_of}-{attempt}"
            before = self._find(name)
            if before is None:
                return self._submit(job, name)
            if before.status not in (JobStatus.FAILED, JobStatus.STOPPED):
                return before, False
        msg = f"{job.attempt_of} failed ten thousand times; give the run another --out"
        raise UserError(msg)

    def _submit(self, job: Job, name: str) -> tuple[JobState, bool]:
        env = {"working_dir": str(job.working_dir), "excludes": list(EXCLUDED), "env_vars": dict(job.env)}
        deadline = time.monotonic() + _AGENT_WAIT_S
        while True:
            try:
                self._client.submit_job(
                    entrypoint=job.entrypoint,
                    submission_id=name,
                    runtime_env=env,
                    metadata=dict(job.metadata),
                    entrypoint_num_cpus=job.cpus or None,
                )
            except RuntimeError as error:
                theirs = self._find(name)
                if theirs is not None:
                    return theirs, False
                if _NO_AGENT in str(error) and time.monotonic() < deadline:
                    time.sleep(_POLL_S)
                    continue
                remedy = _AGENT_REMEDY if _NO_AGENT in str(error) else ""
                msg = f"{self._address} refused the job {name}: {error}{remedy}"
                raise UserError(msg) from error
            return self.state(name), True

    def state(self, name: str) -> JobState:
        """Where a job is.

        Raises:
            UserError: there is no such job.
        """
        found = self._find(name)
        if found is None:
            known = ", ".join(sorted(job.submission_id or "" for job in self._jobs())) or "none"
            msg = f"no job {name!r} at {self._address}; there are: {known}"
            raise UserError(msg)
        return found

    def _find(self, name: str) -> JobState | None:
        for job in self._jobs():
            if job.submission_id == name:
                code = job.driver_exit_code
                return JobState(name, job.status.value, job.message or "", None if code is None else int(code))
        return None

    def _jobs(self) -> list[Any]:
        """Every job; Ray's own type for one is None without its optional parts."""
        return list(self._client.list_jobs())

    def logs(self, name: str, *, follow: bool) -> Iterator[str]:
        """What a job printed, in pieces; with ``follow`` until it ends."""
        self.state(name)
        printed = 0
        going = True
        while going:
            going = follow and not self.state(name).ended
            text = self._client.get_job_logs(name)
            if len(text) > printed:
                yield text[printed:]
                printed = len(text)
            if going:
                time.sleep(_POLL_S)

    def stop(self, name: str, timeout_s: float) -> JobState:
        """Stop a job (SIGTERM, which a driver takes as ``sluice stop``) and wait for its end, at most ``timeout_s``."""
        if not self.state(name).ended:
            self._client.stop_job(name)
        deadline = time.monotonic() + timeout_s
        while not (state := self.state(name)).ended and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return state
