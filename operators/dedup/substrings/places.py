"""Places of repeated windows: rows, words and where the same words stand before; sorted, and written as files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.dedup.columns import Columns, open_columns, write_columns
from operators.dedup.order import Order, content_order, gather, shard_range
from operators.dedup.sketch import Arrays
from operators.kernels.shingles import KeyArray
from pipeline.work import Output, Shard

REPEATS, ASKS = ".repeats", ".asks"

_KINDS = {
    "at": np.uint64,
    "start": np.uint32,
    "count": np.uint32,
    "rep": np.uint64,
    "rep_start": np.uint32,
    "rep_high": np.uint64,
    "rep_low": np.uint64,
    "key": np.uint64,
}
REPEAT_COLUMNS = ("at", "start", "count", "rep", "rep_start", "rep_high", "rep_low")
"""Address of a row; ``count`` windows, the first from word ``start``; the row and the word where the same windows
stand earlier in content order, and the two halves of that row's id."""
ASK_COLUMNS = ("at", "start", "count", "key")
"""Windows of a row whose own hashes are needed, and the key of their anchor."""


def write_places(
    folder: Path, suffix: str, names: Sequence[str], parts: Iterable[Arrays], parameters: Mapping[str, Any]
) -> Output:
    """Write places sorted by row and word."""
    found = list(parts)
    joined = {name: np.concatenate([np.empty(0, _KINDS[name]), *(part[name] for part in found)]) for name in names}
    order = np.lexsort((joined["start"], joined["at"]))
    path = folder / f"found{suffix}"
    arrays = {name: column[order].astype(_KINDS[name]) for name, column in joined.items()}
    write_columns(path, suffix[1:], parameters, arrays)
    return Output(path, suffix)


def read_places(
    shards: Sequence[Shard], suffix: str, names: Sequence[str], shard: int, parameters: Mapping[str, Any]
) -> Arrays:
    """The columns of one shard's places out of the files of all partitions, sorted by row and word.

    The files are open one after the other, each checked once per process.
    """
    parts: list[Arrays] = []
    for partition in shards:
        file = open_columns(partition.file(suffix), suffix[1:], parameters, verify=True)
        own = shard_range(file["at"], shard)
        parts.append({name: file[name][own].copy() for name in names})
    joined = {name: np.concatenate([np.empty(0, _KINDS[name]), *(part[name] for part in parts)]) for name in names}
    order = np.lexsort((joined["start"], joined["at"]))
    return {name: column[order] for name, column in joined.items()}


class Ranked(NamedTuple):
    """Of each record's row the place in content order, equal only for equal addresses, and the id, uint64 (N, 2)."""

    rank: npt.NDArray[np.int64]
    ids: npt.NDArray[np.uint64]


def ranks(cards: Iterable[tuple[int, Columns]], at: KeyArray, order: Order) -> Ranked:
    """The places in content order among these rows, and their ids."""
    rows, which = np.unique(at, return_inverse=True)
    columns = gather(cards, rows, order.columns)
    rank = np.empty(len(rows), np.int64)
    rank[content_order(columns, rows, order)] = np.arange(len(rows))
    return Ranked(rank[which], columns["id"][which])


def with_lead(places: Arrays, lead: Mapping[str, npt.NDArray[Any]], ids: npt.NDArray[np.uint64]) -> Arrays:
    """Repeats, each with the place where its windows stand earlier and the id of the row there."""
    return {**places, "rep": lead["at"], "rep_start": lead["start"], "rep_high": ids[:, 0], "rep_low": ids[:, 1]}


def leaders(new: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """For each record the first of its class; classes lie together, ``new`` is true where one begins."""
    first = np.where(new, np.arange(len(new)), 0)
    return np.maximum.accumulate(first)


def stretches(places: Arrays, min_tokens: int) -> Arrays:
    """The words that lie in a repeated window, as few stretches of each row, sorted.

    Returns ``at``, ``start``, ``end``, and what is known of the row where the window that each begins with stands.
    """
    order = np.lexsort((places["rep_start"], places["rep"], places["start"], places["at"]))
    at = places["at"][order]
    start = places["start"][order].astype(np.int64)
    end = start + places["count"][order].astype(np.int64) - 1 + min_tokens
    # One axis for all rows: words of row k lie from k * 2**32 on, so that the largest end so far is that of the row.
    line = np.cumsum(np.append(True, at[1:] != at[:-1])[: len(at)]).astype(np.int64) << 32
    reached = np.maximum.accumulate(line + end)
    new = np.append(True, (line + start)[1:] > reached[:-1])[: len(at)]
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(at)) - 1
    return {
        "at": at[first],
        "start": start[first],
        "end": (reached - line)[last[: len(first)]],
        **{name: places[name][order][first] for name in ("rep", "rep_high", "rep_low")},
        "rep_start": places["rep_start"][order][first].astype(np.int64),
    }
