"""The command that looks ahead: ``plan``, of a recipe's steps or of a training run."""

# As in workflows.cli, each command imports what it runs when it runs.

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

planning = typer.Typer()


class Optimizer(StrEnum):
    """What the weights are updated by."""

    ADAMW = "adamw"
    MUON = "muon"


@planning.command()
def plan(  # noqa: PLR0913  # the options of a command
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE|RUN", help="Recipe; with --training a run with tokens.", show_default=False),
    ],
    out: Annotated[str | None, typer.Option(help="Folder or URI of the run.", show_default="runs/NAME")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="STEP.OPERATOR.PARAM=VALUE", help="As for run; may be given several times."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N shards of each source.")] = None,
    *,
    training: Annotated[
        bool, typer.Option("--training", help="Plan a training run on the tokens of RUN: scaling laws, memory, time.")
    ] = False,
    step: Annotated[str | None, typer.Option(help="Step that holds the tokens.", show_default="the last one")] = None,
    gpus: Annotated[int, typer.Option(min=1, help="How many.")] = 8,
    hours: Annotated[float, typer.Option(min=0.01, help="How long.")] = 24.0,
    gpu: Annotated[str, typer.Option(help="H100, H200, A100, RTX 4090, ...")] = "H100",
    gpu_memory: Annotated[
        float | None, typer.Option(min=1, metavar="GB", help="Of one GPU.", show_default="by its name")
    ] = None,
    mfu: Annotated[
        float | None,
        typer.Option(min=0.01, max=1, help="Model FLOP utilization you reach.", show_default="0.4"),
    ] = None,
    measured: Annotated[
        float | None,
        typer.Option(min=1, metavar="TOKENS_PER_S", help="Of one GPU, in place of --mfu; with --preset."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="With --measured: the preset it was measured with; alone: train this one.")
    ] = None,
    sequence_length: Annotated[int, typer.Option(min=1, help="Tokens of a sequence.")] = 2048,
    optimizer: Annotated[Optimizer, typer.Option(help="What the weights are updated by.")] = Optimizer.ADAMW,
    max_epochs: Annotated[float, typer.Option(min=0.01, help="How often the corpus may be read.")] = 4.0,
    price: Annotated[float | None, typer.Option(min=0, help="Of one GPU for one hour.")] = None,
    fit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN|FILE.jsonl",
            help="Fit the law to finished runs, or to lines with params, tokens, loss; may be given several times.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object (--training).")] = False,
) -> None:
    """Show the steps of a recipe, what is done already and what would run; or plan a training run. Nothing is written."""
    if not training:
        from pathlib import Path

        from workflows.commands.plan import show_plan

        show_plan(Path(recipe), out, overrides or [], limit)
        return
    from workflows.commands.plan_training import Asked, show_training_plan

    asked = Asked(
        run=recipe,
        step=step,
        gpus=gpus,
        hours=hours,
        gpu=gpu,
        gpu_memory=gpu_memory,
        mfu=mfu,
        measured=measured,
        preset=preset,
        sequence_length=sequence_length,
        optimizer=optimizer.value,
        max_epochs=max_epochs,
        price=price,
        fit=tuple(fit or ()),
    )
    show_training_plan(asked, as_json=as_json)
