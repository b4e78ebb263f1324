"""The folder of an export: made beside its place, and there all at once."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.errors import UserError
from pipeline.fingerprint import file_sha256
from pipeline.synced import sync

EXPORT_FILE = "sluice_export.json"
_LINKED_ELSEWHERE = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP)  # another disk, or one without such links


@dataclass(frozen=True)
class Exported:
    """One file of an export. how: linked (the run's own bytes), symlinked or copied (likewise), or written."""

    path: str
    bytes: int
    sha256: str
    how: str


class ExportFolder:
    """Collects files in ``.<name>.partial`` beside ``out``; ``publish`` gives them their place at once. Context manager.

    Two exports to one place exclude each other by a lock that dies with its process; what a killed one left is cleared
    by the next.

    links: hard, soft (also within one disk) or none, of files whose bytes are those of the run.

    Raises (on entering):
        UserError: the place holds something already, or another export is at work on it.
    """

    def __init__(self, out: Path, *, links: str = "hard") -> None:
        self.out = out
        self.files: list[Exported] = []
        self._links = links
        self._partial = out.parent / f".{out.name}.partial"
        self._handle: int | None = None

    def __enter__(self) -> Self:
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            msg = f"{self.out} is not empty; remove it, or give another --out"
            raise UserError(msg)
        self._partial.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(self._partial, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._handle)
            msg = f"another export is writing {self.out}; wait for it, or give another --out"
            raise UserError(msg) from error
        for left in self._partial.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)  # gone already where it was published
        if self._handle is not None:
            os.close(self._handle)

    def path(self, name: str) -> Path:
        """Where a file of the export is being made."""
        path = self._partial / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def link(self, source: Path, sha256: str, name: str) -> None:
        """A file of the run under a name of the export."""
        target = self.path(name)
        how = "copied"
        if self._links == "hard":
            how = _hard_link(source, target)
        elif self._links == "soft":
            target.symlink_to(source.absolute())
            how = "symlinked"
        if how == "copied":
            shutil.copyfile(source, target)
            sync(target)
        self.files.append(Exported(name, source.stat().st_size, sha256, how))

    def write(self, name: str, parts: Iterable[Any]) -> None:
        """A file of the export's own, part by part: bytes or arrays, none empty."""
        digest, size, target = hashlib.sha256(), 0, self.path(name)
        with target.open("wb") as file:
            for part in parts:
                data = memoryview(part).cast("B")
                file.write(data)
                digest.update(data)
                size += len(data)
            file.flush()
            os.fsync(file.fileno())
        self.files.append(Exported(name, size, digest.hexdigest(), "written"))

    def add(self, name: str) -> None:
        """A file that was made at ``path(name)``."""
        target = self.path(name)
        sync(target)
        self.files.append(Exported(name, target.stat().st_size, file_sha256(target), "written"))

    def publish(self, record: bytes) -> None:
        """Write ``EXPORT_FILE`` and give the folder its name."""
        path = self._partial / EXPORT_FILE
        path.write_bytes(record)
        sync(path)
        for folder, _, _ in os.walk(self._partial):
            sync(Path(folder))
        self._partial.replace(self.out)  # over an empty folder, too
        sync(self.out.parent)


def _hard_link(source: Path, target: Path) -> str:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _LINKED_ELSEWHERE:
            raise
        return "copied"
    return "linked"
