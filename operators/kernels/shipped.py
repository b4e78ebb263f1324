"""Tables that the package ships as files, each known by its hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pipeline.errors import RunFailedError


def shipped(path: Path, sha256: str) -> bytes:
    """Content of a shipped table; its hash stands in the caller's source, so that another table is another fingerprint.

    Raises:
        RunFailedError: the file is not the one of this version.
    """
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        msg = f"the table {path} has sha256 {found}, expected {sha256}; install the package again"
        raise RunFailedError(msg)
    return content
