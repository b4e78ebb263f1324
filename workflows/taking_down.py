"""Commands that take documents out of a run: ``takedown``."""

# As in workflows.cli, each command imports what it runs when it runs.

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workflows.asking import RunFolder

taking_down = typer.Typer()


def _list_of(what: str) -> typer.models.OptionInfo:
    return typer.Option(metavar="FILE", help=f"{what}, one a line.", show_default=False, exists=True, dir_okay=False)


@taking_down.command()
def takedown(  # noqa: PLR0913  # the options of a command
    run: RunFolder,
    *,
    urls: Annotated[Path | None, _list_of("URLs of pages")] = None,
    domains: Annotated[Path | None, _list_of("Domains, each with everything below it")] = None,
    ids: Annotated[Path | None, _list_of("Ids of documents, 32 hex digits")] = None,
    with_duplicates: Annotated[
        bool, typer.Option("--with-duplicates", help="Also the documents that deduplication put together with them.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Find and tell; write nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Take pages out of everything that a run holds, keep them out of later runs, and prove that they are gone."""
    from workflows.commands.takedown import Asked, take_down

    take_down(run, Asked(urls, domains, ids, dry_run, yes, with_duplicates, as_json))
