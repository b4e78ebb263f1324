"""Filters in a run: each measures the same rows, the first broken bound decides a row's fate."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.bisect import Failure, survive
from pipeline.bounds import broken, threshold
from pipeline.chain import BoolArray, Rejection, Rows, applies, quarantine
from pipeline.documents import text_bytes
from pipeline.dropped import Dropped, Verdicts
from pipeline.errors import UserError
from pipeline.ledger import Flow
from pipeline.operator import Bound, Filter
from pipeline.rejects import by_language, language_column, languages


def run_filters(
    filters: Sequence[Filter], rows: Rows, rejection: Rejection, at: Callable[[str], object] = lambda _: None
) -> None:
    """Measure every row with every filter of the run, then move aside what breaks a bound.

    at: gets each filter's name before it begins.
    """
    state = _FilterRun(rows.docs)
    for operator in filters:
        at(operator.name)
        state.take(operator)
    docs, sizes = state.docs, text_bytes(state.docs).to_numpy()
    names = by_language(docs)
    for flow, into, out in state.flows:
        flow.into, flow.out = names.count(sizes, into), names.count(sizes, out)
        rows.flows.append(flow)
    gone = np.flatnonzero(state.judged)
    if gone.size:
        verdicts = state.verdicts.take(gone)
        left = Dropped.of(docs, gone, verdicts, sizes[gone], rejection.keep_text, rejection.scrubbers)
        rows.dropped.append(left)
    for operator in filters:
        quarantine(rows, docs, operator, state.failed.get(operator.name, []), rejection)
    rows.docs = docs if state.alive.all() else docs.filter(pa.array(state.alive)).combine_chunks()


class _FilterRun:
    """Filters over the same rows: measures are appended to ``docs``, the first broken bound decides a row's fate."""

    def __init__(self, docs: pa.Table) -> None:
        self.docs = docs
        self.alive = np.ones(docs.num_rows, np.bool_)
        self.judged = np.zeros(docs.num_rows, np.bool_)
        self.verdicts = Verdicts.alike(docs.num_rows)
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

    def _judge(self, operator: Filter, values_of: Mapping[str, pa.Array], mask: BoolArray | None) -> None:
        candidates = self.alive if mask is None else self.alive & mask
        names = _languages(operator, self.docs)
        for bound in operator.bounds:
            values = values_of[bound.measure]
            outside = candidates & self.alive & broken(bound, values, names)
            gone = np.flatnonzero(outside)
            if gone.size:
                self._record(operator.name, bound, gone, values, names)
                self.alive &= ~outside

    def _record(
        self, operator: str, bound: Bound, gone: npt.NDArray[np.int64], values: pa.Array, names: pa.Array | None
    ) -> None:
        """Write down why these rows go: the bound, and each row's value."""
        rows = pa.array(gone, pa.int64())
        if pa.types.is_float64(values.type):  # a null becomes NaN
            measured = values.to_numpy(zero_copy_only=False)[gone].tolist()
        else:
            measured = values.take(rows).to_pylist()
        # NaN is the number that differs from itself.
        found = [None if value is None or value != value else str(value) for value in measured]  # noqa: PLR0124
        self.judged[gone] = True
        self.verdicts.operator[gone] = operator
        self.verdicts.value[gone] = np.array(found, np.object_)
        self.verdicts.reason[gone] = [bound.reason if text is not None else "undefined" for text in found]
        if names is None or not bound.by_language:
            self.verdicts.threshold[gone] = threshold(bound, None)
            return
        labels = names.take(rows).to_pylist()
        said = {label: threshold(bound, label) for label in set(labels)}
        self.verdicts.threshold[gone] = [said[label] for label in labels]


def set_column(docs: pa.Table, name: str, array: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Append a column, or replace the one of that name."""
    place = docs.schema.get_field_index(name)
    return docs.append_column(name, array) if place < 0 else docs.set_column(place, name, array)


def _languages(operator: Filter, docs: pa.Table) -> pa.Array | None:
    """The language of each row where a bound of the operator depends on it."""
    if not any(bound.by_language for bound in operator.bounds):
        return None
    if language_column(docs) is None:
        msg = (
            f"{operator.name} has limits by language, but the documents have no column that names it; put `language` "
            f"before it (they have: {', '.join(docs.column_names)})"
        )
        raise UserError(msg)
    return languages(docs)


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
        subset = (
            docs.filter(pa.array(mask)).combine_chunks() if cached is None else _with_new_columns(cached, docs, mask)
        )
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
