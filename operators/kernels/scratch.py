"""Memory that a thread uses again for its next batch, so that the system need not hand out and clear new pages."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np

_LARGEST = 256 << 20
"""Bytes of a block that is kept; a larger one, of a huge document, goes back to the system. 4,096 web pages of 7 kB have
words of that size, of which half or less is ever touched."""
_KEPT = 512 << 20
"""Bytes that a thread keeps; at more it starts anew."""
_SMALLEST = 1 << 16
_ALIGNED = 64


def _references() -> int:
    """What ``getrefcount`` says of an array that only a list and a loop variable hold: 3 up to Python 3.13, fewer later."""
    for block in [np.empty(1, np.uint8)]:
        return sys.getrefcount(block)
    raise AssertionError


_HOLDERS = _references()


class _Blocks(threading.local):
    def __init__(self) -> None:
        self.by_size: dict[int, list[np.ndarray[Any, Any]]] = {}


_kept = _Blocks()


def scratch(rows: int, *types: Any) -> list[np.ndarray[Any, Any]]:
    """Arrays of ``rows`` elements, one for each type, like ``np.empty``: contents are undefined.

    They share one block of memory, which is used again as soon as no array looks into it. Its reference count says so:
    what is still held somewhere is never handed out twice. New pages cost about 1 ns a byte, and the words of a text take
    six times its bytes.
    """
    sizes = [-(-rows * np.dtype(kind).itemsize // _ALIGNED) * _ALIGNED for kind in types]
    block, first, arrays = _block(sum(sizes)), 0, []
    for kind, size in zip(types, sizes, strict=True):
        arrays.append(np.frombuffer(block, kind, rows, first))
        first += size
    return arrays


def _block(size: int) -> np.ndarray[Any, Any]:
    """A block of at least ``size`` bytes, up to twice as large."""
    if size > _LARGEST:
        return np.empty(size, np.uint8)
    size = max(_SMALLEST, 1 << (size - 1).bit_length())
    by_size = _kept.by_size
    blocks = by_size.setdefault(size, [])
    for block in blocks:
        if sys.getrefcount(block) == _HOLDERS:
            return block
    if size + sum(key * len(value) for key, value in by_size.items()) > _KEPT:
        by_size.clear()
        blocks = by_size.setdefault(size, [])
    blocks.append(np.empty(size, np.uint8))
    return blocks[-1]


def release() -> None:
    """Give back what the calling thread keeps."""
    _kept.by_size.clear()
