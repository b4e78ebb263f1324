"""The driver: one loop that hands ready tasks to a backend until every shard of every step is committed."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

import orjson

from pipeline.backends.backend import Backend, Finished
from pipeline.commit import Commit, commit_name, committed, read_commit
from pipeline.errors import RunFailedError, StoppedError, UserError
from pipeline.expectations import check
from pipeline.graph import Graph, NodeState
from pipeline.ledger import total
from pipeline.pretrain.stopping import ASKED
from pipeline.progress import Progress
from pipeline.sealing import manifest, warnings
from pipeline.storage import Storage
from pipeline.watch import MetricsWatch
from pipeline.work import StreamWork
from pipeline.worker import Assignment, TaskSpec, execute
from pipeline.workflow import Expect

MAX_ATTEMPTS = 3
"""Attempts at an assignment that raised before the run fails."""

ISOLATE_AFTER = 2
"""Deaths of the process at work on one assignment (or its memory running out) before its documents are treated in
processes of their own, to find out whether one of them is the cause."""

MAX_DEATHS = 20
"""Deaths of the process at work on one assignment before the run fails: a kill is no verdict on the shard, but one that
kills every process is."""

DRAIN_S = 30.0
"""How long a stopping driver waits for running tasks; what has not ended is done again next time."""


@dataclass
class Driver:
    """Runs a graph to its end. Nothing here outlives the process: resuming is reading the commit records."""

    graph: Graph
    storage: Storage
    backend: Backend
    progress: Progress
    expect: Mapping[str, Expect] = field(default_factory=dict)
    should_stop: Callable[[], bool] = lambda: False
    on_resolved: Callable[[], None] = lambda: None
    """Called when datasets were named."""

    def __post_init__(self) -> None:
        self._ready: list[tuple[int, int, str]] = []
        self._queued: set[tuple[str, int]] = set()
        self._attempts: dict[tuple[str, int], int] = {}
        self._deaths: dict[tuple[str, int], int] = {}
        self._in_flight = 0
        self._sealed: set[str] = set()

    def run(self) -> None:
        """Run every task.

        Raises:
            UserError, RunFailedError: as the tasks do, or when an expectation breaks.
            StoppedError: told to stop; what was running has been committed.
        """
        self._resolve()
        while not self._done():
            if self.should_stop():
                self._drain()
                msg = "stopped; the same command goes on from here"
                raise StoppedError(msg)
            self._submit()
            finished = self.backend.wait(0.5)
            for one in finished:
                self._in_flight -= 1
                self._take(one)
            if finished:
                self._resolve()
            elif not self._in_flight and not self._ready and not self._done():
                waiting = [s.name for s in self.graph.states.values() if not s.complete]
                msg = f"nothing can run, yet {', '.join(waiting)} are not complete: an engine bug"
                raise RunFailedError(msg)
            self.progress.tick(self._in_flight)
        self.progress.tick(0, last=True)

    def _done(self) -> bool:
        return all(state.complete for state in self.graph.states.values())

    # -- graph ----------------------------------------------------------------------------------------------------

    def _resolve(self) -> None:
        """Name the datasets that can be named, take over what they hold, seal what is complete."""
        while True:
            found = list(self.graph.resolvable())
            for state in found:
                dataset = self.graph.identify(state)
                present = committed(self.storage, dataset)
                self.graph.resolve(state, present=present)
                self.progress.plan(state.name, len(state.plans), state.commits.values())
                for name, index in self.graph.ready(state):
                    self._queue(name, index)
            for state in self.graph.states.values():
                if state.complete and state.name not in self._sealed:
                    self._seal(state)
            if not found:
                return
            self.on_resolved()

    def _seal(self, state: NodeState) -> None:
        """Check what a complete dataset holds, then write its manifest."""
        self._sealed.add(state.name)
        ledger = total(state.commits[k].ledger for k in sorted(state.commits))
        for warning in warnings(state, ledger, self.storage):
            self.progress.warn(warning)
        check(state.name, ledger, self.expect.get(state.name, Expect()))
        for index in sorted(state.commits):
            state.work.recheck(state.commits[index].facts)
        name = f"{state.dataset}/manifest.json"
        data = orjson.dumps(manifest(state, ledger, self.graph), option=orjson.OPT_INDENT_2)
        if not self.storage.exists(name) or self.storage.read_bytes(name) != data:
            self.storage.write_bytes(name, data)

    def _queue(self, name: str, index: int) -> None:
        if (name, index) not in self._queued:
            self._queued.add((name, index))
            heapq.heappush(self._ready, (-self.graph.states[name].depth, index, name))

    # -- tasks ----------------------------------------------------------------------------------------------------

    def _submit(self) -> None:
        while self._ready:
            _, index, name = self._ready[0]
            state = self.graph.states[name]
            if index in state.commits:
                heapq.heappop(self._ready)
                continue
            if state.work.gang:
                if self._in_flight == 0:
                    heapq.heappop(self._ready)
                    self._gang(name, index)
                    continue
                others = [entry for entry in self._ready if not self.graph.states[entry[2]].work.gang]
                if not others or self.backend.free_slots() <= 0:
                    return
                self._ready.remove(others[0])
                heapq.heapify(self._ready)
                index, name = others[0][1], others[0][2]
            elif self.backend.free_slots() <= 0:
                return
            else:
                heapq.heappop(self._ready)
            self._in_flight += 1
            self.backend.submit(self._assignment(name, index))

    def _assignment(self, name: str, index: int) -> Assignment:
        """The task, and those behind it that can run in the same pass over its documents."""
        specs = [self.graph.spec(name, index)]
        if isinstance(self.graph.states[name].work, StreamWork):
            self._extend(specs, name, index, 0)
        isolated = self.backend.own_processes and self._deaths.get((name, index), 0) >= ISOLATE_AFTER
        return Assignment(tuple(specs), isolated=isolated)

    def _extend(self, specs: list[TaskSpec], name: str, index: int, parent: int) -> None:
        if self.graph.states[name].work.kind not in ("source", "documents"):
            return
        for consumer in self.graph.consumers[name]:
            state = self.graph.states[consumer]
            if (
                state.dataset is None
                or not isinstance(state.work, StreamWork)
                or state.node.inputs.get("documents") != name
                or index in state.commits
                or (consumer, index) in self._queued
                or state.waits[index] != 1
            ):
                continue
            self._queued.add((consumer, index))
            specs.append(self.graph.spec(consumer, index, parent=parent))
            self._extend(specs, consumer, index, len(specs) - 1)

    def _gang(self, name: str, index: int) -> None:
        """Run a task that brings its own processes, here, with the pool's resources given back."""
        self.backend.release()
        spec = self.graph.spec(name, index)
        if not self.storage.is_local:
            msg = (
                f"step {name!r} trains, so its run must lie on a file system all nodes share, not at {self.storage.uri}"
            )
            raise UserError(msg)
        home = self.storage.local_path(spec.dataset)
        home.mkdir(parents=True, exist_ok=True)
        assignment = Assignment((replace(spec, home=str(home)),))
        self.progress.note(f"{name}: training in {home}")
        try:
            with MetricsWatch(home / "metrics.jsonl", name, self.progress.note):
                finished = Finished(assignment, self._beside(assignment))
        except (UserError, RunFailedError, StoppedError):
            raise
        except Exception as error:
            msg = f"{name} failed: {type(error).__name__}: {error}"
            raise RunFailedError(msg) from error
        self._take(finished)
        self._resolve()

    def _beside(self, assignment: Assignment) -> Sequence[Commit]:
        """Do an assignment in a thread, so that this one still hears when it is told to stop."""
        ASKED.clear()
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(execute, assignment, self.storage)
            while not wait([future], timeout=0.5).done:
                if self.should_stop():
                    # Takes the trainer's processes away, upon which the thread ends. Checkpoints stay.
                    ASKED.set()
                    self.backend.close()
                    wait([future], timeout=DRAIN_S)
                    msg = "stopped while training; the same command goes on from the last checkpoint"
                    raise StoppedError(msg)
            return future.result()

    def _take(self, finished: Finished) -> None:
        tasks = finished.assignment.tasks
        if finished.error is None:
            for spec, commit in zip(tasks, finished.commits, strict=True):
                self._committed(spec, commit)
            return
        # A pass that failed may have committed its first tasks.
        for spec in tasks:
            name = commit_name(spec.dataset, spec.index)
            if self.storage.exists(name):
                self._committed(spec, read_commit(self.storage, name))
        if isinstance(finished.error, UserError | RunFailedError):
            self._drain()
            raise finished.error
        self._retry(finished)

    def _committed(self, spec: TaskSpec, commit: Commit) -> None:
        self.progress.committed(spec.node, commit)
        for name, index in self.graph.committed(spec.node, commit):
            self._queue(name, index)

    def _retry(self, finished: Finished) -> None:
        """Queue again what was not committed: roots of what is left, each with its attempt counted."""
        root = finished.assignment.tasks[0]
        key = (root.node, root.index)
        self._attempts[key] = self._attempts.get(key, 0) + 1
        self._deaths[key] = self._deaths.get(key, 0) + (finished.died or isinstance(finished.error, MemoryError))
        cause = (
            f"its process died ({finished.error})"
            if finished.died
            else f"{type(finished.error).__name__}: {finished.error}"
        )
        self.progress.note(f"{finished.assignment.label}: attempt {self._attempts[key]} failed: {cause}")
        if self._attempts[key] >= (MAX_DEATHS if finished.died else MAX_ATTEMPTS):
            self._drain()
            msg = f"{finished.assignment.label} failed {self._attempts[key]} times, last: {cause}"
            raise RunFailedError(msg) from finished.error
        for spec in finished.assignment.tasks:
            state = self.graph.states[spec.node]
            self._queued.discard((spec.node, spec.index))
            if spec.index not in state.commits and state.waits[spec.index] == 0:
                self._queue(spec.node, spec.index)

    def _drain(self) -> None:
        """Let what is running end, and take its commits; nothing new is started."""
        deadline = time.monotonic() + DRAIN_S
        while self._in_flight and time.monotonic() < deadline:
            for one in self.backend.wait(0.5):
                self._in_flight -= 1
                for spec, commit in zip(one.assignment.tasks, one.commits, strict=False):
                    self.progress.committed(spec.node, commit)
