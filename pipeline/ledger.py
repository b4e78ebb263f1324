"""The account of a shard: every row that came in is kept, dropped, a duplicate, quarantined or taken down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pipeline.errors import RunFailedError


@dataclass
class Count:
    """Documents, UTF-8 bytes of their text, and tokens where they are known."""

    docs: int = 0
    bytes: int = 0
    tokens: int = 0

    def add(self, docs: int, num_bytes: int, tokens: int = 0) -> None:
        """Count more."""
        self.docs += docs
        self.bytes += num_bytes
        self.tokens += tokens

    def merge(self, other: Count) -> None:
        """Add another count."""
        self.add(other.docs, other.bytes, other.tokens)


@dataclass
class Flow:
    """What went into one operator and what came out, by language."""

    operator: str
    into: dict[str, Count] = field(default_factory=dict)
    out: dict[str, Count] = field(default_factory=dict)
    seconds: float = 0.0
    """CPU seconds; a recording, never compared."""


def merge_counts(into: dict[str, Count], other: Mapping[str, Count]) -> None:
    """Add counts key by key."""
    for key, count in other.items():
        into.setdefault(key, Count()).merge(count)


@dataclass
class Ledger:
    """``into = kept + dropped + duplicates + quarantined + taken_down``, in documents; checked before a shard is committed.

    dropped is keyed by ``operator:reason``, duplicates by ``exact`` and ``near``, quarantined by operator;
    groups by ``source|language`` (``und`` where it is unknown), each with what came in and what was kept.
    taken_down: documents that a takedown took out of this shard, or kept from being read.
    """

    into: Count = field(default_factory=Count)
    kept: Count = field(default_factory=Count)
    dropped: dict[str, Count] = field(default_factory=dict)
    duplicates: dict[str, Count] = field(default_factory=dict)
    quarantined: dict[str, Count] = field(default_factory=dict)
    flows: list[Flow] = field(default_factory=list)
    group_into: dict[str, Count] = field(default_factory=dict)
    group_kept: dict[str, Count] = field(default_factory=dict)
    taken_down: Count = field(default_factory=Count)

    def check(self, where: str) -> None:
        """Balance the account.

        Raises:
            RunFailedError: a document was lost or counted twice. A bug of an operator or of the engine.
        """
        gone = {
            "dropped": sum(count.docs for count in self.dropped.values()),
            "duplicates": sum(count.docs for count in self.duplicates.values()),
            "quarantined": sum(count.docs for count in self.quarantined.values()),
            "taken down": self.taken_down.docs,
        }
        if self.into.docs != self.kept.docs + sum(gone.values()):
            parts = " + ".join(f"{number} {name}" for name, number in gone.items())
            msg = f"ledger of {where} does not balance: {self.into.docs} in, but {self.kept.docs} kept + {parts}"
            raise RunFailedError(msg)

    def merge(self, other: Ledger) -> None:
        """Add another shard's account; flows are added operator by operator."""
        self.into.merge(other.into)
        self.kept.merge(other.kept)
        self.taken_down.merge(other.taken_down)
        for mine, theirs in (
            (self.dropped, other.dropped),
            (self.duplicates, other.duplicates),
            (self.quarantined, other.quarantined),
            (self.group_into, other.group_into),
            (self.group_kept, other.group_kept),
        ):
            merge_counts(mine, theirs)
        known = {flow.operator: flow for flow in self.flows}
        for flow in other.flows:
            if flow.operator not in known:
                known[flow.operator] = Flow(flow.operator)
                self.flows.append(known[flow.operator])
            mine_flow = known[flow.operator]
            merge_counts(mine_flow.into, flow.into)
            merge_counts(mine_flow.out, flow.out)
            mine_flow.seconds += flow.seconds

    def to_json(self) -> dict[str, Any]:
        """Plain data for a commit record."""

        def counts(mapping: Mapping[str, Count]) -> dict[str, list[int]]:
            return {key: [c.docs, c.bytes, c.tokens] for key, c in sorted(mapping.items())}

        taken = self.taken_down
        return {
            **({"taken_down": [taken.docs, taken.bytes, taken.tokens]} if taken.docs else {}),
            "in": [self.into.docs, self.into.bytes, self.into.tokens],
            "kept": [self.kept.docs, self.kept.bytes, self.kept.tokens],
            "dropped": counts(self.dropped),
            "duplicates": counts(self.duplicates),
            "quarantined": counts(self.quarantined),
            "groups_in": counts(self.group_into),
            "groups_kept": counts(self.group_kept),
            "operators": [
                {"operator": f.operator, "in": counts(f.into), "out": counts(f.out), "seconds": round(f.seconds, 4)}
                for f in self.flows
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` wrote."""

        def counts(mapping: Mapping[str, list[int]]) -> dict[str, Count]:
            return {key: Count(*value) for key, value in mapping.items()}

        return cls(
            into=Count(*data["in"]),
            kept=Count(*data["kept"]),
            dropped=counts(data["dropped"]),
            duplicates=counts(data["duplicates"]),
            quarantined=counts(data["quarantined"]),
            group_into=counts(data["groups_in"]),
            group_kept=counts(data["groups_kept"]),
            taken_down=Count(*data.get("taken_down", ())),
            flows=[Flow(f["operator"], counts(f["in"]), counts(f["out"]), f["seconds"]) for f in data["operators"]],
        )


def total(ledgers: Iterable[Ledger]) -> Ledger:
    """The sum of many shards' accounts."""
    result = Ledger()
    for ledger in ledgers:
        result.merge(ledger)
    return result
