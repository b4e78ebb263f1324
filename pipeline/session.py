"""One command's work on a run: freeze the inputs, hold the lease, drive the graph, keep ``run.json`` true."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import BaseModel

from pipeline.backends.backend import Backend
from pipeline.backends.inline import InlineBackend
from pipeline.dataset import RUN_FILE, Run
from pipeline.errors import DamagedFileError, UserError
from pipeline.eventlog import logged
from pipeline.fingerprint import FORMAT_VERSION
from pipeline.graph import Graph
from pipeline.inputs import FrozenInputs, freeze
from pipeline.lease import Lease
from pipeline.operator import Operator
from pipeline.ownership import check_packages
from pipeline.planned import CutOtherwiseError
from pipeline.progress import Mode, Progress
from pipeline.redo import make_anew
from pipeline.run import Driver
from pipeline.sealing import clear_scratch
from pipeline.storage import Storage
from pipeline.takedown.generation import check_not_pending
from pipeline.value import artifacts
from pipeline.work import offered
from pipeline.workflow import Workflow
from pipeline.works import Apply, ReadWork

STOP_FILE = "stop"

MOST_REDONE = 100
"""Damaged files that one command makes anew; a disk that damages more of them needs a person."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How and where a run is done; nothing here changes what comes out.

    limit: only the first shards of each source. workers: processes at once (None: one a core).
    """

    backend: Literal["ray", "inline"] = "ray"
    address: str | None = None
    workers: int | None = None
    limit: int | None = None
    progress: Mode = "plain"


def run(workflow: Workflow, out: str, settings: Settings | None = None) -> Run:
    """Run a workflow into a folder, or go on with it.

    Raises:
        UserError: the recipe, an input or an argument is wrong, or another driver holds the run.
        RunFailedError: a step failed.
        StoppedError: stopped by SIGINT, SIGTERM or ``sluice stop``.
    """
    settings = settings or Settings()
    if settings.limit is not None and settings.limit < 1:
        msg = f"--limit {settings.limit}: at least one shard must run"
        raise UserError(msg)
    check_packages()
    storage = Storage(out)
    with Lease(storage), logged(storage, asdict(settings)) as log:
        clear_scratch(storage)
        check_not_pending(storage)
        inputs = freeze_inputs(workflow, storage)
        progress = Progress(settings.progress, log=log)
        try:
            for attempt in range(MOST_REDONE + 1):
                graph = Graph(workflow.nodes(), inputs, settings.limit)
                try:
                    _drive(workflow, graph, storage, settings, progress)
                    break
                except (DamagedFileError, CutOtherwiseError) as error:
                    if attempt == MOST_REDONE:
                        raise
                    progress.note(make_anew(graph, storage, error))
        finally:
            progress.close()
            clear_scratch(storage)
    return Run.open(out)


def _drive(workflow: Workflow, graph: Graph, storage: Storage, settings: Settings, progress: Progress) -> None:
    """Run a graph from what is committed to its end."""
    record = Record(workflow, graph, storage)
    record.write()
    backend = _backend(storage, settings)
    expect = {step.name: step.expect for step in workflow.steps}
    try:
        # After the backend: Ray installs signal handlers of its own when it starts.
        with _stoppable(storage) as should_stop:
            Driver(graph, storage, backend, progress, expect, should_stop, record.write).run()
    finally:
        backend.close()
        record.write()


def freeze_inputs(workflow: Workflow, storage: Storage) -> dict[str, FrozenInputs]:
    """The inputs of each reading step, as frozen before where the run knows them.

    Raises:
        UserError: an input is missing, or changed since it was frozen.
    """
    known: Mapping[str, Any] = {}
    if storage.exists(RUN_FILE):
        known = orjson.loads(storage.read_bytes(RUN_FILE))["inputs"]
    frozen = {}
    for step in workflow.steps:
        if isinstance(step.verb, ReadWork):
            before = known.get(step.name)
            # A recipe that now names other paths is another input, not a changed one; further epochs are more of it.
            previous = None
            if before is not None and _goes_on(before, _asked(step.verb)):
                previous = FrozenInputs.model_validate_json(orjson.dumps(before["frozen"]))
            frozen[step.name] = freeze(step.verb.read, Path(workflow.base_dir), previous)
    return frozen


def _asked(work: ReadWork) -> dict[str, Any]:
    """Which files a recipe asks for, as ``run.json`` holds it."""
    read = work.read
    return {
        "patterns": [*read.paths, read.paths_from or "", read.format],
        "epochs": [[label, *paths] for label, paths in read.epochs],
    }


def _goes_on(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    epochs = before.get("epochs", [])
    return now["patterns"] == before["patterns"] and now["epochs"][: len(epochs)] == epochs


class Record:
    """``run.json``: the recipe as resolved, the frozen inputs, and where each step's dataset lies."""

    def __init__(self, workflow: Workflow, graph: Graph, storage: Storage) -> None:
        self._workflow = workflow
        self._graph = graph
        self._storage = storage
        self._offered = [name for nodes in workflow.nodes_by_step().values() for name in offered(nodes)]
        self._written = b""

    def write(self) -> None:
        """Write the file where it changed; it appears all at once."""
        data = orjson.dumps(self._facts(), option=orjson.OPT_INDENT_2)
        if data != self._written:
            self._storage.write_bytes(RUN_FILE, data)
            self._written = data

    def _facts(self) -> dict[str, Any]:
        states = self._graph.states
        inputs = {}
        for step in self._workflow.steps:
            if isinstance(step.verb, ReadWork):
                frozen = self._graph.inputs[step.name].model_dump(mode="json")
                inputs[step.name] = {**_asked(step.verb), "frozen": frozen}
        return {
            "format_version": FORMAT_VERSION,
            "name": self._workflow.name,
            "seed": self._workflow.seed,
            "recipe": {s.name: {"from": s.source, **plain(s.verb)} for s in self._workflow.steps},
            "operators": {s.name: _places(s.verb.operators) for s in self._workflow.steps if isinstance(s.verb, Apply)},
            "inputs": inputs,
            "datasets": {name: states[name].dataset for name in self._offered},
            "fingerprints": {name: states[name].fingerprint for name in self._offered},
            "nodes": {name: self._node(name) for name in states},
            "versions": versions(),
        }

    def _node(self, name: str) -> dict[str, Any]:
        state = self._graph.states[name]
        read = {"read": state.work.read.model_dump(mode="json")} if isinstance(state.work, ReadWork) else {}
        return {
            "kind": state.work.kind,
            "inputs": dict(state.deps),
            "artifacts": [artifact.model_dump() for artifact in artifacts(state.work)],
            "dataset": state.dataset,
            "num_shards": len(state.plans) if state.dataset else None,
            "recorded": state.work.recorded,
            **read,
        }


def _places(operators: Sequence[Operator]) -> list[str]:
    """Where the class of each operator is imported from, ``module:Class``."""
    return [f"{type(operator).__module__}:{type(operator).__qualname__}" for operator in operators]


def plain(value: object) -> Any:
    """A verb or operator as data, every default spelled out, operators by name."""
    if isinstance(value, BaseModel):
        fields = {name: plain(getattr(value, name)) for name in type(value).model_fields}
        return {type(value).__name__: fields}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return value if isinstance(value, str | int | float | bool | None) else str(value)


@cache
def versions() -> dict[str, str]:
    """Versions of everything that may change what comes out."""
    names = ("sluice", "ray", "pyarrow", "numpy", "numba", "tokenizers", "torch", "fastwarc", "resiliparse")
    found = {"python": platform.python_version()}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _backend(storage: Storage, settings: Settings) -> Backend:
    if settings.backend == "inline":
        return InlineBackend(storage)
    # Ray takes a second to import, which plan, cat and status do not need.
    from pipeline.backends.ray import RayBackend

    return RayBackend(storage, address=settings.address, workers=settings.workers)


@contextlib.contextmanager
def _stoppable(storage: Storage) -> Iterator[Any]:
    """A function that says whether to stop: after SIGINT, SIGTERM, or a stop file in the run's folder."""
    asked = threading.Event()
    storage.delete(STOP_FILE)
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, lambda *_: asked.set())
    last_look = time.monotonic()

    def should_stop() -> bool:
        nonlocal last_look
        if not asked.is_set() and time.monotonic() - last_look > 1.0:
            last_look = time.monotonic()
            if storage.exists(STOP_FILE):
                asked.set()
        return asked.is_set()

    try:
        yield should_stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        storage.delete(STOP_FILE)
