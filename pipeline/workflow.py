"""A workflow: named steps that form a DAG. YAML and Python build the same value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from pipeline.operator import Map
from pipeline.value import Strings, Value
from pipeline.work import EpochVerb, Kind, Node, owner
from pipeline.works import Apply, ReadWork


def _as_pair(value: object) -> object:
    return (
        tuple(float(item) if isinstance(item, int) else item for item in value)
        if isinstance(value, list | tuple)
        else value
    )


Share = Annotated[tuple[float, float], BeforeValidator(_as_pair)]


class Expect(Value):
    """What a step must keep, or the run fails: for the step as a whole, each source, and each language of a source.

    kept: smallest and largest share of documents. languages: the languages looked at one by one (none named:
    every one). min_docs: smaller groups are not looked at. quarantined: largest share of documents that may fail.
    """

    kept: Share = (0.0, 1.0)
    languages: Strings = ()
    min_docs: int = 20
    quarantined: float = Field(default=0.05, ge=0, le=1)


class Step(Value):
    """A name, the step it takes its documents from, and one verb (a frozen value with ``nodes``)."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    source: str | None = None
    verb: Any
    expect: Expect = Expect()

    def nodes(self, seed: int) -> tuple[Node, ...]:
        """What the verb expands to; the last node carries the step's name."""
        return self.verb.nodes(self.name, self.source, seed)


class Workflow(Value):
    """Steps by name, a seed, and the folder that relative input paths start from."""

    name: str
    steps: tuple[Step, ...]
    seed: int = 0
    base_dir: str = "."

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [step.name for step in self.steps]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            msg = f"steps named twice: {', '.join(twice)}"
            raise ValueError(msg)
        return self

    def __getitem__(self, name: str) -> Step:
        """The step of that name."""
        for step in self.steps:
            if step.name == name:
                return step
        msg = f"no step {name!r}; there are: {', '.join(step.name for step in self.steps)}"
        raise KeyError(msg)

    def nodes(self) -> list[Node]:
        """The nodes of all steps."""
        return [node for nodes in self.nodes_by_step().values() for node in nodes]

    def nodes_by_step(self) -> dict[str, tuple[Node, ...]]:
        """The nodes of each step; rejected texts are scrubbed by every later scrubber as well, epochs are handed on."""
        behind = self._scrubbers_behind()
        nodes = {}
        for step in self.steps:
            verb = step.verb
            if isinstance(verb, EpochVerb):
                verb = verb.model_copy(update={"epochs": self._epochs(step)})
            made = step.model_copy(update={"verb": verb}).nodes(self.seed)
            nodes[step.name] = tuple(_quoting(node, behind[step.name]) for node in made)
        over = {name: of[-1] for name, of in nodes.items() if of[-1].work.kind in _OVER_TOKENS}
        return {name: tuple(_drawing(node, over) for node in of) for name, of in nodes.items()}

    def _epochs(self, step: Step) -> tuple[str, ...]:
        """The epochs of the read step that a step's documents stem from."""
        by_name = {one.name: one for one in self.steps}
        seen: set[str] = set()
        while not isinstance(step.verb, ReadWork):
            name = owner(step.source or "")
            if name not in by_name or name in seen:
                return ()  # the graph says what is wrong
            seen.add(name)
            step = by_name[name]
        return tuple(label for label, _ in step.verb.read.epochs)

    def _scrubbers_behind(self) -> Mapping[str, tuple[Map, ...]]:
        """For each step, the scrubbing maps of the steps that come after it."""
        after: dict[str, list[str]] = {step.name: [] for step in self.steps}
        for step in self.steps:
            if owner(step.source or "") in after:
                after[owner(step.source or "")].append(step.name)

        def collect(name: str, seen: set[str]) -> list[Map]:
            found: list[Map] = []
            for follower in after[name]:
                if follower in seen:
                    continue
                seen.add(follower)
                verb = self[follower].verb
                if isinstance(verb, Apply):
                    found.extend(op for op in verb.operators if isinstance(op, Map) and op.scrubs)
                found.extend(collect(follower, seen))
            return found

        # A condition names columns that rejected rows of an earlier step may lack, so it is left off here.
        return {
            step.name: tuple(dict.fromkeys(op.model_copy(update={"only": ()}) for op in collect(step.name, set())))
            for step in self.steps
        }


def _quoting(node: Node, scrubbers: tuple[Map, ...]) -> Node:
    """A node whose work quotes texts, so has a field ``scrubbers``, with what they are to be scrubbed by."""
    if "scrubbers" not in type(node.work).model_fields:
        return node
    return replace(node, work=node.work.model_copy(update={"scrubbers": scrubbers}))


_OVER_TOKENS: Mapping[Kind, tuple[str, str]] = {
    "mixture": ("mixture", "documents"),
    "sequences": ("sequences", "tokens"),
}
"""Kinds that say how tokens are to be read and hold none: the role they have in training, and that of the tokens in them."""


def _drawing(node: Node, over: Mapping[str, Node]) -> Node:
    """A node that trains from a mixture or from packed sequences takes the tokens under them too.

    over: the nodes of such steps by name.
    """
    source = node.inputs.get("documents", "")
    if node.work.kind != "model" or source not in over:
        return node
    role, below = _OVER_TOKENS[over[source].work.kind]
    return replace(node, inputs={**node.inputs, "documents": over[source].inputs[below], role: source})


def default_out(workflow: Workflow) -> Path:
    """Where a run goes that was not told."""
    return Path("runs") / workflow.name
