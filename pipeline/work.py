"""What a step does, as frozen values the engine can plan, fingerprint and run shard by shard."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import pyarrow as pa

from pipeline.ledger import Ledger
from pipeline.value import Strings, Value

Kind = Literal["source", "documents", "selection", "tokens", "sequences", "mixture", "artifact", "work", "model"]
"""What a shard of a dataset holds: nothing (read again from its source), documents, a keep bitmap over another
dataset's documents, tokens, sequences packed from tokens, a plan of what to draw from tokens, one file others depend on,
files internal to a step, a trained model."""

ARTIFACT_ROLE = "artifact:"
"""How the role of an input begins of which a node takes a file, and no rows; the step's name follows."""

EVERY = None
"""A task that needs every shard of an input."""


@dataclass(frozen=True)
class Epochs:
    """A task's need of every shard of some epochs of an input, by their labels."""

    labels: tuple[str, ...]


Needs = tuple[int, ...] | Epochs | None
"""Which shards of an input a task needs: these, those of some epochs, or every one."""


@dataclass(frozen=True)
class Extent:
    """The shards of an input: how many, and which of them each epoch declared on ``read`` has.

    facts: what each one's task noted, for a work that is planned by them; else empty.
    """

    count: int
    epochs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    facts: tuple[Mapping[str, Any], ...] = ()

    def shards(self, epoch: str | None = None) -> tuple[int, ...]:
        """The numbers of an epoch's shards, or of all."""
        return tuple(range(self.count)) if epoch is None else self.epochs.get(epoch, ())

    def named(self, needs: Needs) -> tuple[int, ...]:
        """The numbers of the shards that a task needs, ascending."""
        match needs:
            case None:
                return tuple(range(self.count))
            case Epochs():
                return tuple(sorted(k for label in needs.labels for k in self.shards(label)))
            case _:
                return needs


@dataclass(frozen=True)
class TaskPlan:
    """One shard task before it runs: its number and the shards of each input it needs.

    part: what else the plan tells the task, where a work is planned by facts.
    """

    index: int
    needs: Mapping[str, Needs]
    part: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Beside:
    """A gang's one task that begins early.

    role: the input whose shards it takes in plan order as they are committed; ``pipeline.pretrain.data.arrivals`` tells it of
    them. first: how many of them it begins with. cpus, gpus: what its processes take.
    """

    role: str
    first: int
    cpus: int
    gpus: int = 0


class Shard(Protocol):
    """A committed shard of an input, as a task sees it."""

    @property
    def index(self) -> int:
        """Its number."""
        ...

    def documents(self) -> Iterator[pa.Table]:
        """Its documents in order, keep bitmaps applied, in tables of some thousand rows."""
        ...

    def rows(self) -> Iterator[tuple[int, pa.Table]]:
        """Like ``documents``, but of the dataset under a selection and whole: (first row number, table)."""
        ...

    def take(self, rows: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Single documents by their numbers in ``documents``, in the order given; of the columns those that there are."""
        ...

    @property
    def read_again(self) -> bool:
        """True where nothing copied the documents: taking one reads the source from its shard's beginning."""
        ...

    def file(self, suffix: str) -> Path:
        """Local path of the committed output with that suffix, such as ``.bin``."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the task that made it noted (``Result.facts``)."""
        ...


@dataclass(frozen=True)
class Task:
    """One shard task as the work gets it."""

    node: str
    index: int
    inputs: Mapping[str, Sequence[Shard]]
    """Input role -> the shards the plan asked for, by shard number."""
    scratch: Path
    """An empty folder of this attempt; what is not named in the result is deleted."""
    home: Path | None = None
    """The dataset's own folder, for a gang task: it outlives the driver (live checkpoints, metrics)."""
    isolated: bool = False
    """Processes died over this task before: whatever works on single documents does so in processes of its own."""
    part: Mapping[str, int] = field(default_factory=dict)
    """``TaskPlan.part``."""
    began: float | None = None
    """Unix time when the command began, for a gang task."""


@dataclass
class Output:
    """A file of a task: published as ``<folder>/<shard>-<first 16 hex of the sha256 of the folder's first file><suffix>``."""

    path: Path
    suffix: str
    folder: str = "shards"


@dataclass
class Result:
    """What a task made: files, its account, and small facts (plain JSON) for those who plan on it."""

    outputs: list[Output] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    facts: dict[str, Any] = field(default_factory=dict)


class Work(Value, ABC):
    """What one node of the graph does. How it is run (workers, backend, batch size) is not part of it."""

    kind: ClassVar[Kind]
    recorded: ClassVar[bool] = False
    """True where a second run need not give the same bytes: descendants are keyed by the committed hashes."""
    barrier: ClassVar[bool] = False
    """True where a shard depends on all input shards: the set of inputs enters the fingerprint, that of one epoch where
    the work has a field ``epoch`` that names one."""
    planned_by_facts: ClassVar[bool] = False
    """True where the tasks follow from what those of the inputs noted, so that they are known when the inputs are complete."""
    gang: ClassVar[bool] = False
    """True where the driver itself runs the one task, with processes of its own (training)."""
    libraries: ClassVar[tuple[str, ...]] = ()
    runtime: ClassVar[tuple[str, ...]] = ()
    """Fields that say how it is run, not what it makes: they stay out of the fingerprint."""

    @property
    def beside(self) -> Beside | None:
        """How its task runs beside the pool, for a gang that begins before its inputs are complete; None: after them."""
        return None

    @abstractmethod
    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """The shard tasks, given the shards of each input role."""

    def recheck(self, facts: Mapping[str, Any]) -> None:  # most works have no limits of their own
        """Look again at what a committed task noted: a field of ``runtime`` may be another one than when it ran.

        Raises:
            RunFailedError: the task would not have been allowed to commit.
        """


class Sink(ABC):
    """Takes the documents of one shard, batch by batch, and ends as a result."""

    @abstractmethod
    def add(self, docs: pa.Table) -> pa.Table:
        """Take a batch; returns the documents that go on to the nodes behind this one in the same pass."""

    @abstractmethod
    def close(self) -> Result:
        """Write what is left."""

    def abandon(self) -> None:  # noqa: B027  # most sinks hold nothing open
        """Let go of open files; the pass failed and nothing of it counts."""


class StreamWork(Work):
    """One shard in, one shard out, a batch at a time; consecutive ones run in one pass over the documents.

    The documents come from the input role ``documents``; further roles are whole.
    """

    @abstractmethod
    def open(self, task: Task) -> Sink:
        """A sink for one shard."""

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """Shard k from shard k of the documents, and from all of every other input."""
        others = dict.fromkeys((role for role in shards if role != "documents"), EVERY)
        return [TaskPlan(k, {"documents": (k,), **others}) for k in range(shards["documents"].count)]


class ShardWork(Work):
    """A task over whole committed shards: barriers, training."""

    @abstractmethod
    def run(self, task: Task) -> Result:
        """Do one task. Pure: a second attempt gives the same files, unless ``recorded``."""


@dataclass(frozen=True)
class Node:
    """A work with a name and its inputs (role -> node name). Its dataset is ``<name>-<fingerprint>``."""

    name: str
    work: Work
    inputs: Mapping[str, str]


def offered(nodes: Sequence[Node]) -> list[str]:
    """Names that other steps and readers may ask for: all nodes of a step but those whose files are internal to it."""
    return [node.name for node in nodes if node.work.kind != "work"]


def owner(name: str) -> str:
    """The step that a node belongs to: nodes beside the one with the step's name are called ``<step>.<what>``."""
    return name.partition(".")[0]


class EpochVerb(Value):
    """A verb that decides epoch by epoch.

    epochs: the labels of the read step its documents stem from, oldest first; the workflow fills them in.
    """

    epochs: Strings = ()


class Verb(Protocol):
    """What a recipe says of a step; expands to nodes, of which the last carries the step's name."""

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:
        """The nodes of a step that reads from ``source``."""
        ...
