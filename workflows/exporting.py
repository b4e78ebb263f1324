"""Commands that hand a run's results to other programs: ``export``."""

# As in workflows.cli, each command imports what it runs when it runs.

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from workflows.asking import RunFolder

exporting = typer.Typer()


class To(StrEnum):
    """Programs that a step can be exported to."""

    MEGATRON = "megatron"
    OLMO = "olmo"
    NANOGPT = "nanogpt"
    DATATROVE = "datatrove"
    LITGPT = "litgpt"
    LLMC = "llmc"
    TITAN = "titan"
    PARQUET = "parquet"
    JSONL = "jsonl"
    HUGGINGFACE = "huggingface"


class Links(StrEnum):
    """What stands in an export where its bytes are the run's own."""

    HARD = "hard"
    SOFT = "soft"
    NONE = "none"


@exporting.command()
def export(  # noqa: PLR0913  # the options of a command
    run: RunFolder,
    step: Annotated[
        str, typer.Argument(help="Step of the recipe: token shards, documents or a model.", show_default=False)
    ],
    *,
    to: Annotated[
        To,
        typer.Option(
            help="Who is to read it; documents go to parquet or jsonl, models to huggingface.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to make.", show_default=False)],
    split: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SHARE", help="Hold out a share of the documents; may be given several times."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed holds out other documents.")] = 0,
    links: Annotated[
        Links, typer.Option(help="For bytes that are the run's: hard or soft links, or copies.")
    ] = Links.HARD,
    compress: Annotated[bool, typer.Option("--compress", help="JSON lines as .jsonl.zst.")] = False,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Of a model: this one.", show_default="the one that the model's tokens were made with"),
    ] = None,
) -> None:
    """Lay out what a step holds as a trainer, or another program, reads it."""
    from workflows.commands.export import Asked, export_step

    export_step(run, step, out, Asked(to.value, tuple(split or ()), seed, links.value, compress, tokenizer))
