"""What a run prints at its end: the funnel, why documents left, and what was learned."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.dataset import Run
from pipeline.report.account import Account
from pipeline.report.funnel import FunnelRow, funnel
from pipeline.report.training import trainings
from pipeline.report.units import count, share, size

PLAIN_WIDTH = 160
"""Columns where the output is no terminal: enough that nothing is cut."""
_TOP_REASONS = 3


def console() -> Console:
    """Standard output, as wide as the terminal, or wide enough where it is none."""
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)


def print_summary(run: Run) -> None:
    """Print the funnel and a line for each model."""
    account = Account.of(run)
    console().print(funnel_table(funnel(account)))
    for one in trainings(account):
        if one.summary:
            print(one.summary)


def funnel_table(rows: list[FunnelRow]) -> Table:
    """Documents, bytes and tokens into and out of every operator."""
    with_tokens = any(row.out.tokens for row in rows)
    table = Table(box=None, pad_edge=False)
    for title in ("step", "operator"):
        table.add_column(title, no_wrap=True)
    for title in ("docs in", "out", "gone", "bytes in", "out", *(("tokens in", "out") if with_tokens else ())):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("why")
    step = ""
    for row in rows:
        cells = [
            row.step if row.step != step else "",
            row.operator,
            count(row.into.docs),
            count(row.out.docs),
            share(row.into.docs - row.out.docs, row.into.docs),
            size(row.into.bytes),
            size(row.out.bytes),
        ]
        if with_tokens:
            cells += [str(amount.tokens) if amount.tokens else "-" for amount in (row.into, row.out)]
        step = row.step
        reasons = ", ".join(f"{name} {counted.docs:,}" for name, counted in row.reasons[:_TOP_REASONS])
        table.add_row(*(Text(cell) for cell in (*cells, reasons)))
    return table
