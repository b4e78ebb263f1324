"""Where datasets live: a root on a local disk or an object store, and whether it can be trusted with commits."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.stores import Folder, ObjectStore, is_uri, local, make_private


class Storage:
    """A root under which files are named by relative POSIX paths and, ``write_bytes`` aside, never changed.

    root: a folder, or a URI such as ``s3://bucket/prefix``. cache: where copies of remote files go, a folder that only
    this user may write; default one under the system's temporary folder.
    """

    def __init__(self, root: str | Path, cache: Path | None = None) -> None:
        text = str(root)
        self.is_local = not is_uri(text)
        self.uri = str(local(text).expanduser().absolute()) if self.is_local else text.rstrip("/")
        self.short_id = hashlib.sha256(self.uri.encode()).hexdigest()[:16]
        self._cache = (cache or Path(tempfile.gettempdir()) / f"sluice-{os.getuid()}") / self.short_id
        self._store = (
            Folder(Path(self.uri)) if self.is_local else ObjectStore(self.uri, self._cache.parent, self.short_id)
        )

    def __repr__(self) -> str:
        return f"Storage({self.uri!r})"

    def __reduce__(self) -> tuple[type[Storage], tuple[str, Path]]:
        return Storage, (self.uri, self._cache.parent)

    def read_bytes(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: there is none.
        """
        return self._store.read_bytes(_checked(name))

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a small file, over what was there: a reader sees the old content or the new, never a part."""
        self._store.write_bytes(_checked(name), data)

    def write_file(self, path: Path, name: str) -> None:
        """Publish a finished local file under a name, whole or not at all; durable on return. The local file may go."""
        self._store.write_file(path, _checked(name))

    def create_if_absent(self, name: str, data: bytes) -> bool:
        """Create a small file unless the name is taken; True for the one caller who made it.

        A reply lost on the network after the store took the file looks like a loss: who needs to know compares
        the content.
        """
        return self._store.create_if_absent(_checked(name), data)

    def exists(self, name: str) -> bool:
        """True where a file of that name is."""
        return self._store.exists(_checked(name))

    def list(self, prefix: str) -> list[str]:
        """Names of all files under a folder, at any depth, sorted; empty where there is no such folder."""
        return self._store.list(_checked(prefix))

    def delete(self, name: str) -> None:
        """Delete a file; nothing happens where there is none."""
        self._store.delete(_checked(name))

    def local_path(self, name: str, sha256: str | None = None) -> Path:
        """A local file with the content: the file itself, or a copy kept in a cache (published files never change).

        sha256: what a copy must have, looked at once per process; a copy that has another is fetched anew.

        Raises:
            DamagedFileError: the remote file is missing or has another sha256.
            UserError: others may write to the cache.
        """
        return self._store.local_path(_checked(name), sha256)

    def holds(self, path: str | Path) -> bool:
        """True for a local path under this root, or of a local copy of one of its files."""
        return Path(path).absolute().is_relative_to(Path(self.uri) if self.is_local else self._cache)

    def scratch(self) -> Path:
        """A local folder of this root's own for unfinished files, on the same disk as the root where that is local."""
        if not self.is_local:
            make_private(self._cache.parent)
        folder = (Path(self.uri) / ".scratch") if self.is_local else self._cache / "scratch"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _checked(name: str) -> str:
    if name.startswith("/") or ".." in PurePosixPath(name).parts:
        msg = f"a name in a storage is relative and stays inside, got {name!r}"
        raise ValueError(msg)
    return name


@dataclass(frozen=True)
class ProbeReport:
    """What racing writers against a storage showed.

    winners: how many of the writers believed they had created the file, round by round; anything but 1 is unsafe.
    foreign: rounds in which the file did not hold what its one winner wrote.
    """

    uri: str
    writers: int
    winners: tuple[int, ...]
    foreign: int
    read_after_write: bool
    list_after_write: bool

    @property
    def safe(self) -> bool:
        """True where every promise was kept."""
        fair = all(n == 1 for n in self.winners)
        return fair and not self.foreign and self.read_after_write and self.list_after_write

    def __str__(self) -> str:
        if self.safe:
            return f"{self.uri}: safe; one winner in each of {len(self.winners)} races of {self.writers} writers"
        faults = []
        wrong = [n for n in self.winners if n != 1]
        if wrong:
            races = f"{len(wrong)} of {len(self.winners)} races of {self.writers} writers"
            faults.append(f"{races} had {sorted(set(wrong))} winners")
        if self.foreign:
            faults.append(f"{self.foreign} files did not hold what their winner wrote")
        if not self.read_after_write:
            faults.append("a file just written was not read back")
        if not self.list_after_write:
            faults.append("a file just written was not listed")
        return f"{self.uri}: not safe for commits by several workers: {'; '.join(faults)}"


def probe(storage: Storage, writers: int = 8, rounds: int = 20) -> ProbeReport:
    """Race writers for the same new name, then look; removes what it wrote.

    Raises:
        OSError: the storage cannot be reached or written at all.
    """
    folder = f"probe-{uuid.uuid4().hex}"
    winners, foreign = [], 0
    try:
        with ThreadPoolExecutor(writers) as pool:
            for number in range(rounds):
                won = _race(pool, storage, f"{folder}/{number:04d}", writers)
                winners.append(len(won))
                foreign += len(won) == 1 and storage.read_bytes(f"{folder}/{number:04d}") != won[0]
        storage.write_bytes(f"{folder}/written", b"first")
        storage.write_bytes(f"{folder}/written", b"second")
        read = storage.read_bytes(f"{folder}/written") == b"second"
        expected = [f"{folder}/{number:04d}" for number in range(rounds)] + [f"{folder}/written"]
        listed = storage.list(folder) == expected
    finally:
        for name in storage.list(folder):
            storage.delete(name)
        if storage.is_local:
            storage.local_path(folder).rmdir()
    return ProbeReport(storage.uri, writers, tuple(winners), foreign, read, listed)


def _race(pool: ThreadPoolExecutor, storage: Storage, name: str, writers: int) -> list[bytes]:
    """What each winner of one race wrote; all start at the same moment."""
    barrier = threading.Barrier(writers)

    def attempt(writer: int) -> bytes | None:
        data = f"{writer}-{uuid.uuid4().hex}".encode()
        barrier.wait()
        return data if storage.create_if_absent(name, data) else None

    return [data for data in pool.map(attempt, range(writers)) if data is not None]
