"""Whether a file is still the one that was looked at, so that it is checked once and not at every opening."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import DamagedFileError
from pipeline.fingerprint import file_sha256

REMEDY = "run again: it is made anew"
"""What to do about a damaged file of a run, the end of every message about one."""

REMEMBERED = 1 << 16
"""Files that a process remembers to have found right."""


class FileState(NamedTuple):
    """What changes with a file's content, unless a disk fails silently."""

    inode: int
    num_bytes: int
    mtime_ns: int


def file_state(path: Path) -> FileState:
    """The state of a file now.

    Raises:
        FileNotFoundError: there is none.
    """
    found = path.stat()
    return FileState(found.st_ino, found.st_size, found.st_mtime_ns)


def check_sha256(path: Path, expected: str) -> None:
    """Read a file and compare its sha256, once per process and state of the file.

    Raises:
        DamagedFileError: it has another one, or is missing.
    """
    try:
        _check(path, file_state(path), expected)
    except FileNotFoundError as error:
        msg = f"{path} is missing; {REMEDY}"
        raise DamagedFileError(path, msg) from error


@lru_cache(maxsize=REMEMBERED)
def _check(path: Path, state: FileState, expected: str) -> None:
    """What was found right stays in the cache; what raises does not."""
    del state
    found = file_sha256(path)
    if found != expected:
        msg = f"{path} has sha256 {found}, its commit says {expected}; {REMEDY}"
        raise DamagedFileError(path, msg)
