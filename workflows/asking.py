"""Commands that ask what a run measured, and what there is to ask for: ``whatif``, ``sample``, ``operators``."""

# As in workflows.cli, each command imports what it runs when it runs.

from __future__ import annotations

from typing import Annotated

import typer

asking = typer.Typer()

RunFolder = Annotated[
    str, typer.Argument(metavar="RUN", help="Folder or URI that the run was written to.", show_default=False)
]


@asking.command()
def whatif(  # the options of a command
    run: RunFolder,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[STEP.OPERATOR.PARAM=VALUE]...", help="As for --set of run.", show_default=False),
    ] = None,
    *,
    samples: Annotated[int, typer.Option(min=0, help="Documents shown of those that go, and that return.")] = 3,
    histogram: Annotated[
        list[str] | None,
        typer.Option(metavar="STEP.OPERATOR.MEASURE", help="Draw the distribution; may be given several times."),
    ] = None,
    by_language: Annotated[bool, typer.Option("--by-language", help="A histogram for each language, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Tell which documents other thresholds would keep or drop, from what was measured; nothing is run."""
    from workflows.commands.whatif import Question, ask

    question = Question(tuple(settings or ()), samples, tuple(histogram or ()), by_language)
    ask(run, question, as_json_object=as_json)


@asking.command()
def sample(  # noqa: PLR0913  # the options of a command
    run: RunFolder,
    step: Annotated[str, typer.Argument(help="Step of the recipe.", show_default=False)],
    reason: Annotated[
        str | None,
        typer.Argument(
            metavar="[REASON]",
            help="With --dropped: operator:reason, or one of them; exact or near.",
            show_default=False,
        ),
    ] = None,
    *,
    dropped: Annotated[
        bool, typer.Option("--dropped", help="What the step dropped; without it, what it kept.")
    ] = False,
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="What raised an error or could not be read; REASON is an operator.")
    ] = False,
    number: Annotated[int, typer.Option("--n", "-n", min=1, help="Documents.")] = 10,
    language: Annotated[str | None, typer.Option(help="Only documents of this language.")] = None,
    whole: Annotated[bool, typer.Option("--text", help="Whole texts, where they are stored.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line, all columns, bytes as hex.")] = False,
) -> None:
    """Print a fixed random sample of what a step kept, dropped or quarantined."""
    from pipeline.errors import UserError
    from workflows.commands.sample import Asked, print_sample

    if dropped and quarantined:
        msg = "give --dropped or --quarantined, not both"
        raise UserError(msg)
    fate = "quarantined" if quarantined else "dropped" if dropped or reason is not None else "kept"
    asked = Asked(fate=fate, reason=reason, number=number, language=language)
    print_sample(run, step, asked, whole=whole, as_json=as_json)


@asking.command()
def operators(
    name: Annotated[
        str | None, typer.Argument(help="Operator, or import path package.module:Class.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the operators a recipe can name, or tell all about one."""
    from workflows.commands.operators import describe, list_all

    if name is None:
        list_all(as_json=as_json)
    else:
        describe(name, as_json=as_json)
