"""The command that says what a trained model is worth: ``evaluate``."""

# As in workflows.cli, each command imports what it runs when it runs.

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workflows.generating import Device, Model, Tokenizer

evaluating = typer.Typer()


@evaluating.command()
def evaluate(  # noqa: PLR0913  # the options of a command
    model: Model,
    *,
    run: Annotated[
        str | None,
        typer.Option(help="Run whose step is scored.", show_default="that of the model, if it comes from one"),
    ] = None,
    step: Annotated[
        str | None, typer.Option(help="Step of it, of tokens or documents; all it holds, trained on or not.")
    ] = None,
    texts: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Texts to score: .jsonl, .parquet, .txt; may be repeated.", show_default=False
        ),
    ] = None,
    choices: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="JSON lines of prompt, choices, answer; may be repeated.", show_default=False
        ),
    ] = None,
    continuations: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="JSON lines of prompt and answer or references; may be repeated.", show_default=False
        ),
    ] = None,
    length: Annotated[
        int | None, typer.Option(min=1, help="Tokens of a window.", show_default="the model's positions")
    ] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, help="Tokens between windows.", show_default="half of a window")
    ] = None,
    max_documents: Annotated[int, typer.Option(min=1, help="Most documents of each source of texts.")] = 2000,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Most tokens written after a prompt.", show_default="64, or half of the positions"),
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="Ends what is written before this text; may be repeated.")
    ] = None,
    tokenizer: Tokenizer = None,
    device: Annotated[Device, typer.Option(help="What the model runs on.")] = Device.CPU,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Score a trained model: bits per byte of texts, multiple choice, continuations.

    Without any of them, on the documents that were held out from its training.
    """
    from workflows.commands.evaluate import Asked, print_evaluation

    asked = Asked(
        model=model,
        run=run,
        step=step,
        texts=tuple(texts or ()),
        choices=tuple(choices or ()),
        continuations=tuple(continuations or ()),
        length=length,
        stride=stride,
        max_documents=max_documents,
        max_new_tokens=max_new_tokens,
        stop=tuple(stop or ()),
        tokenizer=tokenizer,
        device=device.value,
    )
    print_evaluation(asked, as_json=as_json)
