"""``apply``: operators over a table of documents, without Ray, with an account of every row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.chain import Rejection, Rows, run_map, stretches
from pipeline.documents import as_documents, text_bytes
from pipeline.dropped import KeepText, dropped_rows
from pipeline.errors import UserError
from pipeline.filter_run import run_filters
from pipeline.groups import Named
from pipeline.ledger import Count, Ledger, merge_counts
from pipeline.operator import Map, Operator
from pipeline.rejects import by_language, by_source, quarantine_schema


@dataclass(frozen=True)
class Outcome:
    """What became of a table: kept, dropped and quarantined rows, and the account of them."""

    kept: pa.Table
    dropped: pa.Table
    quarantined: pa.Table
    ledger: Ledger


@dataclass(frozen=True)
class Chain:
    """Operators in order, and how rejected rows are written.

    scrubbers: maps that also run over the texts of rejected rows (those of the chain are always among them).
    """

    operators: tuple[Operator, ...]
    keep_dropped_text: KeepText = "sample"
    scrubbers: tuple[Map, ...] = ()

    def __post_init__(self) -> None:
        names = [operator.name for operator in self.operators]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            msg = f"operators named {', '.join(twice)} stand twice in one step; give one of them `as: other_name`"
            raise UserError(msg)

    def run(self, docs: pa.Table, at: Callable[[str], object] = lambda _: None) -> Outcome:
        """Apply all operators to one table; each operator's name goes to ``at`` before it begins.

        Raises:
            UserError: a column named in ``only`` is missing.
            RunFailedError: an operator changed rows or ids, or the ledger does not balance.
        """
        own = tuple(op for op in self.operators if isinstance(op, Map) and op.scrubs)
        extra = tuple(op for op in self.scrubbers if op not in own)
        rejection = Rejection(self.keep_dropped_text, own + extra)
        docs = as_documents(docs)
        rows = Rows(docs)
        for stretch in stretches(self.operators):
            if isinstance(stretch, Map):
                at(stretch.name)
                run_map(stretch, rows, rejection)
            else:
                run_filters(stretch, rows, rejection, at)
        schema = rows.docs.schema
        dropped = dropped_rows(rows.dropped, schema)
        quarantined = pa.concat_tables([quarantine_schema(schema).empty_table(), *rows.quarantined])
        ledger = _account(docs, rows, dropped, quarantined)
        ledger.check(" -> ".join(operator.name for operator in self.operators))
        return Outcome(rows.docs, dropped, quarantined, ledger)


def apply(
    operators: Operator | Sequence[Operator], docs: pa.Table, *, keep_dropped_text: KeepText = "sample"
) -> Outcome:
    """Apply operators to documents.

    docs: a table with at least ``id`` (any string or binary) and ``text``; further columns ride along.

    Raises:
        ValueError: ``id`` or ``text`` is missing or of another type.
        UserError: an operator cannot work on these columns.
    """
    chosen: tuple[Operator, ...] = (operators,) if isinstance(operators, Operator) else tuple(operators)
    for operator in chosen:
        _prepare(operator)
    return Chain(chosen, keep_dropped_text).run(docs)


def _prepare(operator: Operator) -> None:
    """Once for each operator: what is loaded stays, and its call over a text of its own takes as long as 20 real documents."""
    if _PREPARED.get(id(operator)) is not operator:
        operator.prepare()
        _PREPARED[id(operator)] = operator


_PREPARED: WeakValueDictionary[int, Operator] = WeakValueDictionary()
"""By identity: equal operators may have prepared something of their own, and a user's may hold what cannot be hashed."""


def _account(docs: pa.Table, rows: Rows, dropped: pa.Table, quarantined: pa.Table) -> Ledger:
    ledger = Ledger(flows=rows.flows)
    ledger.into = Count(docs.num_rows, int(text_bytes(docs).to_numpy().sum()))
    kept_sizes = text_bytes(rows.docs).to_numpy()
    ledger.kept = Count(rows.docs.num_rows, int(kept_sizes.sum()))
    dropped_sizes, quarantined_sizes = (table["bytes"].to_numpy() for table in (dropped, quarantined))
    reasons = Named.of(dropped["operator"]).and_(Named.of(dropped["reason"]), ":")
    ledger.dropped = reasons.count(dropped_sizes)
    ledger.quarantined = Named.of(quarantined["operator"]).count(quarantined_sizes)
    ledger.group_kept = _groups(rows.docs, kept_sizes)
    merge_counts(ledger.group_into, ledger.group_kept)
    merge_counts(ledger.group_into, _groups(dropped, dropped_sizes))
    merge_counts(ledger.group_into, _groups(quarantined, quarantined_sizes))
    return ledger


def _groups(table: pa.Table, sizes: npt.NDArray[np.int64]) -> dict[str, Count]:
    """Counts by ``source|language``."""
    return by_source(table).and_(by_language(table), "|").count(sizes) if table.num_rows else {}
