"""Local folders and object stores, each with its own way to create a file only if it is absent."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import threading
import uuid
from pathlib import Path
from typing import IO, Any

import fsspec

from pipeline.errors import DamagedFileError, UserError
from pipeline.file_state import REMEDY, check_sha256
from pipeline.synced import sync

_PACKAGES = {
    "s3": "pip install 'sluice[s3]'",
    "s3a": "pip install 'sluice[s3]'",
    "gs": "pip install gcsfs",
    "gcs": "pip install gcsfs",
    "abfs": "pip install adlfs",
    "abfss": "pip install adlfs",
    "az": "pip install adlfs",
}
_LOST = ("PreconditionFailed", "pre-conditions", "ConditionalRequestConflict")
# fsspec's memory store has no atomic create; it lives in one process, so a lock is enough.
_MEMORY_LOCK = threading.Lock()


def is_uri(path: str) -> bool:
    """True for ``scheme://...``, other than ``file://``."""
    return "://" in path and not path.startswith("file://")


def local(path: str) -> Path:
    """The local path a ``file://`` URI or plain path names."""
    return Path(path.removeprefix("file://"))


def filesystem(uri: str) -> Any:
    """The fsspec filesystem of a URI, with listings never cached: other processes write there too.

    Raises:
        UserError: the scheme is unknown, or its package is not installed.
    """
    scheme = uri.partition("://")[0]
    try:
        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        msg = f"{uri}: reading {scheme}:// needs a package that is not installed: {_PACKAGES.get(scheme, error)}"
        raise UserError(msg) from error
    except ValueError as error:
        msg = f"{uri}: unknown scheme {scheme}://; use a local path or one of {', '.join(sorted(_PACKAGES))}"
        raise UserError(msg) from error


def open_input(path: str) -> IO[bytes]:
    """A file of the input, local or remote, opened for reading at its start; it can seek."""
    if is_uri(path):
        return filesystem(path).open(path, "rb", cache_type="readahead", block_size=8 << 20)
    return local(path).open("rb")


class Folder:
    """A folder. Creation is ``os.link``, which is atomic on local filesystems and on NFS from version 3."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read_bytes(self, name: str) -> bytes:
        """The content of a file."""
        return self._path(name).read_bytes()

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a small file, over what was there, whole or not at all."""
        target = self._path(name)
        _make_folder(target.parent)
        temporary = _temporary(target)
        _write(temporary, data)
        temporary.replace(target)
        sync(target.parent)

    def write_file(self, path: Path, name: str) -> None:
        """Publish a finished local file; durable on return."""
        target = self._path(name)
        _make_folder(target.parent)
        sync(path)
        try:
            path.replace(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            near = _temporary(target)
            shutil.copyfile(path, near)
            sync(near)
            near.replace(target)
            path.unlink()
        sync(target.parent)

    def create_if_absent(self, name: str, data: bytes) -> bool:
        """Create a small file unless the name is taken; True for the one who made it."""
        target = self._path(name)
        _make_folder(target.parent)
        temporary = _temporary(target)
        try:
            _write(temporary, data)
            os.link(temporary, target)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        sync(target.parent)
        return True

    def exists(self, name: str) -> bool:
        """True where a file of that name is."""
        return self._path(name).is_file()

    def list(self, prefix: str) -> list[str]:
        """Names of all files under a folder, sorted."""
        found = []
        for folder, folders, names in os.walk(self._path(prefix)):
            if ".scratch" in folders:
                folders.remove(".scratch")
            where = Path(folder).relative_to(self.root)
            found += [(where / n).as_posix() for n in names if not (n.startswith(".") and n.endswith(".tmp"))]
        return sorted(found)

    def delete(self, name: str) -> None:
        """Delete a file, if there is one."""
        self._path(name).unlink(missing_ok=True)

    def local_path(self, name: str, sha256: str | None = None) -> Path:
        """The file itself; whoever wants it compared with its sha256 reads it."""
        del sha256
        return self._path(name)

    def _path(self, name: str) -> Path:
        return self.root / name


class ObjectStore:
    """An object store behind fsspec. Creation is the store's own condition (``If-None-Match: *`` on S3).

    cache: a folder that nobody else may write, made when first needed. own: what this store's part of it is called.
    """

    def __init__(self, uri: str, cache: Path, own: str) -> None:
        self.fs = filesystem(uri)
        self._in_memory = uri.startswith("memory://")
        self._root = self.fs._strip_protocol(uri)  # noqa: SLF001  # fsspec's only way to a path in its own form
        self._cache = cache
        self._files = cache / own / "files"

    def read_bytes(self, name: str) -> bytes:
        """The content of a file."""
        return bytes(self.fs.cat_file(self._path(name)))

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a small file, over what was there, whole or not at all."""
        self.fs.pipe_file(self._path(name), data)

    def write_file(self, path: Path, name: str) -> None:
        """Publish a finished local file; durable on return."""
        self.fs.put_file(str(path), self._path(name))

    def create_if_absent(self, name: str, data: bytes) -> bool:
        """Create a small file unless the name is taken; True for the one who made it."""
        if self._in_memory:
            with _MEMORY_LOCK:
                return self._create(name, data)
        return self._create(name, data)

    def _create(self, name: str, data: bytes) -> bool:
        try:
            self.fs.pipe_file(self._path(name), data, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            # S3 answers 412 (the object is there) or 409 (another writer is at it); which exception that becomes
            # depends on the version of s3fs.
            if error.errno == errno.EEXIST or any(code in str(error) for code in _LOST):
                return False
            raise
        return True

    def exists(self, name: str) -> bool:
        """True where a file of that name is."""
        return bool(self.fs.isfile(self._path(name)))

    def list(self, prefix: str) -> list[str]:
        """Names of all files under a folder, sorted."""
        try:
            found = self.fs.find(self._path(prefix))
        except FileNotFoundError:
            return []
        return sorted(name.removeprefix(self._root).lstrip("/") for name in found)

    def delete(self, name: str) -> None:
        """Delete a file, if there is one, and this machine's copy of it."""
        (self._files / name).unlink(missing_ok=True)
        try:
            self.fs.rm_file(self._path(name))
        except FileNotFoundError:
            return

    def local_path(self, name: str, sha256: str | None = None) -> Path:
        """A copy in the cache, with this sha256 where one is given."""
        make_private(self._cache)
        target = self._files / name
        if target.exists():
            try:
                if sha256 is not None:
                    check_sha256(target, sha256)
            except DamagedFileError:
                target.unlink(missing_ok=True)  # the copy; what the store has may be right
            else:
                return target
        self._fetch(name, target)
        if sha256 is not None:
            check_sha256(target, sha256)
        return target

    def _fetch(self, name: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(target)
        try:
            self.fs.get_file(self._path(name), str(temporary))
        except FileNotFoundError as error:
            msg = f"{self.fs.unstrip_protocol(self._path(name))} is missing; {REMEDY}"
            raise DamagedFileError(target, msg) from error
        temporary.replace(target)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")


def make_private(folder: Path) -> None:
    """Make a folder that nobody but this user may enter; one that is there already must be such a one.

    Names under a temporary folder can be guessed, so another user could have made it, with files in it.

    Raises:
        UserError: it is a link or no folder, of another user, or others may write to it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    wrong = None
    if not stat.S_ISDIR(found.st_mode):
        wrong = "is a link or no folder"
    elif found.st_uid != os.getuid():
        wrong = f"belongs to user {found.st_uid}, not to {os.getuid()}"
    elif found.st_mode & 0o022:
        wrong = f"may be written by others (mode {stat.S_IMODE(found.st_mode):o})"
    if wrong is not None:
        msg = f"{folder}, where a run keeps files of its own, {wrong}; remove it, or set TMPDIR to a folder of your own"
        raise UserError(msg)
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def _temporary(target: Path) -> Path:
    """A name of the attempt's own beside the target: two attempts with one name would take each other's file away."""
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents, each synced into its parent."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        sync(new.parent)
