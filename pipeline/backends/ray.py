"""A pool of Ray actors, one process each; the only engine module that imports ray."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from pipeline.backends.backend import Finished
from pipeline.commit import Commit
from pipeline.errors import UserError
from pipeline.ownership import check_packages
from pipeline.storage import Storage
from pipeline.stores import make_private
from pipeline.worker import Assignment, execute

_THREADS = {
    "OMP_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "NUMBA_NUM_THREADS": "1",
}


class Worker:
    """One process of the pool: does one assignment at a time on one core."""

    def __init__(self, uri: str, package_root: str) -> None:
        check_packages(package_root)
        import pyarrow as pa  # thread counts are per process, and this runs in the actor's

        pa.set_cpu_count(1)
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        self._storage = Storage(uri)

    def run(self, assignment: Assignment) -> list[Commit]:
        """Do an assignment."""
        return execute(assignment, self._storage, may_die=True)

    def pid(self) -> int:
        """Process id, for tests that kill it and for logs."""
        return os.getpid()


class RayBackend:
    """Keeps up to ``workers`` actors, made as they are needed, each with one assignment.

    Actors are never restarted and calls never retried by Ray; a dead actor is reported and replaced on the next
    submit. Without an address a Ray of its own is started on loopback, and ended by ``close``.

    Raises:
        UserError: the cluster cannot give even one worker.
    """

    own_processes = True

    def __init__(self, storage: Storage, *, address: str | None = None, workers: int | None = None) -> None:
        self._storage = storage
        self._temp: Path | None = None
        self._connect(address, workers)
        cpus = int(ray.cluster_resources().get("CPU", 0))
        if cpus < 1:
            msg = f"the Ray cluster at {address or 'this machine'} has {cpus} CPUs; a worker needs 1"
            raise UserError(msg)
        # In a cluster that others use, or in which this driver holds CPUs as a job, an actor too many would wait for ever.
        free = cpus if address is None else max(1, int(ray.available_resources().get("CPU", 0)))
        self._limit = min(workers or free, free)
        self._free = free
        self._reserved = 0
        if workers is not None and workers > cpus:
            msg = f"--workers {workers}, but the cluster has {cpus} CPUs; ask for at most {cpus}"
            raise UserError(msg)
        self._idle: list[Any] = []  # handles of Worker actors; their stubs know no methods
        self._busy: dict[ray.ObjectRef, tuple[Any, Assignment]] = {}

    def _connect(self, address: str | None, workers: int | None) -> None:
        if address is not None:
            ray.init(address=address, log_to_driver=False, configure_logging=False)
            return
        # A short path: the sockets below it must stay under 107 bytes. Named after the run, so that the next driver
        # of the same run removes what a killed one left.
        self._temp = ray_folder(self._storage)
        end_leftovers(self._temp)
        shutil.rmtree(self._temp, ignore_errors=True)
        make_private(self._temp)
        cpus = max(workers or 0, os.cpu_count() or 1)
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            _temp_dir=str(self._temp),
            _node_ip_address="127.0.0.1",
            object_store_memory=200 * 2**20,
            log_to_driver=False,
            configure_logging=False,
        )

    def free_slots(self) -> int:
        """Workers that could take an assignment."""
        return min(self._limit, self._free - self._reserved) - len(self._busy)

    def submit(self, assignment: Assignment) -> None:
        """Give it to an idle worker, or to a new one."""
        worker = self._idle.pop() if self._idle else self._start()
        self._busy[worker.run.remote(assignment)] = (worker, assignment)

    def _start(self) -> Any:
        remote = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(Worker)
        root = str(Path(__file__).resolve().parents[2])
        env = {"env_vars": {**_THREADS, "PYTHONPATH": _python_path(root)}}
        return remote.options(runtime_env=env).remote(self._storage.uri, root)

    def wait(self, timeout_s: float) -> Sequence[Finished]:
        """Assignments that ended."""
        if not self._busy:
            return []
        done, _ = ray.wait(list(self._busy), num_returns=1, timeout=timeout_s, fetch_local=False)
        more = [ref for ref in self._busy if ref not in done]
        if done and more:
            done += ray.wait(more, num_returns=len(more), timeout=0, fetch_local=False)[0]
        return [self._finish(ref) for ref in done]

    def _finish(self, ref: ray.ObjectRef) -> Finished:
        worker, assignment = self._busy.pop(ref)
        try:
            commits = ray.get(ref)
        except RayTaskError as error:
            self._idle.append(worker)
            cause = error.cause if isinstance(error.cause, BaseException) else error
            return Finished(assignment, error=cause)
        except RayActorError as error:
            return Finished(assignment, error=error, died=True)
        self._idle.append(worker)
        return Finished(assignment, commits)

    def reserve(self, cpus: int, gpus: int) -> None:
        """Leave CPUs to a training beside the pool. Asked for before the first submit, so that no worker has them.

        Raises:
            UserError: no CPU would be left for the pool, or the cluster has fewer GPUs.
        """
        there = int(ray.cluster_resources().get("GPU", 0)) if gpus else 0
        if cpus >= self._free or gpus > there:
            has, wanted = (f"{there} GPUs", f"{gpus}") if gpus > there else (f"{self._free} free CPUs", f"{cpus} + 1")
            msg = (
                f"training beside the pool takes {wanted}, the cluster has {has}: lower `workers` of the step that "
                f"trains, or leave its `streaming` out"
            )
            raise UserError(msg)
        self._reserved = cpus

    def release(self) -> None:
        """End the idle workers, so that their cores are free."""
        for worker in self._idle:
            ray.kill(worker)
        self._idle.clear()

    def pids(self) -> list[int]:
        """Processes of the pool."""
        workers = [*self._idle, *(worker for worker, _ in self._busy.values())]
        return [int(ray.get(worker.pid.remote())) for worker in workers]

    def close(self) -> None:
        """End the workers, and the Ray that was started here with all its files."""
        for worker, _ in self._busy.values():
            ray.kill(worker)
        self._busy.clear()
        self.release()
        ray.shutdown()
        if self._temp is not None:
            shutil.rmtree(self._temp, ignore_errors=True)


def ray_folder(storage: Storage) -> Path:
    """Where a run's own Ray keeps its sockets and logs."""
    return Path(tempfile.gettempdir()) / f"sluice-{os.getuid()}-{storage.short_id}"


def end_leftovers(folder: Path) -> list[int]:
    """End processes of an earlier Ray in that folder; returns their pids.

    A killed driver takes its Ray with it, but for the agents, which first try for a minute to tell it. They rename
    themselves, so it is their open log files that tell whose they are.
    """
    ended = []
    for process in Path("/proc").glob("[0-9]*"):
        pid = int(process.name)
        if pid != os.getpid() and _holds(process / "fd", f"{folder}/"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                ended.append(pid)
    return ended


def _holds(handles: Path, prefix: str) -> bool:
    """Whether one of a process's open files lies under a folder; False where that cannot be seen."""
    try:
        return any(str(handle.readlink()).startswith(prefix) for handle in handles.iterdir())
    except OSError:
        return False  # ended by itself, or another user's


def _python_path(root: str) -> str:
    before = os.environ.get("PYTHONPATH", "")
    return root if not before or before == root else f"{root}{os.pathsep}{before}"
