"""Documents that deduplication put together with others."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dataset import Run
from pipeline.report.reading import files, parquet
from pipeline.takedown.holding import row_tables
from pipeline.takedown.suppression import Suppression

REMOVED = ".removed.parquet"


def related(run: Run, ids: Collection[bytes]) -> dict[bytes, tuple[str | None, str]]:
    """The documents that deduplication put together with these: (URL, what they are to them)."""
    roles = {one: "the document that stayed for it" for one in _partners(run, "id", ids, "rep_id") if one not in ids}
    heads = {*ids, *roles}
    for one in _partners(run, "rep_id", heads, "id"):
        if one not in ids:
            roles.setdefault(one, "a copy, or nearly one, that was removed")
    if not roles:
        return {}
    urls: dict[bytes, str | None] = {}
    wanted = Suppression(ids=dict.fromkeys(roles, 0))
    for step in run.nodes:
        if run.nodes[step]["dataset"] is not None:
            for _, _, table in row_tables(run[step], ("id", "url")):
                if "url" in table.column_names:
                    urls.update(_pairs(table.filter(pa.array(wanted.rows(table.select(["id"]))))))
    return {one: (urls.get(one), role) for one, role in sorted(roles.items())}


def _pairs(table: pa.Table) -> Iterator[tuple[bytes, str | None]]:
    return ((row["id"], row["url"]) for row in table.select(["id", "url"]).to_pylist())


def _partners(run: Run, by: str, ids: Collection[bytes], column: str) -> Iterator[bytes]:
    """Ids in one column of removed rows where another column holds one of these."""
    wanted = pa.array(sorted(ids), pa.binary())
    for step, node in run.nodes.items():
        if node["kind"] == "selection" and node["dataset"] is not None:
            for _, output in files(run[step], "shards", REMOVED):
                with parquet(run.storage, output.name) as opened:
                    table = opened.read([by, column, "rep_level"])
                mine = pc.and_(pc.is_in(table[by].cast(pa.binary()), value_set=wanted), pc.equal(table["rep_level"], 0))
                found: list[Any] = table.filter(mine)[column].to_pylist()
                yield from (one for one in found if any(one))
