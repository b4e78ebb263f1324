"""Files that parameters name: read as the bytes whose hash entered the fingerprint, or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import UserError
from pipeline.value import Artifact


class FileState(NamedTuple):
    """A file, and what tells whether it still holds the same: the key under which what was read is kept."""

    path: str
    sha256: str | None
    """None where nobody asked for certain bytes, as outside a workflow."""
    changed: str = ""
    """Size and time of change, where the sha256 is not known."""


def file_state(artifact: Artifact) -> FileState:
    """The file of an artifact.

    Raises:
        UserError: the file is not made yet.
    """
    if artifact.file is None:
        msg = f"the file of step {artifact.step!r} is not made yet; outside a workflow name a {{file: path}}"
        raise UserError(msg)
    if artifact.sha256 is not None:
        return FileState(artifact.file, artifact.sha256)
    try:
        stat = Path(artifact.file).stat()
    except OSError:  # reading it says what is wrong
        return FileState(artifact.file, None)
    return FileState(artifact.file, None, f"{stat.st_size} {stat.st_mtime_ns}")


def content(state: FileState) -> bytes:
    """The bytes of a file, which are those that its sha256 was taken of.

    Raises:
        UserError: they are not; the file was changed since the run was planned.
        OSError: the file cannot be read.
    """
    found = Path(state.path).read_bytes()
    if state.sha256 is not None:
        check_sha256(state, hashlib.sha256(found).hexdigest())
    return found


def check_sha256(state: FileState, found: str) -> None:
    """Compare the sha256 of what was read with the one that was planned with.

    Raises:
        UserError: they differ.
    """
    if state.sha256 is not None and found != state.sha256:
        msg = (
            f"the file {state.path} has sha256 {found}, but had {state.sha256} when this run was planned; put the file "
            "back as it was, or start the command again, which plans with the file as it is now"
        )
        raise UserError(msg)
