"""Short stretches of a text by which it can be found again as bytes."""

from __future__ import annotations

import re

_LEAST, _MOST, _EACH = 24, 64, 3
# What JSON, HTML and line ends write otherwise; a stretch without them looks the same in every file.
_PIECE = re.compile(r"[^\x00-\x1f\"\\<>&'/]+")
_SEARCHED = 1 << 16


def fragments(text: str) -> list[bytes]:
    """Up to three stretches of 24 to 64 bytes from the longest pieces of a text; none of a shorter one.

    They are whole characters, and hold nothing that JSON or HTML would write in another way.
    """
    # The beginning is what excerpts hold, so one of the pieces is of it.
    first: list[str] = [piece.strip() for piece in _PIECE.findall(text[:300])]
    pieces: list[str] = [piece.strip() for piece in _PIECE.findall(text[:_SEARCHED])]
    first.sort(key=len, reverse=True)
    pieces.sort(key=len, reverse=True)
    found = [_middle(piece) for piece in (*first[:1], *pieces[: _EACH - 1])]
    return [one for one in dict.fromkeys(found) if len(one) >= _LEAST]


def _middle(piece: str) -> bytes:
    start = max(0, len(piece) // 2 - _MOST // 2)
    cut = piece[start : start + _MOST]
    while len(cut.encode()) > _MOST:
        cut = cut[:-1]
    return cut.encode()
