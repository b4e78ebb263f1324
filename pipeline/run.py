"""The driver: one loop that hands ready tasks to a backend until every shard of every step is committed."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import orjson

from pipeline.backends.backend import Backend, Finished
from pipeline.beside import Telling, check_streams, early_spec, kept_free, may_begin, waiting
from pipeline.commit import Commit, commit_name, committed, read_commit
from pipeline.errors import RunFailedError, StoppedError, UserError
from pipeline.expectations import check
from pipeline.gang import DRAIN_S, Gang
from pipeline.graph import Graph, NodeState
from pipeline.ledger import total
from pipeline.progress import Progress
from pipeline.sealing import manifest, warnings
from pipeline.storage import Storage
from pipeline.work import StreamWork
from pipeline.worker import Assignment, TaskSpec
from pipeline.workflow import Expect

MAX_ATTEMPTS = 3
"""Attempts at an assignment that raised before the run fails."""

ISOLATE_AFTER = 2
"""Deaths of the process at work on one assignment (or its memory running out) before its documents are treated in
processes of their own, to find out whether one of them is the cause."""

MAX_DEATHS = 20
"""Deaths of the process at work on one assignment before the run fails: a kill is no verdict on the shard, but one that
kills every process is."""


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
        self._began = time.time()
        self._gang: Gang | None = None
        self._telling: Telling | None = None

    def run(self) -> None:
        """Run every task.

        Raises:
            UserError, RunFailedError: as the tasks do, or when an expectation breaks.
            StoppedError: told to stop; what was running has been committed.
        """
        try:
            self._resolve()
            check_streams(self.graph)
            self.backend.reserve(*kept_free(self.graph))
            while not self._done():
                self._turn()
            self.progress.tick(0, last=True)
        finally:
            if self._gang is not None:
                self.progress.note(f"{self._gang.name}: ended; it goes on from its last checkpoint")
                self._gang.end(self.backend)

    def _turn(self) -> None:
        """Start what can run, and take what ended."""
        if self.should_stop():
            self._stop()
        self._begin_early()
        self._submit()
        finished = self._wait()
        for one in finished:
            self._take(one)
        if finished:
            self._resolve()
            self.backend.reserve(*kept_free(self.graph))
        elif not (self._in_flight or self._ready or self._gang or self._done()):
            missing = [s.name for s in self.graph.states.values() if not s.complete]
            msg = f"nothing can run, yet {', '.join(missing)} are not complete: an engine bug"
            raise RunFailedError(msg)
        if self._telling is not None:
            self._telling.tell()
        if self._gang is not None and not (self._in_flight or self._ready):
            self.backend.release()  # a training may go on for days after the pool's last task
        self.progress.tick(self._in_flight)

    def _wait(self) -> list[Finished]:
        """What ended; waits for the first of it, half a second at most."""
        finished = list(self.backend.wait(0.5))
        self._in_flight -= len(finished)
        if self._gang is not None:
            trained = self._gang.wait(0.0 if finished or self._in_flight else 0.5)
            if trained is not None:
                self._gang = self._telling = None
                finished.append(trained)
        return finished

    def _stop(self) -> None:
        if self._gang is None:
            self._drain()
            msg = "stopped; the same command goes on from here"
            raise StoppedError(msg)
        self._gang.ask()
        self._drain()
        self._gang.end(self.backend)
        self._gang = None
        msg = "stopped while training; the same command goes on from the last checkpoint"
        raise StoppedError(msg)

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
        if (name, index) not in self._queued and self.graph.states[name].work.beside is None:
            self._queued.add((name, index))
            heapq.heappush(self._ready, (-self.graph.states[name].depth, index, name))

    # -- tasks ----------------------------------------------------------------------------------------------------

    def _submit(self) -> None:
        while self._ready and (self._gang is None or self._gang.beside):
            _, index, name = self._ready[0]
            state = self.graph.states[name]
            if index in state.commits:
                heapq.heappop(self._ready)
                continue
            if state.work.gang:
                if self._in_flight == 0 and self._gang is None:
                    heapq.heappop(self._ready)
                    self.backend.release()
                    self._start(self.graph.spec(name, index))
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

    def _begin_early(self) -> None:
        """Begin a training whose first shards are there; one at a time."""
        for state, beside in waiting(self.graph) if self._gang is None else ():
            if may_begin(self.graph, state, beside):
                telling = Telling(self.graph, state, self.storage, beside)
                telling.tell()
                self._start(early_spec(self.graph, state, beside), beside=True)
                self._telling = telling
                return

    def _start(self, spec: TaskSpec, *, beside: bool = False) -> None:
        self._gang = Gang(replace(spec, began=self._began), self.storage, self.progress.note, beside=beside)
        self._gang.start()

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
