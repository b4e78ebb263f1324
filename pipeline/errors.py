"""The three ways a command ends badly, each with its exit code."""


class UserError(Exception):
    """The caller's mistake: a recipe, an argument, an input that changed. The message says cause, value and remedy."""

    exit_code = 2


class RunFailedError(Exception):
    """The run itself failed: a broken expectation, a ledger that does not balance, a shard that failed every attempt."""

    exit_code = 1


class StoppedError(Exception):
    """The run was told to stop; the same command goes on where it stopped."""

    exit_code = 75
