"""The three ways a command ends badly, each with its exit code."""

from __future__ import annotations

from pathlib import Path


class UserError(Exception):
    """The caller's mistake: a recipe, an argument, an input that changed. The message says cause, value and remedy."""

    exit_code = 2


class RunFailedError(Exception):
    """The run itself failed: a broken expectation, a ledger that does not balance, a shard that failed every attempt."""

    exit_code = 1


class DamagedFileError(RunFailedError):
    """A file that a shard committed is missing, cut off or not what its checksum says; the driver makes it anew."""

    def __init__(self, path: Path | str, message: str) -> None:
        super().__init__(message)
        self.path = str(path)

    def __reduce__(self) -> tuple[type[DamagedFileError], tuple[str, str]]:
        """As it was raised in a worker."""
        return type(self), (self.path, str(self))


class StoppedError(Exception):
    """The run was told to stop; the same command goes on where it stopped."""

    exit_code = 75
