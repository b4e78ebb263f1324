"""``sluice plan``: the graph of a recipe, what is there already, what would run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from pipeline.graph import Graph
from pipeline.preview import NodePlan, preview
from pipeline.report.units import count, size
from pipeline.session import freeze_inputs
from pipeline.storage import Storage
from pipeline.workflow import default_out
from workflows.commands.summary import print_table
from workflows.recipe import load


def show_plan(recipe: Path, out: str | None, overrides: Sequence[str], limit: int | None) -> None:
    """Print the plan. Takes no lease and writes nothing.

    Raises:
        UserError: the recipe or an input is wrong.
    """
    workflow = load(recipe, overrides)
    folder = out or str(default_out(workflow))
    storage = Storage(folder)
    graph = Graph(workflow.nodes(), freeze_inputs(workflow, storage), limit)
    plans = preview(workflow, graph, storage)
    print_table(plan_table(plans))
    there = sum(plan.num_committed for plan in plans)
    to_run = sum(plan.to_run or 0 for plan in plans)
    unknown = [plan.name for plan in plans if plan.to_run is None]
    later = f", and those of {', '.join(unknown)}, whose number depends on steps before" if unknown else ""
    print(f"{folder}: {there:,} shards are done, {to_run:,} would run{later}")


def plan_table(plans: Sequence[NodePlan]) -> Table:
    """A row a node, after its inputs; inner nodes of a step are indented."""
    table = Table(box=None, pad_edge=False)
    for title in ("step", "from", "verb", "dataset"):
        table.add_column(title, no_wrap=True)
    for title in ("shards", "done", "to run", "input"):
        table.add_column(title, justify="right", no_wrap=True)
    for plan in plans:
        dataset = plan.dataset or f"after {', '.join(plan.after)}"
        cells = (
            f"{'  ' if plan.inner else ''}{plan.name}",
            ", ".join(dict.fromkeys(plan.inputs.values())),
            plan.verb,
            dataset,
            count(plan.num_shards),
            count(plan.num_committed),
            count(plan.to_run),
            size(plan.input_bytes),
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table
