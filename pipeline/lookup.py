"""Finds documents of a run by id, by the beginning of an id, or by URL: reads id and url columns only."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dataset import Dataset, Run
from pipeline.errors import UserError
from pipeline.report.reading import files, parquet

Mask = npt.NDArray[np.bool_]

_ID = re.compile(r"[0-9a-fA-F]{6,32}")
_ID_BYTES = 16
_NEAREST = 5
_SAME_HOST = 2000
"""URLs of the same host that are compared with one that was not found."""


def find_ids(run: Run, query: str) -> list[bytes]:
    """Ids of the documents a query names: 32 hex digits, at least 6 first ones of a single id, or an exact URL.

    Raises:
        UserError: nothing is found (names the nearest URLs), or the digits begin several ids.
    """
    if _ID.fullmatch(query):
        found = _matching(run, lambda table: starts_with(table["id"], query.lower()))
        if len(found) > 1:
            some = ", ".join(one.hex() for one in sorted(found)[:_NEAREST])
            more = ", …" if len(found) > _NEAREST else ""
            msg = f"{len(found)} documents have ids that begin with {query}: {some}{more}; give more digits"
            raise UserError(msg)
    else:
        found = _matching(run, lambda table: _equal(table, query))
    if not found:
        raise UserError(_not_found(run, query))
    return sorted(found)


def rows_with_id(dataset: Dataset, name: str, identity: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a Parquet file with this id, without their texts: (row number, row)."""
    with parquet(dataset.run.storage, name) as opened:
        others = [column for column in opened.schema_arrow.names if column != "text"]
        first = 0
        for group in range(opened.num_row_groups):
            ids = opened.read_row_group(group, columns=["id"])["id"]
            hits = np.flatnonzero(starts_with(ids, identity.hex()))
            if len(hits):
                found = opened.read_row_group(group, columns=others).take(pa.array(hits))
                yield from zip((hits + first).tolist(), found.to_pylist(), strict=True)
            first += len(ids)


def starts_with(ids: pa.ChunkedArray, digits: str) -> Mask:
    """Rows whose 16-byte id begins with these hex digits; null ids do not."""
    filled = pc.fill_null(ids.cast(pa.binary()), b"").combine_chunks()
    known = pc.equal(pc.binary_length(filled), _ID_BYTES).to_numpy(zero_copy_only=False)
    rows = np.zeros((len(filled), _ID_BYTES), np.uint8)
    rows[known] = np.frombuffer(b"".join(filled.filter(pa.array(known)).to_pylist()), np.uint8).reshape(-1, _ID_BYTES)
    whole = len(digits) // 2
    mask = known & (rows[:, :whole] == np.frombuffer(bytes.fromhex(digits[: 2 * whole]), np.uint8)).all(axis=1)
    if len(digits) % 2:
        mask &= (rows[:, whole] >> 4) == int(digits[-1], 16)
    return mask


def _equal(table: pa.Table, url: str) -> Mask:
    return pc.fill_null(pc.equal(table["url"], url), fill_value=False).to_numpy()


def _matching(run: Run, match: Callable[[pa.Table], Mask]) -> set[bytes]:
    found: set[bytes] = set()
    for table in _identities(run):
        ids = table.filter(pa.array(match(table)))["id"].drop_null()
        found.update(one.as_py() for one in ids)
    return found


def _identities(run: Run) -> Iterator[pa.Table]:
    """Ids and URLs of every row that was written anywhere; of a source that nothing copied, read again."""
    copied = _copied_sources(run)
    for name in run.steps:
        if run.nodes[name]["dataset"] is None:
            continue
        dataset = run[name]
        for file in row_files(dataset):
            with parquet(run.storage, file) as opened:
                if {"id", "url"} <= set(opened.schema_arrow.names):
                    yield opened.read(["id", "url"])
        if dataset.kind == "source" and name not in copied:
            yield from (docs.select(["id", "url"]) for docs in dataset.documents())


def row_files(dataset: Dataset) -> list[str]:
    """Parquet files of kept, dropped and quarantined rows of a dataset."""
    kept = [file.name for _, file in files(dataset, "shards", ".parquet")] if dataset.kind == "documents" else []
    return [
        *kept,
        *(file.name for folder in ("dropped", "quarantine") for _, file in files(dataset, folder, ".parquet")),
    ]


def _copied_sources(run: Run) -> set[str]:
    """Sources of which every row stands in the files of a later step."""
    found = set()
    for name in run.steps:
        node = run.nodes[name]
        if node["kind"] == "documents" and node["dataset"] is not None and run[name].complete:
            found.add(node["inputs"].get("documents"))
    return found


def _not_found(run: Run, query: str) -> str:
    if _ID.fullmatch(query):
        return f"no document whose id begins with {query} in {run.storage.uri}; `sluice cat` shows the ids a step holds"
    near = _nearest(run, query)
    hint = f"the nearest: {', '.join(near)}" if near else "no URL of that host is among them"
    return f"no document with the URL {query} in {run.storage.uri}; a URL is compared as it stands; {hint}"


def _nearest(run: Run, query: str) -> Sequence[str]:
    host = urlsplit(query).hostname or query.partition("/")[0]
    seen: dict[str, None] = {}
    for table in _identities(run):
        same = pc.fill_null(pc.match_substring(table["url"], host), fill_value=False)
        seen.update((str(url), None) for url in table.filter(same)["url"].to_pylist())
        if len(seen) > _SAME_HOST:
            break
    return difflib.get_close_matches(query, list(seen)[:_SAME_HOST], n=_NEAREST, cutoff=0.3)
