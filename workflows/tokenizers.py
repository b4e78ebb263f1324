"""Commands about tokenizers: ``tokenizer report``, ``tokenizer import``."""

# As in workflows.cli, each command imports what it runs when it runs.

from __future__ import annotations

import typer

tokenizers = typer.Typer(help="Judge tokenizers and bring in foreign ones.", no_args_is_help=True)
