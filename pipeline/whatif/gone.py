"""A fixed random sample of what a step removed as copies, and of what it could not treat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pipeline.dataset import Dataset
from pipeline.errors import UserError
from pipeline.pairs import REMOVED, representative_facts, verification
from pipeline.rejects import LANGUAGE_COLUMNS, languages
from pipeline.report.reading import files, parquet
from pipeline.trace import HELD_OUT
from pipeline.whatif.sampling import Wanted
from pipeline.work import owner

_SHOWN = ("id", "url", "record_id", "source", "date", "origin", *LANGUAGE_COLUMNS, "text")


def sample_removed(dataset: Dataset, wanted: Wanted, limit: int) -> list[dict[str, Any]]:
    """Rows of a selection that went for others: what is known of both, ``reason`` is exact or near.

    The texts are those the step compared; where nothing copied them, the source is read up to the last one shown.
    """
    best: list[tuple[int, dict[str, Any]]] = []
    for shard, table in _removed_tables(dataset, wanted):
        order = pc.sort_indices(table["id"])[:limit]
        new = [(shard, row) for row in table.take(order).to_pylist()]
        best = sorted([*best, *new], key=lambda one: one[1]["id"])[:limit]
    taken = _documents(dataset, best)
    return [_told(dataset, row, taken[shard, row["row"]]) for shard, row in best]


def sample_quarantined(dataset: Dataset, wanted: Wanted, limit: int) -> list[dict[str, Any]]:
    """Rows that could not be treated, with error, origin and excerpt; those without an id by a hash of their origin."""
    best: list[tuple[bytes, dict[str, Any]]] = []
    for _, file in files(dataset, "quarantine", ".parquet"):
        with parquet(dataset.run.storage, file.name) as opened:
            for group in range(opened.num_row_groups):
                rows = [row for row in opened.read_row_group(group).to_pylist() if _is_wanted(row, wanted)]
                new = [(row["id"] or xxhash.xxh3_128_digest(row["origin"].encode()), row) for row in rows]
                best = sorted([*best, *new], key=lambda one: one[0])[:limit]
    return [row for _, row in best]


def _is_wanted(row: Mapping[str, Any], wanted: Wanted) -> bool:
    return wanted.language in (None, row["language"]) and wanted.operator in (None, row["operator"])


def check_removes(dataset: Dataset) -> None:
    """Refuse a selection that removes no documents.

    Raises:
        UserError: the step holds documents out, is such a set, or keeps no list of what it removes.
    """
    uri, name = dataset.run.storage.uri, dataset.name
    if owner(name) != name:
        msg = (
            f"{name!r} is a set of step {owner(name)!r}: what it does not hold is in {owner(name)!r} and its other sets"
        )
        raise UserError(msg)
    if any(True for _ in files(dataset, "shards", HELD_OUT)):
        sets = [
            one
            for one in dataset.run.nodes
            if owner(one) == name != one and dataset.run.nodes[one]["kind"] == "selection"
        ]
        msg = f"step {name!r} drops nothing, it holds documents out: see {', '.join(sets)} (`sluice sample {uri} {sets[0]}`)"
        raise UserError(msg)
    if dataset.commits and not any(True for _ in files(dataset, "shards", REMOVED)):
        msg = f"step {name!r} keeps no list of what it removes"
        raise UserError(msg)


def _removed_tables(dataset: Dataset, wanted: Wanted) -> Iterator[tuple[int, pa.Table]]:
    """The removed rows of each shard that are wanted."""
    base = {shard.index: shard for shard in _base(dataset).shards()}
    for index, file in files(dataset, "shards", REMOVED):
        with parquet(dataset.run.storage, file.name) as opened:
            table = opened.read()
        if wanted.reason is not None:
            table = table.filter(pc.equal(table["kind"], wanted.reason))
        if wanted.language is not None and table.num_rows:
            rows: list[Any] = table["row"].to_pylist()
            found = languages(base[index].take(rows, ("id", *LANGUAGE_COLUMNS)))
            table = table.filter(pc.equal(found, wanted.language))
        yield index, table


def _base(dataset: Dataset) -> Dataset:
    return dataset.run[dataset.run.nodes[dataset.name]["inputs"]["documents"]]


def _documents(dataset: Dataset, chosen: list[tuple[int, dict[str, Any]]]) -> dict[tuple[int, int], dict[str, Any]]:
    """The documents of removed rows, by shard and row; each shard is opened once."""
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for shard in _base(dataset).shards():
        rows = [row["row"] for index, row in chosen if index == shard.index]
        if rows:
            documents = shard.take(rows, _SHOWN).to_pylist()
            found.update({(shard.index, row): one for row, one in zip(rows, documents, strict=True)})
    return found


def _told(dataset: Dataset, row: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    stays = representative_facts(dataset.run, dataset.name, row, again=False)
    similar = {name: row.get(name) for name in ("estimate", "similarity", "cluster_size")}
    verify = verification(dataset.run, dataset.name)
    return {**document, "kind": row["kind"], "reason": row["kind"], **stays, **similar, "verify": verify}
