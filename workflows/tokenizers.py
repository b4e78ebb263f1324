"""Commands about tokenizers: ``tokenizer report``, ``tokenizer import``."""

# As in workflows.cli, each command imports what it runs when it runs.

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

tokenizers = typer.Typer(help="Judge tokenizers and bring in foreign ones.", no_args_is_help=True)


@tokenizers.command()
def report(  # noqa: PLR0913  # the options of a command
    tokenizer: Annotated[
        list[str],
        typer.Argument(
            metavar="TOKENIZER...",
            help="A tokenizer.json, a SentencePiece .model, or RUN:STEP of a train_tokenizer step.",
            show_default=False,
        ),
    ],
    *,
    texts: Annotated[
        list[Path] | None,
        typer.Option(help="JSON lines, Parquet or plain text; may be given several times.", show_default=False),
    ] = None,
    run: Annotated[str | None, typer.Option(help="A run whose documents are taken.", show_default=False)] = None,
    step: Annotated[str | None, typer.Option(help="The step of it that holds them.", show_default=False)] = None,
    limit_mb: Annotated[
        float, typer.Option(min=0, help="Megabytes of text, an equal share of every file or shard; 0: all.")
    ] = 32.0,
    html: Annotated[Path | None, typer.Option(help="Write one HTML page.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Judge tokenizers side by side on the same texts."""
    from workflows.commands.tokenizer_report import Asked, print_report

    asked = Asked(tuple(tokenizer), tuple(texts or ()), run, step, limit_mb or None)
    print_report(asked, html, as_json=as_json)


@tokenizers.command("import")
def import_model(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A SentencePiece .model, BPE or Unigram.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Where the tokenizer.json is written.")] = Path("tokenizer.json"),
) -> None:
    """Write a SentencePiece model as a tokenizer.json."""
    from workflows.commands.tokenizer_import import import_file

    import_file(model, out)
