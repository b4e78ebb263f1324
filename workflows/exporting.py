"""Commands that hand a run's results to other programs: ``export``."""

# As in workflows.cli, each command imports what it runs when it runs.

from __future__ import annotations

import typer

exporting = typer.Typer()
