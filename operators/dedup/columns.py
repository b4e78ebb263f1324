"""A file of named numpy columns: a header with version, parameters and checksum, then each column as raw bytes.

Layout: 8 bytes magic, uint32 length of the header, the header (JSON), zeros up to a multiple of 64, then the body: the
columns in the header's order, little-endian, C order, each starting at a multiple of 64. The header holds ``kind``,
``format_version``, ``parameters``, ``columns`` (name, dtype, shape), ``body_bytes`` and ``xxh3_128``: of the header's
other fields (JSON, sorted keys, no blanks) and of the body.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from pipeline.errors import DamagedFileError, RunFailedError
from pipeline.file_state import REMEDY, REMEMBERED, FileState, file_state

FORMAT_VERSION = 2  # 1 had no checksum of the header
_MAGIC = b"SLUICOL\n"
_ALIGN = 64  # a cache line; columns can then be mapped as aligned arrays
_CHUNK = 1 << 22
_FIELDS = {"kind", "format_version", "parameters", "columns", "body_bytes", "xxh3_128"}


@dataclass(frozen=True)
class Columns:
    """A columns file, mapped: nothing is read before it is touched."""

    path: Path
    parameters: Mapping[str, Any]
    arrays: Mapping[str, npt.NDArray[Any]]

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """The column of that name."""
        return self.arrays[name]


def write_columns(path: Path, kind: str, parameters: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write a columns file. The same arguments give the same bytes."""
    little = {name: np.ascontiguousarray(a, dtype=a.dtype.newbyteorder("<")) for name, a in arrays.items()}
    header = {
        "kind": kind,
        "format_version": FORMAT_VERSION,
        "parameters": dict(parameters),
        "columns": [[name, array.dtype.str, list(array.shape)] for name, array in little.items()],
        "body_bytes": sum(array.nbytes + _padding(array.nbytes) for array in little.values()),
    }
    checksum = xxhash.xxh3_128(_encoded(header))
    for array in little.values():
        checksum.update(_bytes(array))
        checksum.update(bytes(_padding(array.nbytes)))
    encoded = _encoded({**header, "xxh3_128": checksum.hexdigest()})
    with path.open("wb") as file:
        file.write(_MAGIC + len(encoded).to_bytes(4, "little") + encoded)
        file.write(bytes(_padding(file.tell())))
        for array in little.values():
            file.write(_bytes(array))
            file.write(bytes(_padding(array.nbytes)))


def open_columns(
    path: Path, kind: str, parameters: Mapping[str, Any] | None = None, *, verify: bool = False
) -> Columns:
    """Map a columns file.

    parameters: what it must have been made with, key by key; None takes any. verify: read it all and compare the
    checksum, once per process and state of the file; otherwise only what is cut off is noticed. What is checked is
    mapped without a file descriptor.

    Raises:
        DamagedFileError: missing, cut off or damaged.
        RunFailedError: of another kind or version, or made with other parameters.
    """
    header, start = _header(path, kind, verify=verify)
    made_with = header["parameters"]
    wrong = {key: made_with.get(key) for key, value in (parameters or {}).items() if made_with.get(key) != value}
    if wrong:
        asked = {key: (parameters or {})[key] for key in wrong}
        msg = f"{path} was made with {wrong}, this step needs {asked}; make it again with the step's parameters"
        raise RunFailedError(msg)
    size = path.stat().st_size
    if size != start + header["body_bytes"]:
        msg = f"{path} has {size} bytes, its header says {start + header['body_bytes']}; {REMEDY}"
        raise DamagedFileError(path, msg)
    whole = _held(path) if verify else np.asarray(np.memmap(path, np.uint8, "r"))  # one map a file
    arrays = {}
    for name, dtype, shape in header["columns"]:
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        arrays[name] = whole[start : start + nbytes].view(dtype).reshape(shape)
        start += nbytes + _padding(nbytes)
    return Columns(path, made_with, arrays)


def _held(path: Path) -> npt.NDArray[np.uint8]:
    """A file, mapped without a file descriptor, so that hundreds may be held.

    numpy's maps keep a descriptor each, Arrow's buffers outlive theirs. Arrow asks the system to read a file ahead,
    which is no loss for one that was just read to be checked.
    """
    with pa.memory_map(str(path)) as file:
        return np.frombuffer(memoryview(file.read_buffer()), np.uint8)


def _header(path: Path, kind: str, *, verify: bool) -> tuple[dict[str, Any], int]:
    """The header and where the body begins."""
    try:
        state = file_state(path)
        header, end = _read_header(path)
    except FileNotFoundError as error:
        msg = f"{path} is missing; {REMEDY}"
        raise DamagedFileError(path, msg) from error
    except ValueError as error:
        msg = f"{path} is cut off or damaged: {error}; {REMEDY}"
        raise DamagedFileError(path, msg) from error
    if verify and header["format_version"] == FORMAT_VERSION:
        stated = header["xxh3_128"]
        _verify(path, state, _encoded({key: value for key, value in header.items() if key != "xxh3_128"}), end, stated)
    if (header["kind"], header["format_version"]) != (kind, FORMAT_VERSION):
        found = f"{header['kind']} version {header['format_version']}"
        msg = f"{path} holds {found}, expected {kind} version {FORMAT_VERSION}; run the step that makes it again"
        raise RunFailedError(msg)
    return header, end


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    with path.open("rb") as file:
        prefix = file.read(len(_MAGIC) + 4)
        length = int.from_bytes(prefix[len(_MAGIC) :], "little")
        encoded = file.read(length)
    if len(prefix) < len(_MAGIC) + 4 or len(encoded) < length or not prefix.startswith(_MAGIC):
        msg = f"it does not begin with a whole header of a columns file but with {prefix[:8]!r}"
        raise ValueError(msg)
    header = json.loads(encoded)
    if not isinstance(header, dict) or not header.keys() >= _FIELDS:
        msg = f"its header has not the fields {', '.join(sorted(_FIELDS))}"
        raise ValueError(msg)
    end = len(prefix) + length
    return header, end + _padding(end)


def _encoded(header: Mapping[str, Any]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()


@lru_cache(maxsize=REMEMBERED)
def _verify(path: Path, state: FileState, header: bytes, start: int, expected: str) -> None:
    """Compare a checksum; what was found right is not read again while the state of the file is the same."""
    del state
    checksum = xxhash.xxh3_128(header)
    with path.open("rb") as file:
        file.seek(start)
        while chunk := file.read(_CHUNK):
            checksum.update(chunk)
    if checksum.hexdigest() != expected:
        msg = f"{path} has checksum {checksum.hexdigest()}, its header says {expected}; {REMEDY}"
        raise DamagedFileError(path, msg)


def _bytes(array: npt.NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _padding(position: int) -> int:
    return -position % _ALIGN
