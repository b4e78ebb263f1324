"""Finds many byte strings at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

_ANCHOR = 8
_BLOCK = 1 << 20
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Finder:
    """Positions of byte strings of 8 bytes and more in other bytes.

    Each is looked for by its last 8 bytes (URLs begin alike): every 8 bytes of the data are hashed into a table of bits,
    and what hits is compared in full.
    """

    def __init__(self, patterns: Sequence[bytes]) -> None:
        """Patterns.

        Raises:
            ValueError: one is shorter than 8 bytes.
        """
        short = [one for one in patterns if len(one) < _ANCHOR]
        if short:
            msg = f"{short[0]!r} is too short to be searched for; at least {_ANCHOR} bytes"
            raise ValueError(msg)
        self._patterns = list(patterns)
        self._by_anchor: dict[int, list[int]] = {}
        for number, one in enumerate(self._patterns):
            self._by_anchor.setdefault(int.from_bytes(one[-_ANCHOR:], "little"), []).append(number)
        bits = max(16, len(self._by_anchor).bit_length() + 8)
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(1 << bits, np.bool_)
        anchors = np.array(list(self._by_anchor), np.uint64)
        self._table[anchors * _MIX >> self._shift] = True

    def hits(self, data: Any) -> Iterator[tuple[int, int]]:
        """(number of the pattern, where it begins) for every place, overlapping ones too."""
        view = memoryview(data).cast("B")
        count = len(view) - _ANCHOR + 1
        if not self._patterns or count <= 0:
            return
        every = np.ndarray((count,), "<u8", buffer=view, strides=(1,))
        for first in range(0, count, _BLOCK):
            block = every[first : first + _BLOCK]
            for at in np.flatnonzero(self._table[block * _MIX >> self._shift]).tolist():
                yield from self._at(view, int(block[at]), first + at + _ANCHOR)

    def _at(self, view: memoryview, anchor: int, end: int) -> Iterator[tuple[int, int]]:
        for number in self._by_anchor.get(anchor, ()):
            one = self._patterns[number]
            if end >= len(one) and view[end - len(one) : end] == one:
                yield number, end - len(one)
