"""Commands that take documents out of a run: ``takedown``."""

# As in workflows.cli, each command imports what it runs when it runs.

from __future__ import annotations

import typer

taking_down = typer.Typer()
