"""Documents that deduplication put together with others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dataset import Run
from pipeline.report.reading import files, parquet
from pipeline.takedown.holding import row_tables
from pipeline.takedown.suppression import Register, Suppression, url_hash
from pipeline.takedown.urls import host_of

REMOVED = ".removed.parquet"
STAYED = "the document that stayed for it"
COPY = "a copy, or nearly one, that was removed"


@dataclass(frozen=True)
class Cluster:
    """Documents that deduplication put together: the one that stayed, and those that were removed for it."""

    stayed: bytes
    removed: tuple[bytes, ...]

    @property
    def members(self) -> set[bytes]:
        """All of them."""
        return {self.stayed, *self.removed}

    def to_json(self, keys: Sequence[str]) -> dict[str, Any]:
        """For the register: ids, and what its pages were asked for by (hashes of URLs, domains)."""
        return {"stayed": self.stayed.hex(), "removed": [one.hex() for one in self.removed], "keys": list(keys)}


def clusters(run: Run, before: Register, asked: Suppression, ids: Collection[bytes]) -> list[Cluster]:
    """The clusters with one of these documents: as deduplication has them, and as earlier takedowns noted them.

    A takedown of a document takes the rows away that tell what it was put together with, so it notes that in its entry.
    """
    heads = {*ids, *(stayed for _, stayed in _pairs(run, "id", ids))}
    found: dict[bytes, dict[bytes, None]] = {}
    for removed, stayed in _pairs(run, "rep_id", heads):
        found.setdefault(stayed, {})[removed] = None
    noted = _noted(before, asked, ids)
    return [*noted, *(Cluster(stayed, tuple(sorted(removed))) for stayed, removed in sorted(found.items()))]


def _noted(before: Register, asked: Suppression, ids: Collection[bytes]) -> list[Cluster]:
    keys = {*(one.hex() for one in asked.urls), *asked.domains}
    found: dict[Cluster, None] = {}
    for request in before.requests:
        for one in request.get("related", ()):
            cluster = Cluster(bytes.fromhex(one["stayed"]), tuple(bytes.fromhex(key) for key in one["removed"]))
            if not keys.isdisjoint(one["keys"]) or not cluster.members.isdisjoint(ids):
                found[cluster] = None
    return list(found)


def as_entry(found: Sequence[Cluster], urls: Mapping[bytes, str | None], asked: Suppression) -> list[dict[str, Any]]:
    """Clusters as the entry of a request notes them. urls: of the documents that go."""
    return [one.to_json(sorted(_keys([urls[key] for key in one.members if key in urls], asked))) for one in found]


def _keys(urls: Sequence[str | None], asked: Suppression) -> set[str]:
    known = [url for url in urls if url]
    hosts = {host_of(url) for url in known}
    domains = {name for name in asked.domains for host in hosts if host == name or host.endswith(f".{name}")}
    return domains | {url_hash(url).hex() for url in known}


def related(run: Run, found: Sequence[Cluster], but: Collection[bytes]) -> dict[bytes, tuple[str | None, str]]:
    """The members of clusters (URL, what they are to the others) without some of them."""
    roles = {one.stayed: STAYED for one in found if one.stayed not in but}
    for cluster in found:
        for one in cluster.removed:
            if one not in but:
                roles.setdefault(one, COPY)
    if not roles:
        return {}
    urls: dict[bytes, str | None] = {}
    wanted = Suppression(ids=dict.fromkeys(roles, 0))
    for step in run.nodes:
        if run.nodes[step]["dataset"] is not None:
            for _, _, table in row_tables(run[step], ("id", "url")):
                if "url" in table.column_names:
                    rows = table.filter(pa.array(wanted.rows(table.select(["id"])))).select(["id", "url"])
                    urls.update((row["id"], row["url"]) for row in rows.to_pylist())
    return {one: (urls.get(one), role) for one, role in sorted(roles.items())}


def _pairs(run: Run, by: str, ids: Collection[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """(id, id of the one that stayed) of removed rows where one of the two columns holds one of these."""
    wanted = pa.array(sorted(ids), pa.binary())
    for step, node in run.nodes.items():
        if node["kind"] == "selection" and node["dataset"] is not None:
            for _, output in files(run[step], "shards", REMOVED):
                with parquet(run.storage, output.name) as opened:
                    table = opened.read(["id", "rep_id", "rep_level"])
                mine = pc.and_(pc.is_in(table[by].cast(pa.binary()), value_set=wanted), pc.equal(table["rep_level"], 0))
                rows: list[Any] = table.filter(mine).to_pylist()
                yield from ((row["id"], row["rep_id"]) for row in rows if any(row["rep_id"]))
