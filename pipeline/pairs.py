"""Duplicates beside the documents that stay for them, as the step that removed them saw both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from pipeline.dataset import Run
from pipeline.errors import UserError
from pipeline.lookup import starts_with
from pipeline.report.reading import columns, files
from pipeline.shards import CommittedShard

REMOVED = "removed.parquet"
ABOUT = ("id", "url", "source", "date")
MOST_IDS = 20


@dataclass(frozen=True)
class Place:
    """Where a document lies: its row in a shard of what a step of a run takes its documents from."""

    run: Run
    step: str
    shard: int
    row: int

    def read(self, names: Sequence[str]) -> dict[str, Any] | None:
        """Columns of the document; None where the shard, or since a takedown the document, is not there any more."""
        shard = self._found
        return None if shard is None or self.row < 0 else shard.take([self.row], names).to_pylist()[0]

    @property
    def read_again(self) -> bool:
        """True where nothing copied the document: to read it is to read the source from the shard's beginning."""
        return self._found is not None and self._found.read_again

    @cached_property
    def _found(self) -> CommittedShard | None:
        base = self.run[self.run.nodes[self.step]["inputs"]["documents"]]
        return next((shard for shard in base.shards() if shard.index == self.shard), None)


def representative(run: Run, step: str, removed: Mapping[str, Any]) -> Place:
    """Where the document that stays for a removed row lies.

    Raises:
        UserError: it lies in another run, which is not there.
    """
    level = removed.get("rep_level") or 0
    if level == 0:
        return Place(run, step, removed["rep_shard"], removed["rep_row"])
    against = _against(run, step)[level - 1]
    return Place(Run.open(against["run"]), against["step"], removed["rep_shard"], removed["rep_row"])


def representative_facts(run: Run, step: str, removed: Mapping[str, Any], *, again: bool = True) -> dict[str, Any]:
    """What is known of the document that stays for a removed row: ``of``, and under ``of_`` url, source, date and run.

    ``of_run`` is None where it is of the same run. Of a run that is not there any more only its path is known; where
    a source would have to be read again and ``again`` is false, only the id.
    """
    level = removed.get("rep_level") or 0
    facts: dict[str, Any] = {"of": removed["rep_id"].hex(), **{f"of_{name}": None for name in ABOUT[1:]}}
    facts["of_run"] = _against(run, step)[level - 1]["run"] if level else None
    try:
        place = representative(run, step, removed)
        found = place.read(ABOUT) if again or not place.read_again else None
    except UserError:
        return facts
    if found is not None and found["id"] == removed["rep_id"]:
        facts.update({f"of_{name}": found.get(name) for name in ABOUT[1:]})
    return facts


def texts(run: Run, step: str, shard: int, removed: Mapping[str, Any]) -> tuple[str, str] | None:
    """The text of a removed row and of the one that stays for it; None where one of them is gone or has none.

    Raises:
        UserError: the other run is not there.
    """
    here = Place(run, step, shard, removed["row"]).read(("id", "text"))
    there = representative(run, step, removed).read(("id", "text"))
    if here is None or there is None or (here["id"], there["id"]) != (removed["id"], removed["rep_id"]):
        return None
    return None if here["text"] is None or there["text"] is None else (here["text"], there["text"])


def stands_for(run: Run, step: str, identity: bytes) -> tuple[int, list[bytes]]:
    """How many documents a step removed for a kept one of this run, and the ids of the first of them, ascending."""
    number = 0
    ids: list[bytes] = []
    for table in _removed_for(run, step, identity):
        number += table.num_rows
        found: list[Any] = table["id"].to_pylist()
        ids = sorted([*ids, *found])[:MOST_IDS]
    return number, ids


def _removed_for(run: Run, step: str, identity: bytes) -> Iterator[pa.Table]:
    dataset = run[step]
    for _, file in files(dataset, "shards", REMOVED):
        table = columns(dataset, file, ("id", "rep_id", "rep_level"))
        mine = starts_with(table["rep_id"], identity.hex())
        if "rep_level" in table.column_names:
            mine &= table["rep_level"].to_numpy() == 0
        yield table.filter(pa.array(mine))


def _against(run: Run, step: str) -> Sequence[Mapping[str, str]]:
    """The other runs that a step's recipe names."""
    return [next(iter(one.values())) for one in _verb(run, step).get("against", ())]


def verification(run: Run, step: str) -> str | None:
    """What a step counts of near pairs, ``jaccard`` or ``containment``; None where it goes by the estimate."""
    minhash = _verb(run, step).get("minhash")
    found = next(iter(minhash.values())).get("verify") if minhash else None
    return None if found == "estimate" else found


def _verb(run: Run, step: str) -> Mapping[str, Any]:
    return next(value for key, value in run.facts["recipe"][step].items() if key != "from")
