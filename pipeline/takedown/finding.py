"""Finds documents in everything that a run holds, and the rows of each shard that they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.commit import Commit, Published
from pipeline.dataset import Dataset, Run
from pipeline.documents import text_bytes
from pipeline.rejects import languages, sources
from pipeline.report.reading import parquet
from pipeline.shards import read_keep
from pipeline.takedown.fragments import fragments
from pipeline.takedown.holding import needs_reading, read_again, row_tables, source_shard
from pipeline.takedown.related import Cluster, clusters, related
from pipeline.takedown.suppression import Register, Suppression

Key = tuple[str, int]
"""(step, shard)."""
Rows = npt.NDArray[np.int64]

ABOUT = ("id", "url", "source", "date", "origin", "record_id")


@dataclass(frozen=True)
class Gone:
    """Rows of a shard that go: their numbers in its documents, ascending, and what an account needs of each.

    about: columns ``id``, ``bytes`` (of the text) and ``group`` (``source|language``), a row for each.
    """

    rows: Rows
    about: pa.Table


@dataclass
class Page:
    """A document that goes: what is known of it, and where it is: (step, what the step made of it, shard)."""

    facts: Mapping[str, Any]
    places: list[tuple[str, str, int]] = field(default_factory=list)


@dataclass
class Found:
    """What a takedown is about.

    forbidden: what was asked for and the ids that were found by it. pages: by id; without one, what could not be read.
    related: (id, URL, what it is to the pages) of members of the same clusters that stay. clusters: of deduplication that
    have one of the pages. texts: fragments of the texts.
    """

    forbidden: Suppression
    pages: dict[bytes, Page] = field(default_factory=dict)
    nameless: list[Page] = field(default_factory=list)
    related: dict[bytes, tuple[str | None, str]] = field(default_factory=dict)
    clusters: list[Cluster] = field(default_factory=list)
    gone: dict[Key, Gone] = field(default_factory=dict)
    hits: set[Key] = field(default_factory=set)
    texts: set[bytes] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def find(run: Run, asked: Suppression, before: Register, *, with_duplicates: bool = False) -> Found:
    """Everything in a run that a list forbids.

    with_duplicates: also what stands for these documents, and what they or it stand for, in deduplication.

    Raises:
        UserError: a source without a copy, which bitmaps count the rows of, cannot be read any more.
    """
    number = next(iter([*asked.ids.values(), *asked.urls.values(), *asked.domains.values()]), 0)
    ids = _ids(run, asked)
    together = clusters(run, before, asked, ids)
    if with_duplicates:
        ids = ids.union(*(one.members for one in together))
    others = related(run, together, {*ids, *before.suppression.ids})
    forbidden = asked.joined(Suppression(ids=dict.fromkeys(sorted(ids), number)))
    found = Found(forbidden, related=others, clusters=together)
    for step in run.nodes:
        if run.nodes[step]["dataset"] is not None:
            _search(run[step], found)
    _describe(run, found)
    return found


def _ids(run: Run, asked: Suppression) -> set[bytes]:
    """Ids of rows that are asked for by whatever column."""
    found = set(asked.ids)
    for step in run.nodes:
        if run.nodes[step]["dataset"] is None:
            continue
        dataset = run[step]
        tables = (table for _, _, table in row_tables(dataset, ("id", "url")))
        for table in (*tables, *read_again(dataset, [])):
            if {"id", "url"} <= set(table.column_names):
                chosen = table.filter(pa.array(asked.rows(table)))["id"]
                found.update(one for one in chosen.to_pylist() if one is not None)
    return found


# -- rows of each shard ---------------------------------------------------------------------------------------------


def _search(dataset: Dataset, found: Found) -> None:
    """The rows of one dataset."""
    for index, output, table in row_tables(dataset, ABOUT):
        mask = found.forbidden.rows(table)
        if mask.any():
            found.hits.add((dataset.name, index))
            _note(found, table.filter(pa.array(mask)), (dataset.name, _outcome(dataset, output), index))
    by_kind: Mapping[str, Callable[[Dataset, int, Found], None]] = {
        "documents": _search_documents, "selection": _search_selection, "source": _search_source
    }  # fmt: skip
    if dataset.kind in by_kind:
        for index in sorted(dataset.commits):
            by_kind[dataset.kind](dataset, index, found)


def _outcome(dataset: Dataset, output: Published) -> str:
    if output.folder != "shards":
        return {"quarantine": "quarantined"}.get(output.folder, output.folder)
    if dataset.kind in ("tokens", "documents") and output.suffix in (".parquet", ".docs.parquet"):
        return "tokenized" if dataset.kind == "tokens" else "kept"
    return output.suffix.removesuffix(".parquet").strip(".")


def _note(found: Found, table: pa.Table, place: tuple[str, str, int]) -> None:
    for row in table.to_pylist():
        facts = {name: row.get(name) for name in ABOUT[1:] if row.get(name) is not None}
        if row["id"] is None:
            found.nameless.append(Page(facts, [place]))
            continue
        page = found.pages.setdefault(row["id"], Page({}))
        page.facts = {**facts, **page.facts}
        if place not in page.places:
            page.places.append(place)


def _search_documents(dataset: Dataset, index: int, found: Found) -> None:
    commit = dataset.commits[index]
    for output in commit.outputs:
        if output.suffix == ".parquet" and (dataset.name, index) in found.hits:
            with parquet(dataset.run.storage, output.name) as opened:
                gone = _gone((opened.read_row_group(k) for k in range(opened.num_row_groups)), found)
            if output.folder == "shards" and len(gone.rows):
                found.gone[dataset.name, index] = gone


def _search_source(dataset: Dataset, index: int, found: Found) -> None:
    if not needs_reading(dataset.run, dataset.name):
        return
    gone = _gone(_noted(dataset, index, found), found)
    if len(gone.rows):
        found.gone[dataset.name, index] = gone


def _noted(dataset: Dataset, index: int, found: Found) -> Iterator[pa.Table]:
    """The documents of a source's shard; those that go are noted."""
    for table in source_shard(dataset, index, found.notes):
        mask = found.forbidden.rows(table)
        if mask.any():
            chosen = table.filter(pa.array(mask))
            _note(
                found,
                chosen.select([name for name in ABOUT if name in table.column_names]),
                (dataset.name, "read", index),
            )
        yield table


def _search_selection(dataset: Dataset, index: int, found: Found) -> None:
    base = found.gone.get((_base(dataset), index))
    if base is None or not dataset.commits[index].outputs:
        return
    keep = keep_flags(dataset, dataset.commits[index])
    kept = keep[base.rows]
    rows = np.cumsum(keep)[base.rows[kept]] - 1
    if len(rows):
        found.gone[dataset.name, index] = Gone(rows.astype(np.int64), base.about.filter(pa.array(kept)))


def _base(dataset: Dataset) -> str:
    return dataset.run.nodes[dataset.name]["inputs"]["documents"]


def keep_flags(dataset: Dataset, commit: Commit) -> npt.NDArray[np.bool_]:
    """The bitmap of a selection's shard."""
    name = next(output.name for output in commit.outputs if output.suffix == ".keep")
    return read_keep(dataset.run.storage.local_path(name)).to_numpy(zero_copy_only=False).astype(np.bool_)


def _gone(tables: Iterator[pa.Table], found: Found) -> Gone:
    """Rows by number, with fragments of their texts noted; of dropped rows also of their excerpts."""
    first, rows, about = 0, [np.zeros(0, np.int64)], []
    for table in tables:
        mask = found.forbidden.rows(table)
        if mask.any():
            rows.append(np.flatnonzero(mask) + first)
            chosen = table.filter(pa.array(mask)).combine_chunks()
            if "text" in chosen.column_names:
                about.append(described(chosen))
            for name in ("text", "excerpt"):
                if name in chosen.column_names:
                    found.texts.update(one for text in chosen[name].to_pylist() for one in fragments(text or ""))
        first += table.num_rows
    return Gone(np.concatenate(rows), pa.concat_tables(about) if about else _NOTHING)


def described(docs: pa.Table) -> pa.Table:
    """``id``, ``bytes`` and ``group`` of documents."""
    groups = pc.binary_join_element_wise(sources(docs), pc.cast(languages(docs), pa.string()), "|")
    return pa.table({"id": docs["id"].combine_chunks().cast(pa.binary()), "bytes": text_bytes(docs), "group": groups})


_NOTHING = pa.table(
    {"id": pa.array([], pa.binary()), "bytes": pa.array([], pa.int64()), "group": pa.array([], pa.string())}
)


def _describe(run: Run, found: Found) -> None:
    """A page that only bitmaps or sources know of is one too."""
    for (step, index), gone in found.gone.items():
        kind = "read" if run.nodes[step]["kind"] == "source" else "kept"
        identities: list[Any] = gone.about["id"].to_pylist()
        for identity in identities:
            page = found.pages.setdefault(identity, Page({}))
            if (step, kind, index) not in page.places:
                page.places.append((step, kind, index))
