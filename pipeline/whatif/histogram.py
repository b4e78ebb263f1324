"""The distribution of a measure in a step: kept and dropped rows apart, and what other bounds would change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dataset import Dataset
from pipeline.errors import UserError
from pipeline.language_labels import place_of
from pipeline.operator import Bound
from pipeline.rejects import LANGUAGE_COLUMNS, languages
from pipeline.report.reading import chosen, files
from pipeline.whatif.bins import Bins, Edge, choose
from pipeline.whatif.rejudge import KEPT, StepJudge
from pipeline.whatif.stored_rows import RowFile

PARTS = ("kept", "return", "go", "undecided", "dropped")
"""What becomes of a row: it stays, comes back, goes, nobody knows, or it is dropped either way."""

_STAYS, _RETURNS, _GOES, _OPEN, _DROPPED = range(len(PARTS))

_MOST_EDGES = 8

Counts = npt.NDArray[np.int64]


@dataclass
class Distribution:
    """Rows of one language, or of all, by value. bins: counts (parts, bins); values: counts (parts,) of each text.

    undefined: rows whose measure has no value. unmeasured: rows that were dropped before, or are none of the operator's.
    """

    bins: Counts
    values: dict[str, Counts] = field(default_factory=dict)
    undefined: Counts = field(default_factory=lambda: np.zeros(len(PARTS), np.int64))
    unmeasured: int = 0

    def merge(self, other: Distribution) -> None:
        """Add other rows."""
        self.bins = self.bins + other.bins
        self.undefined = self.undefined + other.undefined
        self.unmeasured += other.unmeasured
        for value, counts in other.values.items():
            self.values[value] = self.values.get(value, 0) + counts

    @property
    def num_rows(self) -> int:
        """Rows with a value."""
        return int(self.bins.sum()) + sum(int(counts.sum()) for counts in self.values.values())


@dataclass(frozen=True)
class Measured:
    """A measure of a step: ``column`` holds it. bins: None where it is a text."""

    column: str
    bins: Bins | None
    by_language: Mapping[str | None, Distribution]
    """None: every row."""


def distribution(
    dataset: Dataset, judge: StepJudge, column: str, *, by_language: bool = False, threads: int = 2
) -> Measured:
    """Read one measure of every committed row of a step.

    Raises:
        UserError: no such measure is stored.
    """
    kind = _type(dataset, column)
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    scan = _Scan(dataset, judge, column, by_language=by_language)
    bins = None
    if number:
        some = np.concatenate([np.zeros(0), *scan.some_values()])
        bins = choose(some, scan.edges(), whole=pa.types.is_integer(kind))
    found: dict[str | None, Distribution] = {None: scan.nothing(bins)}
    with ThreadPoolExecutor(threads) as pool:
        for one in pool.map(lambda shard: scan.shard(shard, bins), sorted(dataset.commits)):
            for language, rows in one.items():
                found.setdefault(language, scan.nothing(bins)).merge(rows)
    return Measured(column, bins, found)


def limits(bound: Bound, language: str | None) -> tuple[float | None, float | None]:
    """Smallest and largest value that a bound lets pass in a language (None: one without limits of its own)."""
    place = -1 if language is None else place_of(language, tuple(label for label, _, _ in bound.by_language))
    return (bound.min, bound.max) if place < 0 else bound.by_language[place][1:]


def limit_edges(bound: Bound, language: str | None) -> list[Edge]:
    """Where the limits of a bound cut the values."""
    low, high = limits(bound, language)
    found = [] if low is None else [Edge(float(low), after=bound.exclusive)]
    return found + ([] if high is None else [Edge(float(high), after=not bound.exclusive)])


def _type(dataset: Dataset, column: str) -> pa.DataType:
    for folder in ("shards", "dropped"):
        for _, file in files(dataset, folder, ".parquet"):
            with RowFile(dataset.run.storage, file.name) as opened:
                if column in opened.names:
                    return opened.schema.field(column).type
    msg = f"{dataset.name} has stored no measure {column}"
    raise UserError(msg)


class _Scan:
    """Reads the rows of a step's shards for one measure."""

    def __init__(self, dataset: Dataset, judge: StepJudge, column: str, *, by_language: bool) -> None:
        self._dataset, self._judge, self._column = dataset, judge, column
        self._by_language = by_language
        self._columns = {column, *((*LANGUAGE_COLUMNS,) if by_language else ()), f"{column.rpartition('.')[0]}.applied"}
        self._measured_at = judge.names_from(column.rpartition(".")[0])

    def edges(self) -> set[Edge]:
        """Every threshold on the measure, as it was and as it would be; those of languages where they are few."""
        bounds = [r.bound for r in (*self._judge.rules_was, *self._judge.rules) if r.column == self._column]
        found = {edge for bound in bounds for edge in limit_edges(bound, None)}
        own = {edge for bound in bounds for label, _, _ in bound.by_language for edge in limit_edges(bound, label)}
        return found | own if len(found | own) <= _MOST_EDGES else found

    def some_values(self) -> Iterator[npt.NDArray[np.float64]]:
        """Values of the first rows of some shards, to choose bins by."""
        for folder in ("shards", "dropped"):
            for _, file in files(self._dataset, folder, ".parquet", chosen(self._dataset)):
                with RowFile(self._dataset.run.storage, file.name) as opened:
                    for part, _ in opened.groups():
                        values = part.read([self._column])[self._column].drop_null().to_numpy().astype(np.float64)
                        yield values[np.isfinite(values)]
                        break

    def nothing(self, bins: Bins | None) -> Distribution:
        """No rows yet."""
        return Distribution(np.zeros((len(PARTS), len(bins.edges) if bins else 0), np.int64))

    def shard(self, shard: int, bins: Bins | None) -> dict[str | None, Distribution]:
        """The rows of one shard."""
        found: dict[str | None, Distribution] = {None: self.nothing(bins)}
        for folder in ("shards", "dropped"):
            for table, part in self._tables(shard, folder):
                self._add(found[None], table, part, bins)
                if self._by_language:
                    names = table["language"] if folder == "dropped" else languages(table)
                    for name in pc.unique(names).to_pylist():
                        mask = pc.equal(names, name)
                        some = found.setdefault(name, self.nothing(bins))
                        self._add(some, table.filter(mask), part[mask.to_numpy(zero_copy_only=False)], bins)
        return found

    def _tables(self, shard: int, folder: str) -> Iterator[tuple[pa.Table, npt.NDArray[np.int64]]]:
        """Tables of the measure, with the number of the part each row belongs to."""
        kept, judge = folder == "shards", self._judge
        columns = {*self._columns, *(judge.kept_columns if kept else {*judge.dropped_columns, "operator", "language"})}
        for _, file in files(self._dataset, folder, ".parquet", [shard]):
            with RowFile(self._dataset.run.storage, file.name) as opened:
                for rows in opened.parts():
                    table = rows.read(columns)
                    then = (judge.kept(table) if kept else judge.dropped(table)).then
                    if kept:
                        yield table, np.where(then == KEPT, _STAYS, _GOES)
                    else:
                        open_ = np.array([fate.outcome == "undecided" for fate in judge.fates])[then]
                        yield table, np.where(then == KEPT, _RETURNS, np.where(open_, _OPEN, _DROPPED))

    def _add(
        self, into: Distribution, table: pa.Table, part: npt.NDArray[np.int64], bins: Bins | None
    ) -> None:  # fmt: skip
        column = table[self._column].combine_chunks()
        null = pc.is_null(column, nan_is_null=True).to_numpy(zero_copy_only=False)
        measured = self._measured(table)
        into.undefined = into.undefined + np.bincount(part[null & measured], minlength=len(PARTS))
        into.unmeasured += int((null & ~measured).sum())
        there = pa.array(~null)
        for number in np.unique(part[~null]).tolist():
            chosen_rows = column.filter(there).filter(pa.array(part[~null] == number))
            if bins is not None:
                into.bins[number] += bins.count(chosen_rows.to_numpy(zero_copy_only=False).astype(np.float64))
                continue
            for pair in pc.value_counts(chosen_rows.cast(pa.string())).to_pylist():
                counts = into.values.setdefault(pair["values"], np.zeros(len(PARTS), np.int64))
                counts[number] += pair["counts"]

    def _measured(self, table: pa.Table) -> npt.NDArray[np.bool_]:
        """Rows that came to the operator and are its."""
        mask = np.ones(table.num_rows, np.bool_)
        if "operator" in table.column_names:
            mask &= pc.is_in(table["operator"], value_set=pa.array(self._measured_at, pa.string())).to_numpy()
        applied = f"{self._column.rpartition('.')[0]}.applied"
        if applied in table.column_names:
            mask &= pc.fill_null(table[applied], False).to_numpy()
        return mask
