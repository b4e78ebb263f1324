"""The graph of shard tasks: which dataset each node fills, what is committed, and what can run now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.commit import Commit
from pipeline.errors import UserError
from pipeline.fingerprint import FORMAT_VERSION, core_versions, digest, file_sha256
from pipeline.inputs import FrozenInputs
from pipeline.node_order import ordered
from pipeline.planned import PLAN, plan_key, standing, with_facts
from pipeline.shards import ShardSpec
from pipeline.value import Artifact, artifacts, replace_artifacts
from pipeline.work import ARTIFACT_ROLE, Epochs, Extent, Node, TaskPlan, Work
from pipeline.worker import TaskSpec
from pipeline.works import ReadWork

Event = tuple[str, int | str | None]
"""Something of an input node that tasks wait for: one shard, those of an epoch, or all of them."""


@dataclass
class NodeState:
    """What is known of a node while a run goes on.

    dataset: None until every recorded ancestor is committed, since the fingerprint hangs on their hashes, and for a work
    that is planned by facts until its inputs are complete.
    set_keys: identity of the whole set of inputs it stems from, under None, and of those of each epoch. waits: per task, how many inputs are missing.
    """

    node: Node
    depth: int
    work: Work
    deps: Mapping[str, str]
    dataset: str | None = None
    fingerprint: str | None = None
    set_keys: dict[str | None, str] = field(default_factory=dict)
    extent: Extent = field(default_factory=lambda: Extent(0))
    plans: Sequence[TaskPlan] = ()
    commits: dict[int, Commit] = field(default_factory=dict)
    waits: list[int] = field(default_factory=list)
    waiting_for: dict[Event, list[int]] = field(default_factory=dict)
    """What is not there yet -> the tasks that wait for it."""
    epoch_of: dict[int, str] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    """Epoch -> its shards that are not committed yet."""

    @property
    def complete(self) -> bool:
        """Every shard is committed."""
        return self.dataset is not None and len(self.commits) == len(self.plans)

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.name


class Graph:
    """Nodes in an order in which each comes after its inputs, and the state of their tasks."""

    def __init__(self, nodes: Sequence[Node], inputs: Mapping[str, FrozenInputs], limit: int | None = None) -> None:
        self.inputs = inputs
        self.limit = limit
        self._files = {name: {file.path: file for file in frozen.files} for name, frozen in inputs.items()}
        self.states: dict[str, NodeState] = {}
        for node in ordered(nodes):
            deps = dict(node.inputs)
            for artifact in artifacts(node.work):
                if artifact.step is not None:
                    deps[f"{ARTIFACT_ROLE}{artifact.step}"] = artifact.step
            depth = 1 + max((self.states[name].depth for name in deps.values()), default=-1)
            self.states[node.name] = NodeState(node, depth, node.work, deps)
        self.consumers: dict[str, list[str]] = {name: [] for name in self.states}
        for state in self.states.values():
            for source in dict.fromkeys(state.deps.values()):
                self.consumers[source].append(state.name)

    # -- fingerprints ---------------------------------------------------------------------------------------------

    def resolvable(self) -> Iterator[NodeState]:
        """Nodes whose fingerprint can be known now and is not yet."""
        for state in self.states.values():
            sources = [self.states[name] for name in state.deps.values()]
            waits = state.work.planned_by_facts and not all(source.complete for source in sources)
            if state.dataset is None and not waits and all(self._keyed(source) for source in sources):
                yield state

    def _keyed(self, state: NodeState) -> bool:
        return state.dataset is not None and (
            state.complete or not (state.work.recorded or state.work.kind == "artifact")
        )

    def resolve(self, state: NodeState, *, present: Mapping[int, Commit]) -> None:
        """Take over the commits that a dataset already holds, and count what its tasks still wait for."""
        state.plans = state.work.tasks(self._extents(state))
        if state.work.planned_by_facts:
            state.plans = standing(state.dataset or "", state.plans, present, lambda one: self.is_own(state, one))
        state.extent = self._extent(state)
        for index in sorted(present):
            if index < len(state.plans):
                self._check_inputs(state, present[index])
                state.commits[index] = present[index]
        epochs = state.extent.epochs
        state.epoch_of = {k: label for label, shards in epochs.items() for k in shards}
        state.left = {label: sum(k not in state.commits for k in shards) for label, shards in epochs.items()}
        state.waits = [0] * len(state.plans)
        for plan in state.plans:
            for event in self._missing(plan, state):
                state.waits[plan.index] += 1
                state.waiting_for.setdefault(event, []).append(plan.index)

    def _check_inputs(self, state: NodeState, commit: Commit) -> None:
        """A shard that was read from other files, or from these when they held something else, must not be served."""
        if isinstance(state.work, ReadWork) and not self.is_own(state, commit):
            paths = ", ".join(piece.path for piece in self.inputs[state.name].shards[commit.index])
            msg = (
                f"step {state.name!r}: shard {commit.index} of this run was made from other content than {paths} holds "
                f"now; give the run another --out, or restore the file (or the order of the epochs: new ones come last)"
            )
            raise UserError(msg)

    def is_own(self, state: NodeState, commit: Commit) -> bool:
        """Whether a shard was made from the inputs that there are now."""
        return commit.inputs == _listed(self.input_keys(state.name, commit.index))

    def identify(self, state: NodeState) -> str:
        """Derive the fingerprint and the name of the dataset."""
        found = {a: self._resolved(a) for a in artifacts(state.work) if a.sha256 is None}
        state.work = replace_artifacts(state.work, found)
        sources = {role: self.states[name] for role, name in state.deps.items()}
        state.set_keys = self._set_keys(state, list(sources.values()))
        keys: dict[str, Any] = {role: self._key(source) for role, source in sources.items()}
        identity = {"format": FORMAT_VERSION, "versions": core_versions(), "work": state.work, "inputs": keys}
        if state.work.barrier:
            epoch: str | None = getattr(state.work, "epoch", None)
            identity["set"] = state.set_keys.get(epoch, "")
        state.fingerprint = digest(identity)
        state.dataset = f"{state.name}-{state.fingerprint}"
        if state.work.barrier:
            state.set_keys = dict.fromkeys(state.set_keys, state.fingerprint)
        return state.dataset

    def _resolved(self, artifact: Artifact) -> Artifact:
        if artifact.step is None:
            return artifact.model_copy(update={"sha256": file_sha256(artifact.file or "")})
        output = self._artifact_output(artifact.step)
        return artifact.model_copy(update={"sha256": output.sha256})

    def _artifact_output(self, step: str) -> Any:
        state = self.states[step]
        outputs = [o for index in sorted(state.commits) for o in state.commits[index].outputs]
        if not outputs:
            msg = f"step {step!r} made no file that another step could use"
            raise UserError(msg)
        return outputs[0]

    def _key(self, state: NodeState) -> str:
        if state.work.recorded:
            return digest([state.fingerprint, *(state.commits[k].key for k in sorted(state.commits))])
        return state.fingerprint or ""

    def _set_keys(self, state: NodeState, sources: Sequence[NodeState]) -> dict[str | None, str]:
        if isinstance(state.work, ReadWork):
            extent = self._extents(state)["pieces"]
            return {
                label: digest([self.input_keys(state.name, k)["pieces"] for k in extent.shards(label)])
                for label in (None, *extent.epochs)
            }
        labels = dict.fromkeys(label for source in sources for label in source.set_keys)
        return {
            label: digest([source.set_keys.get(label, source.set_keys[None]) for source in sources])
            for label in (None, *labels)
        }

    def _extents(self, state: NodeState) -> dict[str, Extent]:
        if isinstance(state.work, ReadWork):
            return {"pieces": self.inputs[state.name].extent(self.limit)}
        sources = {role: self.states[name] for role, name in state.node.inputs.items()}
        extents = {role: source.extent for role, source in sources.items()}
        if not state.work.planned_by_facts:
            return extents
        return with_facts(extents, {role: source.commits for role, source in sources.items()})

    def _extent(self, state: NodeState) -> Extent:
        """What a node makes: shard k is of the epoch of shard k of the input that goes into it one to one."""
        count = len(state.plans)
        for role, extent in self._extents(state).items():
            if role == "pieces" or all(plan.needs.get(role) == (plan.index,) for plan in state.plans):
                return Extent(count, extent.epochs)
        return Extent(count)

    # -- tasks ----------------------------------------------------------------------------------------------------

    def _missing(self, plan: TaskPlan, state: NodeState) -> Iterator[Event]:
        for role, needed in plan.needs.items():
            source = self.states[state.node.inputs[role]]
            if needed is None:
                if not source.complete:
                    yield source.name, None
            elif isinstance(needed, Epochs):
                yield from ((source.name, label) for label in needed.labels if source.left.get(label))
            else:
                yield from ((source.name, k) for k in needed if k not in source.commits)

    def committed(self, name: str, commit: Commit) -> list[tuple[str, int]]:
        """Note a commit; returns the tasks that can run because of it."""
        state = self.states[name]
        if commit.index in state.commits:
            return []
        state.commits[commit.index] = commit
        events: list[Event] = [(name, commit.index)]
        if state.complete:
            events.append((name, None))
        label = state.epoch_of.get(commit.index)
        if label is not None:
            state.left[label] -= 1
            if not state.left[label]:
                events.append((name, label))
        freed = []
        for consumer in (self.states[c] for c in self.consumers[name]):
            for event in events:
                for index in consumer.waiting_for.pop(event, ()):
                    consumer.waits[index] -= 1
                    if consumer.waits[index] == 0 and index not in consumer.commits:
                        freed.append((consumer.name, index))
        return freed

    def ready(self, state: NodeState) -> list[tuple[str, int]]:
        """Tasks of a node just resolved that wait for nothing."""
        return [(state.name, k) for k, waits in enumerate(state.waits) if waits == 0 and k not in state.commits]

    def spec(self, name: str, index: int, *, parent: int | None = None) -> TaskSpec:
        """A task with everything a worker needs to do it; one that begins early gets the shards that there are."""
        state = self.states[name]
        plan = state.plans[index]
        inputs = {}
        for role, needed in plan.needs.items():
            if parent is not None and role == "documents":
                continue
            source = self.states[state.node.inputs[role]]
            inputs[role] = tuple(self.shard(source.name, k) for k in source.extent.named(needed) if k in source.commits)
        names = [(a, self._artifact_output(a.step).name) for a in artifacts(state.work) if a.step is not None]
        pieces = self.inputs[name].shards[index] if isinstance(state.work, ReadWork) else ()
        return TaskSpec(
            node=name,
            dataset=state.dataset or "",
            index=index,
            work=state.work,
            inputs=inputs,
            input_keys=self.input_keys(name, index),
            pieces=pieces,
            frozen=tuple(self._files[name][path] for path in dict.fromkeys(piece.path for piece in pieces)),
            parent=parent,
            artifacts=tuple(dict.fromkeys(names)),
            part=plan.part,
        )

    def input_keys(self, name: str, index: int) -> dict[str, tuple[str, ...]]:
        """What a task's inputs are, for its commit record: hashes of committed outputs, or of the frozen files."""
        state = self.states[name]
        if isinstance(state.work, ReadWork):
            frozen = self._files[name]
            parts = [
                (p.start, p.end, frozen[p.path].digest or frozen[p.path].etag or frozen[p.path].size)
                for p in self.inputs[name].shards[index]
            ]
            return {"pieces": (digest(parts),)}
        keys: dict[str, tuple[str, ...]] = {}
        for role, needed in state.plans[index].needs.items():
            source = self.states[state.node.inputs[role]]
            if needed is None:
                keys[role] = (self._key(source),)
            elif isinstance(needed, Epochs):
                keys[role] = (self._key(source), *needed.labels)
            else:
                keys[role] = tuple(source.commits[k].key for k in needed if k in source.commits)
        if state.work.planned_by_facts:
            keys[PLAN] = plan_key(index, state.plans)
        return keys

    def shard(self, name: str, index: int) -> ShardSpec:
        """A committed shard, as readers see it."""
        state = self.states[name]
        commit = state.commits[index]
        if isinstance(state.work, ReadWork):
            return ShardSpec.of(
                commit, state.dataset or "", "source", read=state.work.read, pieces=self.inputs[name].shards[index]
            )
        base = self.shard(state.node.inputs["documents"], index) if state.work.kind == "selection" else None
        return ShardSpec.of(commit, state.dataset or "", state.work.kind, base=base)


def _listed(keys: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """As a commit record holds them."""
    return {role: list(values) for role, values in keys.items()}
