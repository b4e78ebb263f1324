"""What a run would do, without doing any of it: datasets, shards there and to come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.beside import check_streams
from pipeline.commit import committed
from pipeline.graph import Graph, NodeState
from pipeline.operator import snake_case
from pipeline.storage import Storage
from pipeline.workflow import Workflow
from pipeline.works import ReadWork


@dataclass(frozen=True)
class NodePlan:
    """One node of the graph before it runs.

    dataset, num_shards: None while a recorded step that it hangs on, or an input it is planned by, has not been done
    (``after`` names those).
    input_bytes: bytes of the frozen input, or of the committed shards it reads; None where they do not exist yet.
    inner: a node that a step's verb expands to, beside the one with the step's name.
    """

    name: str
    step: str
    verb: str
    inputs: Mapping[str, str]
    dataset: str | None
    num_shards: int | None
    num_committed: int
    after: tuple[str, ...]
    input_bytes: int | None
    inner: bool

    @property
    def to_run(self) -> int | None:
        """Shards that a run would make; None where their number is not known yet."""
        return None if self.num_shards is None else self.num_shards - self.num_committed


def preview(workflow: Workflow, graph: Graph, storage: Storage) -> list[NodePlan]:
    """Every node, after its inputs. Reads commit records and writes nothing.

    Raises:
        UserError: a step streams from what can only begin when all documents are there.
    """
    settled = False
    while not settled:
        found = list(graph.resolvable())
        for state in found:
            graph.resolve(state, present=committed(storage, graph.identify(state)))
        settled = not found
    check_streams(graph)
    owners = {node.name: workflow[step] for step, nodes in workflow.nodes_by_step().items() for node in nodes}
    verbs = {step.name: snake_case(type(step.verb).__name__).removesuffix("_work") for step in workflow.steps}
    plans = []
    for name, state in graph.states.items():
        step = owners[name].name
        plans.append(
            NodePlan(
                name=name,
                step=step,
                verb=verbs[step],
                inputs=dict(state.deps),
                dataset=state.dataset,
                num_shards=len(state.plans) if state.dataset else None,
                num_committed=len(state.commits),
                after=_recorded_ancestors(graph, state),
                input_bytes=_input_bytes(graph, state),
                inner=name != step,
            )
        )
    return plans


def _recorded_ancestors(graph: Graph, state: NodeState) -> tuple[str, ...]:
    """Nodes that must be complete before a node's fingerprint, or its plan, can be known."""
    if state.dataset is not None:
        return ()
    found: list[str] = []
    for name in state.deps.values():
        source = graph.states[name]
        if source.dataset is None:
            found += _recorded_ancestors(graph, source)
        elif not source.complete and (
            state.work.planned_by_facts or source.work.recorded or source.work.kind == "artifact"
        ):
            found.append(name)
    return tuple(dict.fromkeys(found))


def _input_bytes(graph: Graph, state: NodeState) -> int | None:
    if isinstance(state.work, ReadWork):
        shards = graph.inputs[state.name].shards[: len(state.plans)]
        sizes = {file.path: file.size for file in graph.inputs[state.name].files}
        return sum((piece.end or sizes[piece.path]) - (piece.start or 0) for shard in shards for piece in shard)
    roles = {role for plan in state.plans for role in plan.needs} or set(state.node.inputs)
    names = dict.fromkeys(name for role, name in state.node.inputs.items() if role in roles)
    parts = [_held_bytes(graph, graph.states[name]) for name in names]
    return None if None in parts else sum(part or 0 for part in parts)


def _held_bytes(graph: Graph, state: NodeState) -> int | None:
    """Bytes a task that takes in a whole node reads; a selection's are those of the documents it selects from."""
    if isinstance(state.work, ReadWork):
        return _input_bytes(graph, state)
    if not state.complete:
        return None
    if state.work.kind == "selection":
        return _held_bytes(graph, graph.states[state.node.inputs["documents"]])
    return sum(o.bytes for commit in state.commits.values() for o in commit.outputs if o.folder == "shards")
