"""What a takedown that is under way notes, so that whoever goes on with it can prove and tell all of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from pipeline.storage import Storage
from pipeline.takedown.absence import Needles
from pipeline.takedown.generation import PENDING
from pipeline.takedown.suppression import Suppression, register


@dataclass(frozen=True)
class Unfinished:
    """A takedown whose proof is still to come.

    told: what it found (plain data): once its generation is in force, no file of the run says it any more.
    """

    forbidden: Suppression
    needles: Needles
    told: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"forbidden": self.forbidden.to_json(), "needles": self.needles.to_json(), "told": dict(self.told)}


def unfinished(storage: Storage) -> list[Unfinished]:
    """The takedowns that came into force and were not proven; one that never came into force found nothing to prove."""
    if not storage.exists(PENDING):
        return []
    now = register(storage).suppression
    entries = orjson.loads(storage.read_bytes(PENDING)).get("takedowns", ())
    read = [
        Unfinished(Suppression.from_json(one["forbidden"]), Needles.from_json(one["needles"]), one["told"])
        for one in entries
    ]
    return [one for one in read if covers(now, one.forbidden)]


def note(storage: Storage, takedowns: Sequence[Unfinished]) -> None:
    """Write down what is under way: from here on the run refuses to go on."""
    entries: list[dict[str, Any]] = []
    for one in takedowns:
        if (entry := one.to_json()) not in entries:
            entries.append(entry)
    storage.write_bytes(PENDING, orjson.dumps({"begun": now(), "takedowns": entries}))


def covers(one: Suppression, other: Suppression) -> bool:
    """True where one forbids, entry by entry, all that the other does."""
    parts = ((one.ids, other.ids), (one.urls, other.urls), (one.domains, other.domains))
    return all(theirs.keys() <= ours.keys() for ours, theirs in parts)


def now() -> str:
    """The time in UTC, to the second."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
