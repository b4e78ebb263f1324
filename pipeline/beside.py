"""Tasks that begin before their inputs are complete: when they may, what they are told, what is kept free for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pipeline.errors import UserError
from pipeline.graph import Graph, NodeState
from pipeline.pretrain.data.arrivals import ARRIVALS, ArrivalsFile
from pipeline.shards import committed_file
from pipeline.storage import Storage
from pipeline.work import ARTIFACT_ROLE, Beside, owner
from pipeline.worker import TaskSpec
from pipeline.works import ReadWork


class Telling:
    """Tells a task that has begun which shards of its input are committed: in plan order, each once its files are there."""

    def __init__(self, graph: Graph, state: NodeState, storage: Storage, beside: Beside) -> None:
        self._source, self._storage = source_of(graph, state, beside), storage
        home = storage.local_path(state.dataset or "")
        home.mkdir(parents=True, exist_ok=True)
        self._file = ArrivalsFile(home / ARRIVALS, planned=len(self._source.plans))

    def tell(self) -> None:
        """Tell what is committed since.

        Raises:
            DamagedFileError: a committed file is missing or cut off.
            UserError: a shard that the task has seen holds something else now.
        """
        while (commit := self._source.commits.get(self._file.next)) is not None:
            outputs = [output for output in commit.outputs if output.folder == "shards"]
            for output in outputs:
                committed_file(self._storage, output)
            self._file.tell({output.suffix: output.name for output in outputs}, commit.facts)


def waiting(graph: Graph) -> Iterator[tuple[NodeState, Beside]]:
    """Nodes whose task may begin early and is not done."""
    for state in graph.states.values():
        if state.work.beside is not None and not state.complete:
            yield state, state.work.beside


def source_of(graph: Graph, state: NodeState, beside: Beside) -> NodeState:
    """The node whose shards a task takes as they come."""
    return graph.states[state.node.inputs[beside.role]]


def may_begin(graph: Graph, state: NodeState, beside: Beside) -> bool:
    """Whether a task has what it needs to begin: the first shards of the one input, every shard of the others."""
    source = source_of(graph, state, beside)
    others = [graph.states[name] for role, name in state.deps.items() if role != beside.role]
    if state.dataset is None or source.dataset is None or not all(other.complete for other in others):
        return False
    return all(k in source.commits for k in range(min(beside.first, len(source.plans))))


def early_spec(graph: Graph, state: NodeState, beside: Beside) -> TaskSpec:
    """Its task, with the shards that it begins with."""
    spec = graph.spec(state.name, 0)
    return replace(spec, inputs={**spec.inputs, beside.role: spec.inputs[beside.role][: beside.first]})


def kept_free(graph: Graph) -> tuple[int, int]:
    """CPUs and GPUs that the pool leaves alone: what the greediest such task takes, one of them running at a time."""
    wanted = [beside for _, beside in waiting(graph)]
    return max((one.cpus for one in wanted), default=0), max((one.gpus for one in wanted), default=0)


def check_streams(graph: Graph) -> None:
    """Refuse to stream from what can only begin when all documents are there.

    Raises:
        UserError: the input is made with a file, such as a tokenizer, that a step will make from the same documents.
    """
    for state, beside in waiting(graph):
        source = source_of(graph, state, beside)
        reads = _reads(graph, source.name, with_artifacts=False)
        for name in _files_of(graph, source):
            if not graph.states[name].complete and reads & _reads(graph, name):
                msg = (
                    f"step {state.name!r} streams from {source.name!r}, which waits for {name!r}, and that is made from "
                    f"all of the same documents first: name a {{file: ...}} in its place, such as the one an earlier run "
                    f"made, or one trained on another read step, or leave `streaming` out"
                )
                raise UserError(msg)


def _files_of(graph: Graph, source: NodeState) -> Iterator[str]:
    """Nodes that make the files which the nodes of a step name in their parameters."""
    for state in graph.states.values():
        if owner(state.name) == owner(source.name):
            yield from (name for role, name in state.deps.items() if role.startswith(ARTIFACT_ROLE))


def _reads(graph: Graph, name: str, *, with_artifacts: bool = True) -> set[str]:
    """The reading nodes that a node stems from."""
    state = graph.states[name]
    if isinstance(state.work, ReadWork):
        return {name}
    found: set[str] = set()
    for role, one in state.deps.items():
        if with_artifacts or not role.startswith(ARTIFACT_ROLE):
            found |= _reads(graph, one, with_artifacts=with_artifacts)
    return found
