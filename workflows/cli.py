"""The command line: ``sluice run``, ``plan``, ``status``, ``logs``, ``stop``, ``submit``, ``cat``, ``why``, ``report``, ``verify``, ``doctor``."""

# ``whatif``, ``sample``, ``operators``, ``around``, ``export``, ``takedown`` and ``tokenizer`` stand in files of their own.

# The engine takes a second to import (numba, pyarrow); help and completion must not wait for it, so each command
# imports what it runs when it runs.

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from workflows.asking import RunFolder, asking
from workflows.evaluating import evaluating
from workflows.exporting import exporting
from workflows.generating import generating
from workflows.looking import looking
from workflows.planning import planning
from workflows.taking_down import taking_down
from workflows.tokenizers import tokenizers

_DEBUG = "--debug"


class Commands(TyperGroup):
    """Ends with one clear message and the exit code of the error; ``--debug``, anywhere, shows the traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take ``--debug`` out wherever it stands."""
        ctx.meta["debug"] = _DEBUG in args
        return super().parse_args(ctx, [arg for arg in args if arg != _DEBUG])

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except typer.Exit:
            raise
        except Exception as error:
            from pipeline.errors import RunFailedError, StoppedError, UserError

            if ctx.meta["debug"] or not isinstance(error, UserError | RunFailedError | StoppedError):
                raise
            label = "stopped" if isinstance(error, StoppedError) else "error"
            typer.echo(f"{label}: {error}", err=True)
            raise typer.Exit(error.exit_code) from error


app = typer.Typer(
    cls=Commands,
    name="sluice",
    help="From raw web crawl to token shards and a first checkpoint, every document accounted for.",
    epilog="Exit codes: 0 done, 1 the run failed, 2 your mistake (recipe, arguments, changed input), 75 stopped: run again to go on.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)


class Backend(StrEnum):
    """Who runs the shard tasks."""

    RAY = "ray"
    INLINE = "inline"


class Shown(StrEnum):
    """How progress is shown."""

    RICH = "rich"
    PLAIN = "plain"
    NONE = "none"


class Target(StrEnum):
    """Where a job can be submitted to."""

    RAY = "ray"


Recipe = Annotated[Path, typer.Argument(help="Recipe, a YAML file.", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="STEP.OPERATOR.PARAM=VALUE", help="Change a parameter; may be given several times."),
]
Out = Annotated[str | None, typer.Option(help="Folder or URI of the run.", show_default="runs/NAME")]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Only the first N shards of each source; a full run reuses them.")
]
JobAddress = Annotated[
    str | None,
    typer.Option(
        "--address", help="Dashboard of a Ray cluster, http://host:8265; RUN is then the id of a submitted job."
    ),
]


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option(_DEBUG, help="Show tracebacks.")] = False,
) -> None:
    del debug  # taken out by Commands.parse_args; stands here for the help


@app.command()
def run(  # noqa: PLR0913  # the options of a command
    recipe: Recipe,
    *,
    out: Out = None,
    overrides: Set = None,
    limit: Limit = None,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to use, such as auto; without it a Ray of its own is started.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes at once.", show_default="one a core")] = None,
    backend: Annotated[Backend, typer.Option(help="ray, or inline: this process alone, without Ray.")] = Backend.RAY,
    progress: Annotated[
        Shown | None, typer.Option(help="How progress is shown.", show_default="rich on a terminal")
    ] = None,
) -> None:
    """Run a recipe, or go on with it where it stopped."""
    from pipeline.session import Settings
    from workflows.commands.run import run_recipe

    shown = progress or (Shown.RICH if sys.stderr.isatty() else Shown.PLAIN)
    settings = Settings(backend=backend.value, address=address, workers=workers, limit=limit, progress=shown.value)
    run_recipe(recipe, out, overrides or [], settings)


@app.command()
def status(
    run: RunFolder,
    address: JobAddress = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show how far each step of a run is, and whether a driver is at work."""
    if address is not None:
        from workflows.commands.jobs import show_job

        show_job(run, address, as_json=as_json)
        return
    from workflows.commands.status import show_status

    show_status(run, as_json=as_json)


@app.command()
def cat(
    run: RunFolder,
    step: Annotated[str, typer.Argument(help="Step of the recipe.", show_default=False)],
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N.", show_default="all")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line, all columns, bytes as hex.")] = False,
) -> None:
    """Print what a step holds."""
    from workflows.commands.cat import print_step

    print_step(run, step, limit, as_json=as_json)


@app.command()
def why(
    run: RunFolder,
    document: Annotated[
        str,
        typer.Argument(
            metavar="DOCUMENT",
            help="Id (or at least 6 of its first digits), URL, the source's own id (record_id), or origin (file#offset).",
            show_default=False,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One object a document.")] = False,
) -> None:
    """Tell what became of a document, step by step, and where its tokens lie."""
    from workflows.commands.why import explain

    explain(run, document, as_json=as_json)


app.add_typer(asking)
app.add_typer(looking)
app.add_typer(evaluating)
app.add_typer(exporting)
app.add_typer(generating)
app.add_typer(planning)
app.add_typer(taking_down)
app.add_typer(tokenizers, name="tokenizer")


@app.command()
def report(run: RunFolder) -> None:
    """Write the report of a run, report.html, anew."""
    from workflows.commands.report import write

    write(run)


@app.command()
def logs(
    run: RunFolder,
    step: Annotated[str | None, typer.Option(help="Only events of this step.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the driver ends.")] = False,
    address: JobAddress = None,
) -> None:
    """Print the driver's log."""
    if address is not None:
        from workflows.commands.jobs import print_job_logs

        print_job_logs(run, address, follow=follow)
        return
    from workflows.commands.logs import print_logs

    print_logs(run, step, follow=follow)


@app.command()
def stop(
    run: RunFolder,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for the driver to end.")] = 120.0,
    address: JobAddress = None,
) -> None:
    """Stop a run; what has been committed stays, and the same command goes on from there."""
    if address is not None:
        from workflows.commands.jobs import stop_job

        stop_job(run, address, timeout)
        return
    from workflows.commands.stop import stop_run

    stop_run(run, timeout)


@app.command()
def submit(  # noqa: PLR0913  # the options of a command
    recipe: Recipe,
    *,
    to: Annotated[Target, typer.Option(help="Kind of cluster.")],
    address: Annotated[str, typer.Option(help="Dashboard of the Ray cluster, http://host:8265.")],
    out: Annotated[str, typer.Option(help="Folder that all nodes share, or URI of the run.")],
    overrides: Set = None,
    limit: Limit = None,
    working_dir: Annotated[
        Path,
        typer.Option(
            help="Folder sent along, with the recipe and what it names by relative paths.", show_default="here"
        ),
    ] = Path(),
    env: Annotated[
        list[str] | None, typer.Option(metavar="KEY[=VALUE]", help="Environment of the job; without a value, yours.")
    ] = None,
    driver_cpus: Annotated[
        float, typer.Option(min=0, help="CPUs the driver itself takes; 1 keeps it off a head that has none.")
    ] = 0,
    wait: Annotated[bool, typer.Option("--wait", help="Print the log and end as the job ends.")] = False,
) -> None:
    """Send a recipe to a cluster as a job. Submitting the same again finds the job that runs already."""
    from workflows.commands.submit import Submission, submit_recipe

    del to  # one kind so far
    submission = Submission(recipe, out, tuple(overrides or ()), limit, working_dir, tuple(env or ()), driver_cpus)
    submit_recipe(submission, address, wait=wait)


@app.command()
def verify(
    run: RunFolder,
    repair: Annotated[
        bool, typer.Option("--repair", help="Forget the shards of damaged files; the same run makes them anew.")
    ] = False,
) -> None:
    """Compare every file of a run with its commit, and tokens with what trainers rely on."""
    from workflows.commands.verify import verify as verify_files

    verify_files(run, repair=repair)


@app.command()
def doctor(
    recipe: Annotated[
        Path | None, typer.Argument(help="Recipe whose inputs are looked at, too.", show_default=False)
    ] = None,
    storage: Annotated[str | None, typer.Option(metavar="URI", help="Race writers against this store.")] = None,
) -> None:
    """Check this machine, the installation and, on demand, a store or a recipe."""
    from workflows.commands.doctor import examine

    examine(recipe, storage)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
