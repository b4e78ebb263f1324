"""A file of named numpy columns: a header with version, parameters and checksum, then each column as raw bytes.

Layout: 8 bytes magic, uint32 length of the header, the header (JSON), zeros up to a multiple of 64, then the body: the
columns in the header's order, little-endian, C order, each starting at a multiple of 64. The header holds ``kind``,
``format_version``, ``parameters``, ``columns`` (name, dtype, shape), ``body_bytes`` and ``xxh3_128`` of the body.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from pipeline.errors import RunFailedError

FORMAT_VERSION = 1
_MAGIC = b"SLUICOL\n"
_ALIGN = 64  # a cache line; columns can then be mapped as aligned arrays
_CHUNK = 1 << 22


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
    checksum = xxhash.xxh3_128()
    for array in little.values():
        checksum.update(_bytes(array))
        checksum.update(bytes(_padding(array.nbytes)))
    header = {
        "kind": kind,
        "format_version": FORMAT_VERSION,
        "parameters": dict(parameters),
        "columns": [[name, array.dtype.str, list(array.shape)] for name, array in little.items()],
        "body_bytes": sum(array.nbytes + _padding(array.nbytes) for array in little.values()),
        "xxh3_128": checksum.hexdigest(),
    }
    encoded = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
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
    checksum; otherwise only what is cut off is noticed.

    Raises:
        RunFailedError: not such a file, cut off, damaged, or made with other parameters.
    """
    header, start = _header(path, kind)
    made_with = header["parameters"]
    wrong = {key: made_with.get(key) for key, value in (parameters or {}).items() if made_with.get(key) != value}
    if wrong:
        asked = {key: (parameters or {})[key] for key in wrong}
        msg = f"{path} was made with {wrong}, this step needs {asked}; make it again with the step's parameters"
        raise RunFailedError(msg)
    size = path.stat().st_size
    if size != start + header["body_bytes"]:
        msg = f"{path} has {size} bytes, its header says {start + header['body_bytes']}; {_REMEDY}"
        raise RunFailedError(msg)
    if verify:
        _verify(path, start, header["xxh3_128"])
    whole = np.asarray(np.memmap(path, np.uint8, "r"))  # one map a file: each holds a file descriptor
    arrays = {}
    for name, dtype, shape in header["columns"]:
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        arrays[name] = whole[start : start + nbytes].view(dtype).reshape(shape)
        start += nbytes + _padding(nbytes)
    return Columns(path, made_with, arrays)


_REMEDY = "the file is cut off or damaged: delete this dataset's folder and run again"


def _header(path: Path, kind: str) -> tuple[dict[str, Any], int]:
    """The header and where the body begins."""
    with path.open("rb") as file:
        prefix = file.read(len(_MAGIC) + 4)
        length = int.from_bytes(prefix[len(_MAGIC) :], "little")
        encoded = file.read(length)
    if len(prefix) < len(_MAGIC) + 4 or len(encoded) < length or not prefix.startswith(_MAGIC):
        msg = f"{path} does not begin with a whole header of a columns file but with {prefix[:8]!r}; {_REMEDY}"
        raise RunFailedError(msg)
    try:
        header = json.loads(encoded)
    except ValueError as error:
        msg = f"{path} has a header that is not JSON ({error}); {_REMEDY}"
        raise RunFailedError(msg) from error
    if (header["kind"], header["format_version"]) != (kind, FORMAT_VERSION):
        found = f"{header['kind']} version {header['format_version']}"
        msg = f"{path} holds {found}, expected {kind} version {FORMAT_VERSION}; run the step that makes it again"
        raise RunFailedError(msg)
    end = len(prefix) + length
    return header, end + _padding(end)


def _verify(path: Path, start: int, expected: str) -> None:
    checksum = xxhash.xxh3_128()
    with path.open("rb") as file:
        file.seek(start)
        while chunk := file.read(_CHUNK):
            checksum.update(chunk)
    if checksum.hexdigest() != expected:
        msg = f"{path} has checksum {checksum.hexdigest()}, its header says {expected}; {_REMEDY}"
        raise RunFailedError(msg)


def _bytes(array: npt.NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _padding(position: int) -> int:
    return -position % _ALIGN
