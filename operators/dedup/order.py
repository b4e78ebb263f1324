"""Addresses of rows, and the order in which duplicates survive."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pydantic import AfterValidator, BeforeValidator, Field

from operators.dedup.columns import Columns
from operators.kernels.shingles import KeyArray
from pipeline.documents import ID_TYPE
from pipeline.errors import UserError
from pipeline.value import Strings, Value

_ROW_BITS, _SHARD_BITS, _LEVEL_BITS = 32, 24, 8
"""An address is ``level << 56 | shard << 32 | row``. It only says where a row lies; between rows of unequal id it never
decides. Level 0 is the dataset being deduplicated, level i the i-th that it is deduplicated against."""
_ROW_MASK = np.uint64((1 << _ROW_BITS) - 1)
_SHARD_MASK = np.uint64((1 << _SHARD_BITS) - 1)

_NO_DATE = np.uint64(1 << 63)  # beyond every date, in both directions

_DATE_PARTS = ("year", "month", "day", "hour", "minute", "second")
_DATE = (
    r"^(?P<year>\d{4})(?:-?(?P<month>\d\d)(?:-?(?P<day>\d\d)"
    r"(?:[T ]?(?P<hour>\d\d):?(?P<minute>\d\d)(?::?(?P<second>\d\d))?)?)?)?"
)


class Highest(Value):
    """The document with the largest number in a column stays; one without a number last."""

    highest: str = Field(min_length=1)


class Lowest(Value):
    """The document with the smallest number in a column stays; one without a number last."""

    lowest: str = Field(min_length=1)


_NAMES = ("longest", "shortest", "newest", "oldest", "id")
Preference = Literal["longest", "shortest", "newest", "oldest", "id"] | Highest | Lowest

_READS = {"longest": "bytes", "shortest": "bytes", "newest": "date", "oldest": "date", "id": "id"}
_VALUE = "value."


def value_column(name: str) -> str:
    """What a sketch calls a document's number of that name."""
    return f"{_VALUE}{name}"


def _read_by(preference: Preference) -> str:
    """The column of a sketch that a preference looks at."""
    match preference:
        case Highest():
            return value_column(preference.highest)
        case Lowest():
            return value_column(preference.lowest)
        case _:
            return _READS[preference]


def _as_policy(value: object) -> object:
    """A recipe's list as preferences; what is misspelt is named here, since a union would list every alternative."""
    return tuple(_as_preference(one) for one in value) if isinstance(value, list | tuple) else value


def _as_preference(value: Any) -> object:
    """One entry of the list.

    Raises:
        ValueError: it is no preference; names the near match.
    """
    match value:
        case Highest() | Lowest():
            return value
        case str() if value in _NAMES:
            return value
        case {"highest": str(column), **rest} if column and not rest:
            return Highest(highest=column)
        case {"lowest": str(column), **rest} if column and not rest:
            return Lowest(lowest=column)
    given = next(iter(value), "") if isinstance(value, Mapping) else value
    near = difflib.get_close_matches(str(given), (*_NAMES, "highest", "lowest"), n=1)
    meant = f", did you mean {near[0]!r}?" if near and near[0] != given else ""
    names = ", ".join(_NAMES)
    msg = f"{value!r} is nothing to choose by{meant}; there are {names}, {{highest: COLUMN}} and {{lowest: COLUMN}}"
    raise ValueError(msg)


def _checked(policy: tuple[Preference, ...]) -> tuple[Preference, ...]:
    looked_at = [_read_by(one) for one in policy]
    if not policy or len(set(looked_at)) != len(looked_at) or "id" in looked_at[:-1]:
        shown = [one if isinstance(one, str) else one.model_dump() for one in policy]
        msg = (
            f"keep names each value once and in one direction (longest or shortest, newest or oldest, highest or lowest "
            f"of a column), and id, which decides last anyway, only at the end; got {shown}; try keep: [longest]"
        )
        raise ValueError(msg)
    return policy


Policy = Annotated[tuple[Preference, ...], BeforeValidator(_as_policy), AfterValidator(_checked)]
"""Which of several duplicates stays: the first by these values in turn, then by the smaller id."""


def _each_once(sources: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({name for name in sources if sources.count(name) > 1})
    if twice:
        msg = f"sources names {', '.join(twice)} twice; the earlier in the list survives, so name each once"
        raise ValueError(msg)
    return sources


Sources = Annotated[Strings, AfterValidator(_each_once)]
"""Names of sources, the one with priority first."""


class Order(Value):
    """The order in which documents survive: by source, by the policy's values in turn, by id.

    sources: names, the first has priority; all that are not named come last and are equal to each other. keep: then
    these values. The smaller id decides between documents that are alike in all of them.
    """

    keep: Policy = ("longest",)
    sources: Sources = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a sketch that decide, ``id`` among them."""
        named = ("source",) if self.sources else ()
        return tuple(dict.fromkeys(("id", *named, *(_read_by(one) for one in self.keep))))

    @property
    def values(self) -> tuple[str, ...]:
        """The documents' own columns that a sketch must hold for it, by name."""
        return tuple(sorted(name.removeprefix(_VALUE) for name in self.columns if name.startswith(_VALUE)))


def source_keys(names: Sequence[str]) -> KeyArray:
    """Sources as numbers: the xxh3-64 of each name, so that which ones have priority can change without a text read."""
    return np.array([xxhash.xxh3_64_intdigest(name.encode()) for name in names], np.uint64)


def check_addressable(num_shards: int, num_levels: int = 0) -> None:
    """Refuse what addresses cannot tell apart.

    Raises:
        UserError: more shards or earlier datasets than an address has numbers for.
    """
    if num_shards > 1 << _SHARD_BITS:
        msg = f"dedup takes at most {1 << _SHARD_BITS} shards, got {num_shards}; read larger files or group them"
        raise UserError(msg)
    if num_levels >= 1 << _LEVEL_BITS:
        msg = f"dedup goes against at most {(1 << _LEVEL_BITS) - 1} earlier datasets, got {num_levels}; merge some"
        raise UserError(msg)


def addresses(shard: int, rows: npt.NDArray[Any], level: int = 0) -> KeyArray:
    """The addresses of rows of one shard: uint64, as long as ``rows``."""
    return np.uint64(_first_address(shard, level)) | rows.astype(np.uint64)


def rows_of(at: KeyArray) -> npt.NDArray[np.int64]:
    """The row number in each address."""
    return (at & _ROW_MASK).astype(np.int64)


def shards_of(at: KeyArray) -> npt.NDArray[np.int64]:
    """The shard number in each address."""
    return (at >> np.uint64(_ROW_BITS) & _SHARD_MASK).astype(np.int64)


def levels_of(at: KeyArray) -> npt.NDArray[np.int64]:
    """The level in each address: 0 for the dataset being deduplicated."""
    return (at >> np.uint64(_ROW_BITS + _SHARD_BITS)).astype(np.int64)


def shard_range(sorted_addresses: npt.NDArray[np.uint64], shard: int, level: int = 0) -> slice:
    """Where the rows of one shard lie among sorted addresses."""
    first = _first_address(shard, level)
    bounds = np.array([first, first + int(_ROW_MASK)], np.uint64)
    start = np.searchsorted(sorted_addresses, bounds[0])
    return slice(int(start), int(np.searchsorted(sorted_addresses, bounds[1], side="right")))


def _first_address(shard: int, level: int) -> int:
    return (level << _SHARD_BITS | shard) << _ROW_BITS


def word_pairs(digests: bytes | memoryview) -> KeyArray:
    """16-byte values as uint64 (N, 2) that sort as the bytes do."""
    return np.frombuffer(digests, ">u8").reshape(-1, 2).astype(np.uint64)


def id_pairs(docs: pa.Table, asked_by: str) -> KeyArray:
    """The ids of N documents as numbers that sort as they do: uint64 (N, 2).

    Raises:
        UserError: they are not 16 bytes each, which those of a read step are; it names ``asked_by``.
    """
    column = docs["id"].combine_chunks()
    if column.type != ID_TYPE or column.null_count:
        found = f"{column.type} with {column.null_count} nulls"
        msg = f"{asked_by} needs 16-byte ids without nulls, got {found}; let a read step give them"
        raise UserError(msg)
    if len(column) == 0:
        return np.zeros((0, 2), np.uint64)
    buffers: list[Any] = column.buffers()
    return word_pairs(memoryview(buffers[1])[column.offset * 16 : (column.offset + len(column)) * 16])


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


def content_order(columns: Mapping[str, npt.NDArray[Any]], at: KeyArray, order: Order) -> npt.NDArray[np.intp]:
    """The permutation that puts rows in the order in which they survive; see ``order_keys``."""
    return np.lexsort(order_keys(columns, at, order)[::-1])


def order_keys(columns: Mapping[str, npt.NDArray[Any]], at: KeyArray, order: Order) -> list[KeyArray]:
    """The numbers by which rows survive, the one that decides first first; smaller survives. uint64 (N,) each.

    columns: ``order.columns`` of the rows, as in a sketch. at: their addresses, which decide between rows of equal id
    only. Levels and epochs are not looked at: who compares several puts the earlier ones first.
    """
    keys = [_source_rank(columns["source"], order.sources)] if order.sources else []
    keys += [_survival_key(one, columns[_read_by(one)]) for one in order.keep if one != "id"]
    return [*keys, columns["id"][:, 0], columns["id"][:, 1], at]


def _survival_key(preference: Preference, column: npt.NDArray[Any]) -> KeyArray:
    match preference:
        case "longest":
            return ~column
        case "newest":
            return np.where(column == _NO_DATE, _NO_DATE, _NO_DATE - column)
        case Highest():
            return _ascending(-column)
        case Lowest():
            return _ascending(column)
        case _:
            return column


def _ascending(values: npt.NDArray[np.float64]) -> KeyArray:
    """Numbers that sort as these do, minus infinity first and what is no number last."""
    bits = (values + 0.0).view(np.uint64)  # minus zero becomes zero
    keys = np.where(bits >> np.uint64(63), ~bits, bits | np.uint64(1 << 63))
    return np.where(np.isnan(values), ~np.uint64(0), keys)


def _source_rank(keys: npt.NDArray[np.uint64], named: Sequence[str]) -> KeyArray:
    rank = np.full(len(keys), len(named), np.uint64)
    for position, key in enumerate(source_keys(named)):
        rank[keys == key] = position
    return rank


def gather(sketches: Iterable[tuple[int, Columns]], at: KeyArray, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Columns of the rows at sorted addresses, read from the sketches of all shards: (number, sketch), ascending.

    Whoever iterates opens the sketches one after the other, so that a thousand shards need not be open at once.
    """
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in names}
    for shard, sketch in sketches:
        rows = rows_of(at[shard_range(at, shard)])
        for name in names:
            parts[name].append(sketch[name][rows])
    return {name: np.concatenate(part) for name, part in parts.items()}
