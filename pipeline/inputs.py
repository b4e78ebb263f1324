"""The files of a source, frozen into the run: which they are, what they hold, and how they are cut into shards."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import xxhash
from pydantic import BeforeValidator

from pipeline.errors import UserError
from pipeline.readers.options import Read
from pipeline.readers.schema import check_schema, row_group_pieces
from pipeline.readers.streams import Damage, chunks, compression
from pipeline.stores import filesystem, is_uri, local, open_input
from pipeline.value import Strings, Value
from pipeline.work import Extent

_WHOLE_DIGEST_BYTES = 256 << 20
_SAMPLE_BYTES = 1 << 20
_MAX_GROUP_BYTES = 64 << 20
_MIN_SHARDS = 32
_REMEDY = "use a new --out folder to read it as it is now, or restore the file to go on with this run"


class Piece(Value):
    """A file, or a part of one: a byte range of plain lines, or a range of row groups of Parquet (end excluded)."""

    path: str
    start: int = 0
    end: int | None = None


class FrozenFile(Value):
    """A file as it was when the run began. digest: xxh3-128 of its content, of samples of it where it is large."""

    path: str
    size: int
    mtime_ns: int | None = None
    etag: str | None = None
    digest: str | None = None


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(item) for item in value) if isinstance(value, list | tuple) else value


class FrozenInputs(Value):
    """The files of a source and the pieces of each shard; a shard never changes its number.

    epochs: the label of each shard; empty where the source declares none. labels: the declared ones, in their order.
    """

    files: Annotated[tuple[FrozenFile, ...], BeforeValidator(_as_tuples)]
    shards: Annotated[tuple[tuple[Piece, ...], ...], BeforeValidator(_as_tuples)]
    epochs: Strings = ()
    labels: Strings = ()

    def extent(self, limit: int | None = None) -> Extent:
        """Its shards, the first ``limit`` of them."""
        count = len(self.shards) if limit is None else min(limit, len(self.shards))
        found: dict[str, list[int]] = {label: [] for label in self.labels}
        for shard, label in enumerate(self.epochs[:count]):
            found[label].append(shard)
        return Extent(count, {label: tuple(shards) for label, shards in found.items()})


def freeze(options: Read, base_dir: Path, previous: FrozenInputs | None = None) -> FrozenInputs:
    """Find the files of a source and cut them into shards.

    base_dir: what relative paths are relative to. previous: what the run froze before: those files must be as they
    were, and files that came since make further shards behind the known ones.

    Raises:
        UserError: a path that is not there, a pattern that matches nothing, a Parquet file without the columns asked
            for, or a file that changed or went since it was frozen.
    """
    paths = expand(options, base_dir)
    known = {file.path: file for file in previous.files} if previous else {}
    _check_epochs(paths, previous)
    gone = sorted(set(known) - set(paths))
    if gone:
        msg = f"input {gone[0]} was read by this run before and is not among its inputs any more; {_REMEDY}"
        raise UserError(msg)
    for path, before in known.items():
        _check_unchanged(before, _frozen(path, before))
    new = [_frozen(path) for path in paths if path not in known]
    shards = list(previous.shards) if previous else []
    labels = list(previous.epochs) if previous else []
    for label in dict.fromkeys(paths.values()):
        made = _plan(options, [file for file in new if paths[file.path] == label], check=not shards)
        shards += made
        labels += [label] * len(made) if options.epochs else []
    return FrozenInputs(
        files=(*(previous.files if previous else ()), *new),
        shards=tuple(shards),
        epochs=tuple(labels),
        labels=tuple(label for label, _ in options.epochs),
    )


def _check_epochs(paths: Mapping[str, str], previous: FrozenInputs | None) -> None:
    """A file that was read stays in its epoch."""
    for label, shard in zip(previous.epochs, previous.shards, strict=True) if previous and previous.epochs else ():
        for piece in shard:
            if paths.get(piece.path, label) != label:
                msg = f"input {piece.path} was read in epoch {label!r} and is now in {paths[piece.path]!r}; {_REMEDY}"
                raise UserError(msg)


def expand(options: Read, base_dir: Path) -> dict[str, str]:
    """Every file of a source, each once, as absolute paths and URIs, with its epoch ("": none is declared).

    By epoch in the declared order, sorted inside one.

    Raises:
        UserError: a path that is not there, a pattern that matches nothing, or a file in two epochs.
    """
    places = options.epochs or (("", (*options.paths, *_listed(options.paths_from, base_dir))),)
    found: dict[str, str] = {}
    for label, patterns in places:
        files = {file for pattern in patterns for file in _matches(pattern, base_dir)}
        for file in sorted(files):
            if file in found:
                msg = f"input {file} is in the epochs {found[file]!r} and {label!r}; leave it in one of them"
                raise UserError(msg)
            found[file] = label
    return found


def _matches(pattern: str, base_dir: Path) -> list[str]:
    files = list(_remote(pattern) if is_uri(pattern) else _local(pattern, base_dir))
    if not files:
        where = "" if is_uri(pattern) else f" in {base_dir}"
        msg = f"input {pattern!r} matches no file{where}; check the path, which is relative to the recipe"
        raise UserError(msg)
    return files


def _listed(list_file: str | None, base_dir: Path) -> list[str]:
    """The lines of a ``paths_from`` file, plain or compressed; blank ones and those with # are left out."""
    if list_file is None:
        return []
    path = list_file if is_uri(list_file) else str(base_dir / local(list_file).expanduser())
    content = bytearray()
    try:
        with open_input(path) as file:
            for chunk in chunks(file):
                if isinstance(chunk, Damage):
                    msg = f"paths_from {list_file!r} is damaged: {chunk.error}"
                    raise UserError(msg)
                content += chunk.data
    except (FileNotFoundError, IsADirectoryError) as error:
        msg = f"paths_from {list_file!r} is not a file in {base_dir}; check the path, which is relative to the recipe"
        raise UserError(msg) from error
    lines = [line.strip() for line in content.decode("utf-8", "surrogateescape").split("\n")]
    return [line for line in lines if line and not line.startswith("#")]


def _local(pattern: str, base_dir: Path) -> Iterator[str]:
    path = os.path.abspath(base_dir / local(pattern).expanduser())  # noqa: PTH100  # links stay as they are named
    if os.path.isfile(path):  # noqa: PTH113  # a string all along
        yield path
    elif os.path.isdir(path):  # noqa: PTH112  # a string all along
        yield from _in_folder(path)
    elif glob.has_magic(path):
        for match in glob.iglob(path, recursive=True):  # noqa: PTH207  # pathlib's treats hidden files otherwise
            if os.path.isfile(match):  # noqa: PTH113  # a string all along
                yield match


def _in_folder(folder: str) -> Iterator[str]:
    """Every file below a folder; what begins with a dot or an underscore is a marker and no input."""
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        yield from (os.path.join(where, name) for name in names if not name.startswith((".", "_")))  # noqa: PTH118


def _remote(pattern: str) -> Iterator[str]:
    store = filesystem(pattern)
    if glob.has_magic(pattern):
        found: Iterable[str] = [path for path in store.glob(pattern) if store.isfile(path)]
    elif store.isfile(pattern):
        found = [pattern]
    else:
        names = store.find(pattern) if store.exists(pattern) else []
        found = [path for path in names if not path.rpartition("/")[2].startswith((".", "_"))]
    for path in found:
        yield store.unstrip_protocol(path)


def _frozen(path: str, before: FrozenFile | None = None) -> FrozenFile:
    """A file as it is now; its content is not read again where size and time are as before."""
    if is_uri(path):
        store = filesystem(path)
        info = store.info(path)
        etag = info.get("ETag") or info.get("etag") or info.get("md5Hash") or info.get("content_md5")
        etag = str(etag).strip('"') if etag else str(store.ukey(path))
        return FrozenFile(path=path, size=info["size"], etag=etag)
    status = os.stat(path)  # noqa: PTH116  # a string all along
    if before is not None and (before.size, before.mtime_ns) == (status.st_size, status.st_mtime_ns):
        return before
    digest = _digest(path, status.st_size)
    return FrozenFile(path=path, size=status.st_size, mtime_ns=status.st_mtime_ns, digest=digest)


def _digest(path: str, size: int) -> str:
    """xxh3-128 of the content; of a file over 256 MiB of its size and a MiB of its head, middle and tail."""
    digest = xxhash.xxh3_128()
    with open(path, "rb") as file:  # noqa: PTH123  # a string all along
        if size <= _WHOLE_DIGEST_BYTES:
            while data := file.read(_SAMPLE_BYTES):
                digest.update(data)
        else:
            digest.update(size.to_bytes(8, "little"))
            for start in (0, (size - _SAMPLE_BYTES) // 2, size - _SAMPLE_BYTES):
                file.seek(start)
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def check_unchanged(files: Sequence[FrozenFile]) -> None:
    """Look at frozen files again, before and after they are read.

    Raises:
        UserError: one of them changed since it was frozen.
    """
    for before in files:
        _check_unchanged(before, _frozen(before.path, before))


def _check_unchanged(before: FrozenFile, now: FrozenFile) -> None:
    if now.size != before.size:
        msg = f"input {now.path} changed since this run began: {before.size} bytes then, {now.size} now; {_REMEDY}"
        raise UserError(msg)
    if now.etag != before.etag or now.digest != before.digest:
        msg = f"input {now.path} changed since this run began: the same size, but other content; {_REMEDY}"
        raise UserError(msg)


def _plan(options: Read, files: Sequence[FrozenFile], *, check: bool) -> list[tuple[Piece, ...]]:
    """The shards of some files, in their order."""
    limit = options.group_bytes
    if limit is None:
        limit = min(_MAX_GROUP_BYTES, sum(file.size for file in files) // _MIN_SHARDS)
    shards: list[tuple[Piece, ...]] = []
    group: list[Piece] = []
    group_bytes = 0
    for position, file in enumerate(files):
        if options.format == "parquet" and check and position == 0:
            check_schema(options, file.path)
        pieces = _pieces(options, file)
        if group and (len(pieces) > 1 or group_bytes + file.size > limit):
            shards.append(tuple(group))
            group, group_bytes = [], 0
        if len(pieces) > 1:
            shards.extend((piece,) for piece in pieces)
        else:
            group.extend(pieces)
            group_bytes += file.size
    return [*shards, tuple(group)] if group else shards


def _pieces(options: Read, file: FrozenFile) -> list[Piece]:
    """A file in pieces of about ``split_bytes``, where its format can be read from the middle."""
    size, step = file.size, options.split_bytes
    if size <= step:
        return [Piece(path=file.path)]
    if options.format == "parquet":
        return [Piece(path=file.path, start=start, end=end) for start, end in row_group_pieces(file.path, step)] or [
            Piece(path=file.path)
        ]
    by_lines = options.format == "jsonl" or (options.format == "text" and options.documents == "line")
    if not by_lines or _is_compressed(file.path):
        return [Piece(path=file.path)]
    bounds = [*range(0, size, step), size]
    # The last piece has no end, and so takes what is there to the last byte.
    return [Piece(path=file.path, start=start, end=None if end == size else end) for start, end in pairwise(bounds)]


def _is_compressed(path: str) -> bool:
    with open_input(path) as file:
        return compression(file.read(4)) is not None
