"""Operators applied one after another to a table, with every row's fate recorded."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.bisect import survive
from pipeline.documents import one_chunk, text_bytes, with_text
from pipeline.dropped import Dropped, KeepText, Verdicts
from pipeline.errors import RunFailedError, UserError
from pipeline.language_labels import places
from pipeline.ledger import Flow
from pipeline.operator import Filter, Map, Operator
from pipeline.rejects import LANGUAGE_COLUMNS, by_language, quarantined_rows

BoolArray = npt.NDArray[np.bool_]


@dataclass
class Rows:
    """The rows still in the stream, and those that left it."""

    docs: pa.Table
    dropped: list[Dropped] = field(default_factory=list)
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
                f"measures it before, or have the read step take it from a field of the input, as in "
                f"columns: {{{key}: FIELD}} (they have: {', '.join(docs.column_names)})"
            )
            raise UserError(msg)
        values = docs[column].combine_chunks().cast(pa.string())
        if column in LANGUAGE_COLUMNS:
            mask &= places(values, names) >= 0
        else:
            mask &= pc.is_in(values, pa.array(names, pa.string())).to_numpy(zero_copy_only=False)
    return None if mask.all() else mask


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
    empty = pc.is_null(one_chunk(after["text"])).to_numpy(zero_copy_only=False) & ~failed
    if mask is not None:
        empty &= mask
    alive = ~failed & ~empty
    names = by_language(before)
    flow = Flow(operator.name, names.count(sizes), names.count(new_sizes, alive), time.process_time() - started)
    rows.flows.append(flow)
    if empty.any():
        gone = np.flatnonzero(empty)
        old_text = with_text(after, before["text"])
        verdicts = Verdicts.alike(len(gone), operator.name, "nothing_left")
        left = Dropped.of(old_text, gone, verdicts, sizes[gone], rejection.keep_text, rejection.scrubbers)
        rows.dropped.append(left)
    quarantine(rows, before, operator, [(int(chosen[f.row]), f.error) for f in failures], rejection)
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
        both = pa.chunked_array(
            [*column.chunks, *pa.chunked_array(other).chunks]
            if isinstance(other, pa.Array)
            else [*column.chunks, *other.chunks],
            type=column.type,
        )
        columns[name] = both.take(pa.array(index, pa.int64()))
    for name in before.column_names:
        columns.setdefault(name, before[name])
    return pa.Table.from_arrays(list(columns.values()), names=list(columns)).combine_chunks()


def quarantine(
    rows: Rows, docs: pa.Table, operator: Operator, failures: Sequence[tuple[int, str]], rejection: Rejection
) -> None:
    """Move rows an operator raised on aside, each with its error."""
    if not failures:
        return
    culprits = docs.take(pa.array([row for row, _ in failures], pa.int64()))
    sizes = text_bytes(culprits).to_numpy()
    errors = [error for _, error in failures]
    # A scrubber that raised on a text cannot be trusted with its excerpt.
    if isinstance(operator, Map) and operator.scrubs:
        blank = pa.nulls(culprits.num_rows, pa.large_string())
        culprits = with_text(culprits, blank)
    rows.quarantined.append(quarantined_rows(culprits, operator.name, errors, sizes, rejection.scrubbers))
