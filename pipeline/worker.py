"""Does shard tasks: one pass over the documents for a chain of them, each committed on its own."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from pipeline.commit import Commit, commit
from pipeline.inputs import FrozenFile, Piece, check_unchanged
from pipeline.isolation import limit_cpu
from pipeline.readers.batch import ReadBatch
from pipeline.readers.read import read_shard
from pipeline.shards import ShardSpec, opened
from pipeline.storage import Storage
from pipeline.takedown.suppression import register
from pipeline.value import Artifact, replace_artifacts
from pipeline.work import Result, ShardWork, Sink, StreamWork, Task, Work
from pipeline.works import Apply, ReadSink, ReadWork


@dataclass(frozen=True)
class TaskSpec:
    """One shard task as it travels to a worker.

    parent: position in the assignment of the task whose documents it takes from memory; None where it reads its
    own input. artifacts: (artifact as resolved, its name under the run) of files other steps made.
    """

    node: str
    dataset: str
    index: int
    work: Work
    inputs: Mapping[str, tuple[ShardSpec, ...]] = field(default_factory=dict)
    input_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pieces: tuple[Piece, ...] = ()
    frozen: tuple[FrozenFile, ...] = ()
    parent: int | None = None
    artifacts: tuple[tuple[Artifact, str], ...] = ()
    home: str | None = None
    began: float | None = None
    part: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Assignment:
    """Tasks done in one pass: a root, and those that take their documents from one before them.

    isolated: processes died over them before; see ``Task.isolated``.
    """

    tasks: tuple[TaskSpec, ...]
    isolated: bool = False

    @property
    def label(self) -> str:
        """How a person names it."""
        return " -> ".join(task.node for task in self.tasks) + f" shard {self.tasks[0].index}"


def execute(assignment: Assignment, storage: Storage, *, may_die: bool = False) -> list[Commit]:
    """Do an assignment; returns the commit record of each task, in its order.

    may_die: this process is the pool's own, so that a batch that uses more CPU than it may ends it.
    Whatever is raised, the scratch folder of this attempt goes, and what was committed before stays.
    """
    scratch = storage.scratch() / uuid.uuid4().hex
    try:
        tasks = [
            _task(spec, storage, scratch / str(position), isolated=assignment.isolated)
            for position, spec in enumerate(assignment.tasks)
        ]
        root = assignment.tasks[0]
        work = _with_files(root, storage)
        if isinstance(work, ShardWork):
            started = time.process_time()
            result = work.run(tasks[0])
            return [commit(storage, root.dataset, root.index, result, root.input_keys, time.process_time() - started)]
        return _stream(assignment, tasks, storage, may_die=may_die)
    finally:
        limit_cpu(None)
        shutil.rmtree(scratch, ignore_errors=True)


def _task(spec: TaskSpec, storage: Storage, scratch: Path, *, isolated: bool) -> Task:
    scratch.mkdir(parents=True)
    home = Path(spec.home) if spec.home else None
    return Task(spec.node, spec.index, opened(spec.inputs, storage), scratch, home, isolated, spec.part, spec.began)


def _with_files(spec: TaskSpec, storage: Storage) -> Work:
    """The work with the files that other steps made on this machine's disk."""
    found = {
        artifact: artifact.model_copy(update={"file": str(storage.local_path(name))})
        for artifact, name in spec.artifacts
    }
    return replace_artifacts(spec.work, found)


def _stream(assignment: Assignment, tasks: Sequence[Task], storage: Storage, *, may_die: bool) -> list[Commit]:
    sinks: list[Sink] = []
    try:
        for spec, task in zip(assignment.tasks, tasks, strict=True):
            work = _with_files(spec, storage)
            assert isinstance(work, StreamWork), f"{spec.node} cannot run in one pass"
            sinks.append(work.open(task))
        check_unchanged(assignment.tasks[0].frozen)
        batches = _source(assignment.tasks[0], tasks[0], storage)
        seconds = _pass(assignment, batches, sinks, may_die=may_die)
        check_unchanged(assignment.tasks[0].frozen)
        return _close(assignment, sinks, seconds, storage)
    except BaseException:
        for sink in sinks:
            sink.abandon()
        raise


def _pass(
    assignment: Assignment, batches: Iterable[ReadBatch | pa.Table], sinks: Sequence[Sink], *, may_die: bool
) -> list[float]:
    """Give every batch to every sink; returns the CPU seconds each took."""
    seconds = [0.0] * len(sinks)
    limits = [spec.work.limits for spec in assignment.tasks if isinstance(spec.work, Apply)]
    for batch in batches:
        made: list[pa.Table] = []
        if may_die and limits:
            documents = batch.documents if isinstance(batch, ReadBatch) else batch
            limit_cpu(sum(limit.cpu_s_of(documents.num_rows) for limit in limits))
        for position, (spec, sink) in enumerate(zip(assignment.tasks, sinks, strict=True)):
            started = time.process_time()
            if spec.parent is not None:
                made.append(sink.add(made[spec.parent]))
            elif isinstance(batch, ReadBatch):
                made.append(sink.take(batch) if isinstance(sink, ReadSink) else sink.add(batch.documents))
            else:
                made.append(sink.add(batch))
            seconds[position] += time.process_time() - started
    return seconds


def _source(root: TaskSpec, task: Task, storage: Storage) -> Iterator[ReadBatch | pa.Table]:
    if isinstance(root.work, ReadWork):
        yield from read_shard(root.work.read, root.pieces, register(storage).suppression)
        return
    for shard in task.inputs["documents"]:
        yield from shard.documents()


def _close(assignment: Assignment, sinks: Sequence[Sink], seconds: Sequence[float], storage: Storage) -> list[Commit]:
    commits: list[Commit] = []
    for position, (spec, sink) in enumerate(zip(assignment.tasks, sinks, strict=True)):
        started = time.process_time()
        result: Result = sink.close()
        keys = dict(spec.input_keys)
        if spec.parent is not None:
            keys["documents"] = (commits[spec.parent].key,)
        spent = seconds[position] + time.process_time() - started
        commits.append(commit(storage, spec.dataset, spec.index, result, keys, spent))
    return commits
