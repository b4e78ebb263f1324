"""What a run prints at its end: the funnel, why documents left, and what was learned."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.dataset import Run
from pipeline.padding import Padding
from pipeline.report.account import Account
from pipeline.report.funnel import FunnelRow, funnel
from pipeline.report.training import trainings
from pipeline.report.units import count, size

PLAIN_WIDTH = 160
"""Columns where the output is no terminal: enough that nothing is cut."""
_UNLIMITED = 1 << 16


def console() -> Console:
    """Standard output, as wide as the terminal, or wide enough where it is none."""
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)


def print_table(table: Table) -> None:
    """Print a table; where there is no terminal, as wide as it must be so that no cell is cut or folded."""
    screen = console()
    if not sys.stdout.isatty():
        whole = Console(width=_UNLIMITED)
        screen.width = max(PLAIN_WIDTH, whole.measure(table).maximum)
    screen.print(table)


def print_summary(run: Run) -> None:
    """Print the funnel and a line for each model."""
    account = Account.of(run)
    for step in account.steps:
        if step.dataset.kind == "source" and not step.ledger.into.docs:
            files = len(run.inputs[step.name].files)
            print(f"0 documents were read from {files:,} file{'' if files == 1 else 's'} by {step.name}")
    print_table(funnel_table(funnel(account)))
    for step in account.steps:
        if step.dataset.kind == "sequences":
            print(Padding.of(commit.facts for commit in step.dataset.commits.values()).summary(step.name))
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
            row.gone,
            size(row.into.bytes),
            size(row.out.bytes),
        ]
        if with_tokens:
            cells += [str(amount.tokens) if amount.tokens else "-" for amount in (row.into, row.out)]
        step = row.step
        table.add_row(*(Text(cell) for cell in (*cells, row.why)))
    return table
