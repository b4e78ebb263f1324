"""Operators applied one after another to a table, with every row's fate recorded."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bisect import Failure, survive
from pipeline.documents import text_bytes
from pipeline.errors import RunFailedError, UserError
from pipeline.ledger import Count, Flow
from pipeline.operator import Bound, Filter, Map, Operator
from pipeline.rejects import KeepText, Verdict, dropped_rows, languages, quarantined_rows

BoolArray = npt.NDArray[np.bool_]


@dataclass
class Rows:
    """The rows still in the stream, and the tables of those that left it."""

    docs: pa.Table
    dropped: list[pa.Table] = field(default_factory=list)
    quarantined: list[pa.Table] = field(default_factory=list)
    flows: list[Flow] = field(default_factory=list)


@dataclass(frozen=True)
class Rejection:
    """How rejected rows are written."""

    keep_text: KeepText
    scrubbers: tuple[Map, ...]


def stretches(operators: Sequence[Operator]) -> Iterator[Map | list[Filter]]:
    """Maps one by one, filters in runs: the filters of a run measure the same rows."""
    run: list[Filter] = []
    for operator in operators:
        match operator:
            case Filter():
                run.append(operator)
            case Map():
                if run:
                    yield run
                run = []
                yield operator
            case _:
                msg = f"{type(operator).__name__} is neither a Map nor a Filter; derive it from one of them"
                raise UserError(msg)
    if run:
        yield run


def applies(operator: Operator, docs: pa.Table) -> BoolArray | None:
    """Rows that the operator's ``only`` admits; None for all."""
    if not operator.only:
        return None
    mask = np.ones(docs.num_rows, np.bool_)
    for key, names in operator.only:
        column = next((name for name in (f"{key}.label", key) if name in docs.column_names), None)
        if column is None:
            msg = (
                f"{operator.name}: only names the column {key!r}, which the documents lack; put the operator that "
                f"measures it before (they have: {', '.join(docs.column_names)})"
            )
            raise UserError(msg)
        chosen = pc.is_in(docs[column].combine_chunks().cast(pa.string()), pa.array(names, pa.string()))
        mask &= chosen.to_numpy(zero_copy_only=False)
    return None if mask.all() else mask


def count_by_language(names: npt.NDArray[np.object_], sizes: npt.NDArray[np.int64], mask: BoolArray) -> dict[str, Count]:
    """Documents and bytes of the masked rows, by language."""
    counts: dict[str, Count] = {}
    for name in np.unique(names[mask]) if mask.any() else ():
        rows = mask & (names == name)
        counts[str(name)] = Count(int(rows.sum()), int(sizes[rows].sum()))
    return counts


def run_map(operator: Map, rows: Rows, rejection: Rejection) -> None:
    """Apply a map; rows it leaves without text are dropped, rows it raises on quarantined."""
    started = time.process_time()
    before = rows.docs
    mask = applies(operator, before)
    subset = before if mask is None else before.filter(pa.array(mask)).combine_chunks()
    parts, failures = survive(lambda docs: _mapped(operator, docs), subset)
    chosen = np.arange(before.num_rows) if mask is None else np.flatnonzero(mask)
    failed = np.zeros(before.num_rows, np.bool_)
    failed[chosen[[failure.row for failure in failures]]] = True
    after = _merge(before, [part for _, part in parts], np.setdiff1d(chosen, np.flatnonzero(failed)), operator)
    sizes, new_sizes = text_bytes(before).to_numpy(), text_bytes(after).to_numpy()
    empty = pc.is_null(after["text"].combine_chunks()).to_numpy(zero_copy_only=False) & ~failed
    if mask is not None:
        empty &= mask
    alive = ~failed & ~empty
    names = np.asarray(languages(before).to_pylist(), dtype=object)
    flow = Flow(operator.name, count_by_language(names, sizes, np.ones_like(alive)),
                count_by_language(names, new_sizes, alive), time.process_time() - started)
    rows.flows.append(flow)
    if empty.any():
        gone = np.flatnonzero(empty)
        position = after.column_names.index("text")
        old_text = after.take(gone).set_column(position, "text", before["text"].take(pa.array(gone, pa.int64())))
        verdicts = [Verdict(operator.name, "nothing_left")] * len(gone)
        rows.dropped.append(dropped_rows(old_text, verdicts, sizes[gone], rejection.keep_text, rejection.scrubbers))
    _quarantine(rows, before, operator, [(int(chosen[f.row]), f.error) for f in failures], rejection)
    rows.docs = after if alive.all() else after.filter(pa.array(alive)).combine_chunks()


def _mapped(operator: Map, docs: pa.Table) -> pa.Table:
    result = operator.map(docs)
    if result.num_rows != docs.num_rows or not result["id"].equals(docs["id"]):
        msg = f"{operator.name} returned {result.num_rows} rows for {docs.num_rows}, or other ids: a map keeps both"
        raise RunFailedError(msg)
    return result


def _merge(before: pa.Table, parts: Sequence[pa.Table], chosen: npt.NDArray[np.int64], operator: Map) -> pa.Table:
    """Rows of ``before``, those in ``chosen`` replaced by the mapped parts, in order."""
    mapped = pa.concat_tables(parts, promote_options="default") if parts else operator.map(before.slice(0, 0))
    if len(chosen) == before.num_rows:
        return mapped.combine_chunks()
    index = np.arange(before.num_rows) + mapped.num_rows
    index[chosen] = np.arange(len(chosen))
    columns: dict[str, pa.ChunkedArray] = {}
    for name in mapped.column_names:
        column = mapped[name]
        other = before[name] if name in before.column_names else pa.nulls(before.num_rows, column.type)
        both = pa.chunked_array([*column.chunks, *pa.chunked_array(other).chunks] if isinstance(other, pa.Array)
                                else [*column.chunks, *other.chunks], type=column.type)
        columns[name] = both.take(pa.array(index, pa.int64()))
    for name in before.column_names:
        columns.setdefault(name, before[name])
    return pa.Table.from_arrays(list(columns.values()), names=list(columns)).combine_chunks()


def run_filters(filters: Sequence[Filter], rows: Rows, rejection: Rejection) -> None:
    """Measure every row with every filter of the run, then move aside what breaks a bound."""
    state = _FilterRun(rows.docs)
    for operator in filters:
        state.take(operator)
    docs, sizes = state.docs, text_bytes(state.docs).to_numpy()
    names = np.asarray(languages(docs).to_pylist(), dtype=object)
    for flow, into, out in state.flows:
        flow.into, flow.out = count_by_language(names, sizes, into), count_by_language(names, sizes, out)
        rows.flows.append(flow)
    if state.fates:
        gone = np.array(sorted(state.fates), np.int64)
        verdicts = [state.fates[int(row)] for row in gone]
        rows.dropped.append(
            dropped_rows(docs.take(pa.array(gone, pa.int64())), verdicts, sizes[gone], rejection.keep_text, rejection.scrubbers)
        )
    for operator in filters:
        _quarantine(rows, docs, operator, state.failed.get(operator.name, []), rejection)
    rows.docs = docs if state.alive.all() else docs.filter(pa.array(state.alive)).combine_chunks()


class _FilterRun:
    """Filters over the same rows: measures are appended to ``docs``, the first broken bound decides a row's fate."""

    def __init__(self, docs: pa.Table) -> None:
        self.docs = docs
        self.alive = np.ones(docs.num_rows, np.bool_)
        self.fates: dict[int, Verdict] = {}
        self.failed: dict[str, list[tuple[int, str]]] = {}
        self.flows: list[tuple[Flow, BoolArray, BoolArray]] = []
        self._subsets: dict[bytes, pa.Table] = {}

    def take(self, operator: Filter) -> None:
        """Measure with one filter and judge the rows that are still alive."""
        started, into = time.process_time(), self.alive.copy()
        mask = applies(operator, self.docs)
        if operator.costly:
            mask = into if mask is None else mask & into
        values, failures = _measured(operator, self.docs, mask, self._subsets)
        for name, array in values.items():
            self.docs = set_column(self.docs, operator.column(name), array)
        if operator.only:
            applied = np.ones(self.docs.num_rows, np.bool_) if mask is None else mask
            self.docs = set_column(self.docs, operator.column("applied"), pa.array(applied))
        lost = [(failure.row, failure.error) for failure in failures if into[failure.row]]
        self.failed[operator.name] = lost
        self.alive[[row for row, _ in lost]] = False
        self._judge(operator, values, mask)
        flow = Flow(operator.name, seconds=time.process_time() - started)
        self.flows.append((flow, into, self.alive.copy()))

    def _judge(self, operator: Filter, values: Mapping[str, pa.Array], mask: BoolArray | None) -> None:
        candidates = self.alive if mask is None else self.alive & mask
        for bound in operator.bounds:
            broken = candidates & self.alive & _broken(bound, values[bound.measure])
            for row in np.flatnonzero(broken):
                self.fates[int(row)] = _verdict(operator, bound, values[bound.measure][int(row)])
            self.alive &= ~broken


def set_column(docs: pa.Table, name: str, array: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Append a column, or replace the one of that name."""
    if name in docs.column_names:
        return docs.set_column(docs.column_names.index(name), name, array)
    return docs.append_column(name, array)


def _measured(
    operator: Filter, docs: pa.Table, mask: BoolArray | None, subsets: dict[bytes, pa.Table]
) -> tuple[Mapping[str, pa.Array], list[Failure]]:
    """Measures as long as ``docs``; null for rows outside the mask and for rows that failed."""
    if mask is None:
        subset, chosen = docs, np.arange(docs.num_rows)
    else:
        # Filters with the same `only` share one subset, and so one segmentation of its texts.
        key = mask.tobytes()
        cached = subsets.get(key)
        subset = docs.filter(pa.array(mask)).combine_chunks() if cached is None else _with_new_columns(cached, docs, mask)
        subsets[key] = subset
        chosen = np.flatnonzero(mask)
    parts, failures = survive(operator.measure, subset)
    failures = [Failure(int(chosen[failure.row]), failure.error) for failure in failures]
    if len(parts) == 1 and not failures and mask is None:
        return parts[0][1], failures
    template = parts[0][1] if parts else operator.measure(docs.slice(0, 0))
    good = np.setdiff1d(chosen, [failure.row for failure in failures])
    back = np.full(docs.num_rows, -1, np.int64)
    back[good] = np.arange(len(good))
    index = pa.array(back, pa.int64(), mask=back < 0)
    scattered = {}
    for name, first in template.items():
        whole = pa.chunked_array([part[name] for _, part in parts], type=first.type).combine_chunks()
        scattered[name] = whole.take(index)
    return scattered, failures


def _with_new_columns(subset: pa.Table, docs: pa.Table, mask: BoolArray) -> pa.Table:
    for name in docs.column_names:
        if name not in subset.column_names:
            subset = subset.append_column(name, docs[name].filter(pa.array(mask)).combine_chunks())
    return subset


def _broken(bound: Bound, values: pa.Array) -> BoolArray:
    """Rows outside the bound; a null is outside every bound."""
    if bound.among is not None:
        inside = pc.is_in(values.cast(pa.string()), pa.array(bound.among, pa.string()))
    else:
        inside = pa.array(np.ones(len(values), np.bool_))
        low, high = (pc.greater, pc.less) if bound.exclusive else (pc.greater_equal, pc.less_equal)
        if bound.min is not None:
            inside = pc.and_(inside, low(values, bound.min))
        if bound.max is not None:
            inside = pc.and_(inside, high(values, bound.max))
    known = pc.and_(pc.fill_null(inside, False), pc.is_valid(values))
    if pa.types.is_floating(values.type):
        known = pc.and_(known, pc.fill_null(pc.invert(pc.is_nan(values)), False))
    return ~known.to_numpy(zero_copy_only=False)


def _verdict(operator: Filter, bound: Bound, value: pa.Scalar) -> Verdict:
    number = value.as_py()
    undefined = number is None or number != number  # noqa: PLR0124  # NaN is the number that differs from itself
    parts = [f"> {bound.min}" if bound.exclusive else f">= {bound.min}"] if bound.min is not None else []
    if bound.max is not None:
        parts.append(f"< {bound.max}" if bound.exclusive else f"<= {bound.max}")
    if bound.among is not None:
        parts.append(f"in {', '.join(bound.among)}")
    threshold = f"{bound.measure} {' and '.join(parts)}"
    return Verdict(operator.name, "undefined" if undefined else bound.reason,
                   None if undefined else str(number), threshold)


def _quarantine(
    rows: Rows, docs: pa.Table, operator: Operator, failures: Sequence[tuple[int, str]], rejection: Rejection
) -> None:
    if not failures:
        return
    culprits = docs.take(pa.array([row for row, _ in failures], pa.int64()))
    sizes = text_bytes(culprits).to_numpy()
    errors = [error for _, error in failures]
    # A scrubber that raised on a text cannot be trusted with its excerpt.
    if isinstance(operator, Map) and operator.scrubs:
        blank = pa.nulls(culprits.num_rows, pa.large_string())
        culprits = culprits.set_column(culprits.column_names.index("text"), "text", blank)
    rows.quarantined.append(quarantined_rows(culprits, operator.name, errors, sizes, rejection.scrubbers))
