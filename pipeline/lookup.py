"""Finds documents of a run by id, the beginning of an id, URL, record_id or origin: reads those columns only."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
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
_FEW_DIGITS = re.compile(r"[0-9a-fA-F]{1,5}")
_ID_DIGITS = 32
_ID_BYTES = 16
_NEAREST = 5
_SAME_HOST = 2000
"""URLs of the same host that are compared with one that was not found."""


def find_ids(run: Run, query: str) -> list[bytes]:
    """Ids of the documents a query names.

    It is 32 hex digits, at least the 6 first ones of a single id, a whole URL, the id a source gave (``record_id``), or an
    origin (``file#offset``; of the file its last part is enough). Digits that are a record_id are taken as that.

    Raises:
        UserError: nothing is found (says what was looked for), or the digits begin several ids.
    """
    named: set[bytes] = set()
    begun: set[bytes] = set()
    for table in _identities(run, _columns(query)):
        named.update(_ids(table, named_rows(table, query)))
        if _ID.fullmatch(query):
            begun.update(_ids(table, starts_with(table["id"], query.lower())))
    found = named | begun if len(query) == _ID_DIGITS else named or begun
    if not found:
        raise UserError(_not_found(run, query))
    if not named and len(found) > 1:
        some = ", ".join(one.hex() for one in sorted(found)[:_NEAREST])
        more = ", …" if len(found) > _NEAREST else ""
        msg = f"{len(found)} documents have ids that begin with {query}: {some}{more}; give more digits"
        raise UserError(msg)
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


def named_rows(table: pa.Table, query: str) -> Mask:
    """Rows whose URL or record_id is the query, or whose origin is it or ends with ``/`` and it."""
    mask = np.zeros(table.num_rows, np.bool_)
    for name in ("url", "record_id", "origin"):
        if name in table.column_names:
            column = table[name].cast(pa.string())
            mask |= _true(pc.equal(column, query))
            if name == "origin":
                mask |= _true(pc.ends_with(column, pattern=f"/{query}"))
    return mask


def _true(column: pa.ChunkedArray) -> Mask:
    return pc.fill_null(column, fill_value=False).to_numpy()


def _columns(query: str) -> Sequence[str]:
    """What is compared with a query; origins are long, and all of them have a ``#``."""
    return ("id", "url", "record_id", "origin") if "#" in query else ("id", "url", "record_id")


def _ids(table: pa.Table, mask: Mask) -> Iterator[bytes]:
    return (one.as_py() for one in table["id"].filter(pa.array(mask)).drop_null())


def _identities(run: Run, names: Sequence[str]) -> Iterator[pa.Table]:
    """Those columns of every row that was written anywhere; of a source that nothing copied, read again."""
    copied = _copied_sources(run)
    for name in run.steps:
        if run.nodes[name]["dataset"] is None:
            continue
        dataset = run[name]
        for file in row_files(dataset):
            with parquet(run.storage, file) as opened:
                if {"id", "url"} <= set(opened.schema_arrow.names):
                    yield opened.read([one for one in names if one in opened.schema_arrow.names])
        if dataset.kind == "source" and name not in copied:
            for docs in dataset.documents():
                yield docs.select([one for one in names if one in docs.column_names])


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
    where = run.storage.uri
    if "://" in query:
        near = _nearest(run, query)
        hint = f"the nearest: {', '.join(near)}" if near else "no URL of that host is among them"
        kind = "URL or origin" if "#" in query else "URL"
        return f"no document with the {kind} {query} in {where}; a URL is compared as it stands; {hint}"
    quarantined = any(
        run.nodes[name]["dataset"] and next(files(run[name], "quarantine", ".parquet"), None) for name in run.steps
    )
    lost = "; quarantined rows keep no record_id, look for their origin" if quarantined else ""
    if _ID.fullmatch(query):
        said = f"no document whose id begins with {query} in {where}, and none whose record_id it is"
        return f"{said}; `sluice cat` shows the ids a step holds{lost}"
    if _FEW_DIGITS.fullmatch(query):
        return f"no document has the record_id {query} in {where}; of an id give at least 6 of its 32 hex digits{lost}"
    near = _nearest(run, query) if "." in query or "/" in query else ()
    hint = f"; the nearest URLs: {', '.join(near)}" if near else ""
    said = f"{query!r} is neither an id, a URL, a record_id nor an origin (file#offset) of a document in {where}"
    return f"{said}; ids are 32 hex digits, a URL has its http://, record_id is the id that the source gave{hint}{lost}"


def _nearest(run: Run, query: str) -> Sequence[str]:
    host = urlsplit(query).hostname or query.partition("/")[0]
    seen: dict[str, None] = {}
    for table in _identities(run, ("id", "url")):
        same = pc.fill_null(pc.match_substring(table["url"], host), fill_value=False)
        seen.update((str(url), None) for url in table.filter(same)["url"].to_pylist())
        if len(seen) > _SAME_HOST:
            break
    return difflib.get_close_matches(query, list(seen)[:_SAME_HOST], n=_NEAREST, cutoff=0.3)
