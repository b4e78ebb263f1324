"""The wire format of protocol buffers, as much of it as a file of known fields needs."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BYTES = 10

Field = int | bytes
"""A varint as an unsigned number; anything else as its bytes."""


def fields(message: bytes) -> dict[int, list[Field]]:
    """Number of a field to its values, in the order they stand.

    Raises:
        ValueError: not a message: cut off, or with a wire type that is not in use.
    """
    found: defaultdict[int, list[Field]] = defaultdict(list)
    for number, value in _fields(message):
        found[number].append(value)
    return dict(found)


def float32(value: Field) -> float:
    """A field of type float."""
    if not isinstance(value, bytes) or len(value) != 4:
        msg = "a number has another type than expected"
        raise ValueError(msg)
    return struct.unpack("<f", value)[0]


def int32(value: Field) -> int:
    """A field of type int32 or an enumeration; negative ones are stored as 64 bits."""
    if isinstance(value, bytes):
        msg = "a number has another type than expected"
        raise ValueError(msg)  # noqa: TRY004  # of a file, not of an argument
    return value - (1 << 64) if value >> 63 else value


def _fields(message: bytes) -> Iterator[tuple[int, Field]]:
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        if number == 0 or kind not in (_VARINT, _FIXED64, _BYTES, _FIXED32):
            msg = f"no field of this kind is in use (field {number}, wire type {kind}, at byte {position})"
            raise ValueError(msg)
        if kind == _VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        size = _SIZES.get(kind)
        if size is None:
            size, position = _varint(message, position)
        if position + size > len(message):
            msg = f"it ends inside field {number}"
            raise ValueError(msg)
        yield number, message[position : position + size]
        position += size


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """(number, position behind it)."""
    number = 0
    for k in range(_MAX_VARINT_BYTES):
        if position + k >= len(message):
            break
        byte = message[position + k]
        number |= (byte & 0x7F) << (7 * k)
        if byte < 0x80:
            return number, position + k + 1
    msg = f"it ends inside a number, or holds one that is too long (at byte {position})"
    raise ValueError(msg)
