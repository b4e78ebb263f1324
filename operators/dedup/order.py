"""Addresses of rows, and the order in which duplicates survive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, BeforeValidator

from operators.dedup.columns import Columns
from operators.kernels.shingles import KeyArray

ROW_BITS = 32
"""An address is ``shard << 32 | row``. It only says where a row lies; between rows of unequal id it never decides."""
ROW_MASK = np.uint64((1 << ROW_BITS) - 1)

_NO_DATE = np.uint64(1 << 63)  # beyond every date, in both directions

_DATE_PARTS = ("year", "month", "day", "hour", "minute", "second")
_DATE = (
    r"^(?P<year>\d{4})(?:-?(?P<month>\d\d)(?:-?(?P<day>\d\d)"
    r"(?:[T ]?(?P<hour>\d\d):?(?P<minute>\d\d)(?::?(?P<second>\d\d))?)?)?)?"
)


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _checked(policy: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(policy)) != len(policy) or {"newest", "oldest"} <= set(policy) or "id" in policy[:-1] or not policy:
        msg = (
            f"keep names each value once, newest or oldest but not both, and id (which decides last anyway) only at "
            f"the end, got {list(policy)}; try keep: [longest]"
        )
        raise ValueError(msg)
    return policy


Policy = Annotated[
    tuple[Literal["longest", "newest", "oldest", "id"], ...], BeforeValidator(_as_tuple), AfterValidator(_checked)
]
"""Which of several duplicates stays: the first by these values in turn, then by the smaller id."""


def addresses(shard: int, rows: npt.NDArray[Any]) -> KeyArray:
    """The addresses of rows of one shard: uint64, as long as ``rows``."""
    return np.uint64(shard << ROW_BITS) | rows.astype(np.uint64)


def shard_range(sorted_addresses: npt.NDArray[np.uint64], shard: int) -> slice:
    """Where the rows of one shard lie among sorted addresses."""
    bounds = np.array([shard << ROW_BITS, (shard + 1) << ROW_BITS], np.uint64)
    first, last = np.searchsorted(sorted_addresses, bounds)
    return slice(int(first), int(last))


def word_pairs(digests: bytes | memoryview) -> KeyArray:
    """16-byte values as uint64 (N, 2) that sort as the bytes do."""
    return np.frombuffer(digests, ">u8").reshape(-1, 2).astype(np.uint64)


def date_keys(dates: pa.Array) -> KeyArray:
    """Dates as numbers that sort as they do: YYYYMMDDhhmmss, uint64 (N,).

    Taken from the beginning of an ISO 8601 date or timestamp, with or without its dashes and colons; months, days and
    times that are left out count as zero, and time zones are not taken into account. What does not begin with four
    digits counts as no date and loses under ``newest`` and under ``oldest``.
    """
    found = pc.extract_regex(dates.cast(pa.string()), pattern=_DATE)
    number = np.zeros(len(dates), np.uint64)
    for position, name in enumerate(_DATE_PARTS):
        part = pc.struct_field(found, position)
        digits = pc.if_else(pc.equal(part, pa.scalar("")), pa.scalar("0"), part).cast(pa.uint64())
        width = np.uint64(10_000 if name == "year" else 100)
        number = number * width + digits.fill_null(0).to_numpy(zero_copy_only=False)
    return np.where(found.is_valid().to_numpy(zero_copy_only=False), number, _NO_DATE)


def content_order(columns: dict[str, npt.NDArray[Any]], at: KeyArray, policy: Sequence[str]) -> npt.NDArray[np.intp]:
    """The permutation that puts rows in the order in which they survive.

    columns: ``bytes``, ``date`` and ``id`` of the rows, as in a sketch. at: their addresses, which decide between
    rows of equal id only.
    """
    keys = [at, columns["id"][:, 1], columns["id"][:, 0]]
    for name in reversed(policy):
        match name:
            case "longest":
                keys.append(~columns["bytes"])
            case "oldest":
                keys.append(columns["date"])
            case "newest":
                keys.append(np.where(columns["date"] == _NO_DATE, _NO_DATE, _NO_DATE - columns["date"]))
    return np.lexsort(keys)


def gather(sketches: Iterable[tuple[int, Columns]], at: KeyArray, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Columns of the rows at sorted addresses, read from the sketches of all shards: (number, sketch), ascending.

    Whoever iterates opens the sketches one after the other, so that a thousand shards need not be open at once.
    """
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in names}
    for shard, sketch in sketches:
        rows = (at[shard_range(at, shard)] & ROW_MASK).astype(np.intp)
        for name in names:
            parts[name].append(sketch[name][rows])
    return {name: np.concatenate(part) for name, part in parts.items()}
