"""What a run did, step by step, as the report and the command line tell it: read once, used by every part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.dataset import Dataset, Run
from pipeline.ledger import Ledger
from pipeline.operator import snake_case
from pipeline.work import owner


@dataclass(frozen=True)
class StepAccount:
    """A step that has begun: its dataset and the sum of its shards' ledgers."""

    name: str
    verb: str
    source: str | None
    dataset: Dataset
    ledger: Ledger
    operators: tuple[str, ...]
    """Classes of the operators it applies, in order."""

    @property
    def num_shards(self) -> int:
        """Shards planned."""
        return int(self.dataset.run.nodes[self.name]["num_shards"] or 0)

    @property
    def cpu_s(self) -> float:
        """CPU seconds of the tasks that were committed."""
        return sum(float(commit.run.get("seconds", 0.0)) for commit in self.dataset.commits.values())


@dataclass(frozen=True)
class Account:
    """A run, with every step that has begun."""

    run: Run
    steps: tuple[StepAccount, ...]

    @classmethod
    def of(cls, run: Run) -> Account:
        """Read the commits of every step."""
        return cls(run, tuple(_accounts(run)))

    def consumers(self, step: str) -> list[str]:
        """Steps that take their documents from a step."""
        return [one.name for one in self.steps if one.source == step]

    def extracts_later(self, step: str) -> bool:
        """True where the documents of a step are still to be extracted: HTML, whose bytes are not text."""
        return any(
            _extraction(self._step(name)) is not None or self.extracts_later(name) for name in self.consumers(step)
        )

    def _step(self, name: str) -> StepAccount:
        return next(one for one in self.steps if one.name == name)

    def is_raw(self, step: StepAccount, position: int | None) -> bool:
        """True where what goes into an operator (None: what leaves the step) is not text yet."""
        at = _extraction(step)
        if position is not None and at is not None:
            return position <= at
        return at is None and self.extracts_later(step.name)

    def leaves(self) -> list[StepAccount]:
        """Steps with documents that no later step takes on: nothing will scrub their texts any more."""

        def holds_documents(step: StepAccount) -> bool:
            return step.dataset.kind in ("documents", "selection")

        return [
            step
            for step in self.steps
            if holds_documents(step)
            and not any(holds_documents(self._step(name)) for name in self.consumers(step.name))
        ]


def _extraction(step: StepAccount) -> int | None:
    """Position of the operator that makes text out of HTML."""
    return next((k for k, name in enumerate(step.operators) if name.startswith("Extract")), None)


def _accounts(run: Run) -> Iterator[StepAccount]:
    for name in run.steps:
        if run.nodes[name]["dataset"] is None:
            continue
        dataset = run[name]
        recipe: Mapping[str, Any] = run.facts["recipe"][owner(name)]
        verb = next((key for key in recipe if key != "from"), "")
        yield StepAccount(
            name,
            snake_case(verb).removesuffix("_work"),
            recipe.get("from") or run.nodes[name]["inputs"].get("documents"),
            dataset,
            dataset.ledger,
            _operator_classes(recipe.get(verb)),
        )


def _operator_classes(verb: object) -> tuple[str, ...]:
    operators: Sequence[Mapping[str, Any]] = verb.get("operators", ()) if isinstance(verb, Mapping) else ()
    return tuple(next(iter(operator)) for operator in operators)
