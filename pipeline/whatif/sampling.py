"""A fixed random sample of what a step kept or dropped: the rows with the smallest ids, since ids are hashes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dataset import Dataset
from pipeline.documents import EXCERPT_CHARS
from pipeline.errors import UserError
from pipeline.rejects import LANGUAGE_COLUMNS, languages
from pipeline.report.reading import files
from pipeline.whatif.selected import keep_bitmap
from pipeline.whatif.stored_rows import Part, RowFile, smallest


@dataclass(frozen=True)
class Wanted:
    """Which rows are sampled: of a language (None: any), dropped by an operator or for a reason (None: any)."""

    language: str | None = None
    operator: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class _Found:
    id: bytes
    file: str
    row: int


def _place(one: _Found) -> tuple[bytes, str, int]:
    return one.id, one.file, one.row


def sample_dropped(dataset: Dataset, wanted: Wanted, limit: int) -> list[dict[str, Any]]:
    """Rows that a step dropped, with all their columns."""
    return _sample(dataset, "dropped", wanted, limit)


def sample_kept(dataset: Dataset, wanted: Wanted, limit: int) -> list[dict[str, Any]]:
    """Documents that a step holds, with all their columns.

    Raises:
        UserError: the step holds no documents.
    """
    if dataset.kind == "documents":
        return _sample(dataset, "shards", wanted, limit)
    if dataset.kind == "selection":
        base = dataset.run[dataset.run.nodes[dataset.name]["inputs"]["documents"]]
        if base.kind == "documents":
            return _sample(base, "shards", wanted, limit, selection=dataset)
    if dataset.kind in ("source", "selection"):
        return _read_all(dataset, wanted, limit)
    msg = f"step {dataset.name!r} holds {dataset.kind}, not documents; `sluice cat` prints it"
    raise UserError(msg)


def stored(dataset: Dataset, places: Sequence[tuple[str, int]], columns: Sequence[str] | None = None) -> list[dict]:
    """Rows by file and number, in the order asked for; with these columns, or all."""
    by_file: dict[str, list[int]] = {}
    for name, row in places:
        by_file.setdefault(name, []).append(row)
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for name, rows in by_file.items():
        with RowFile(dataset.run.storage, name) as opened:
            for row in rows:
                wanted = opened.names if columns is None else columns
                found[name, row] = opened.rows(np.array([row]), wanted).to_pylist()[0]
    return [found[place] for place in places]


def excerpt(row: Mapping[str, Any]) -> str | None:
    """The stored excerpt, or the beginning of the text."""
    text = row.get("excerpt") if "excerpt" in row else row.get("text")
    return None if text is None else str(text)[:EXCERPT_CHARS]


def _sample(
    dataset: Dataset, folder: str, wanted: Wanted, limit: int, *, selection: Dataset | None = None
) -> list[dict[str, Any]]:
    best: list[_Found] = []
    shards = dataset.commits if selection is None else selection.commits
    for shard, file in files(dataset, folder, ".parquet", sorted(set(shards) & set(dataset.commits))):
        keep = None if selection is None else keep_bitmap(selection, shard)
        with RowFile(dataset.run.storage, file.name) as opened:
            for part in opened.parts():
                rows, ids = _candidates(part, wanted, keep)
                chosen = smallest(ids, limit)
                new = [_Found(ids[k].as_py(), file.name, int(rows[k])) for k in chosen.tolist()]
                # Rows of one id are interchangeable, and one of them is enough.
                known = {one.id: one for one in sorted([*best, *new], key=_place, reverse=True)}
                best = sorted(known.values(), key=_place)[:limit]
    return stored(dataset, [(one.file, one.row) for one in best])


def _candidates(part: Part, wanted: Wanted, keep: np.ndarray | None) -> tuple[np.ndarray, pa.ChunkedArray]:
    """Numbers in the file and ids of the rows of a part that are wanted."""
    names = ["id"]
    names += LANGUAGE_COLUMNS if wanted.language is not None else ()
    names += [name for name in ("operator", "reason") if getattr(wanted, name) is not None]
    table = part.read(names)
    mask = np.ones(part.num_rows, np.bool_)
    if keep is not None:
        mask &= keep[part.first_row : part.first_row + part.num_rows]
    mask &= _matches(table, wanted)
    return np.flatnonzero(mask) + part.first_row, table["id"].filter(pa.array(mask))


def _matches(table: pa.Table, wanted: Wanted) -> np.ndarray:
    mask = np.ones(table.num_rows, np.bool_)
    if wanted.language is not None:
        mask &= pc.equal(languages(table), wanted.language).to_numpy(zero_copy_only=False)
    for name in ("operator", "reason"):
        if getattr(wanted, name) is not None:
            mask &= pc.equal(table[name], getattr(wanted, name)).to_numpy()
    return mask


def _read_all(dataset: Dataset, wanted: Wanted, limit: int) -> list[dict[str, Any]]:
    best: list[dict[str, Any]] = []
    for docs in _tables(dataset, wanted):
        rows = docs.take(pa.array(smallest(docs["id"], limit))).to_pylist()
        best = sorted([*best, *rows], key=lambda row: row["id"])[:limit]
    return best


def _tables(dataset: Dataset, wanted: Wanted) -> Iterator[pa.Table]:
    for docs in dataset.documents():
        yield docs.filter(pa.array(_matches(docs, wanted)))
