"""What stands around a number of four parts: words and places that make it a version or a section."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.kernels.buffers import ByteArray
from operators.kernels.compiled import kernel

_CONTEXT_BYTES = 16


def _context_words() -> npt.NDArray[np.uint64]:
    words = (
        "v ver version versions release rev revision build firmware kernel driver section sections sec chapter clause "
        "article paragraph appendix figure fig table step rule"
    )
    return np.sort(np.array([int.from_bytes(word[-8:].encode(), "big") for word in words.split()], np.uint64))


_CONTEXT = _context_words()
"""Words before a number of four parts that say it is none of a machine; their last 8 bytes as big-endian numbers."""


_PARAGRAPH, _VERSION_ZH, _WIDE_COLON = (np.frombuffer(text.encode(), np.uint8) for text in ("§", "版本", "："))
"""Signs and words in other scripts that say the same; a colon that may stand between."""


@kernel
def _ends_with(data: ByteArray, first: int, at: int, ending: ByteArray) -> bool:
    """Whether ``ending`` stands before ``at``, not before ``first``."""
    if at - len(ending) < first:
        return False
    for k in range(len(ending)):  # noqa: SIM110  # numba compiles loops, not generators
        if data[at - len(ending) + k] != ending[k]:
            return False
    return True


@kernel
def _blank_before(data: ByteArray, first: int, at: int) -> int:
    """Bytes of the blank (space, tab or no-break space) that ends before ``at``; 0 where there is none."""
    if at > first and (data[at - 1] == 32 or data[at - 1] == 9):
        return 1
    return 2 if at - 2 >= first and data[at - 2] == 0xC2 and data[at - 1] == 0xA0 else 0


@kernel
def named_otherwise(data: ByteArray, first: int, at: int) -> bool:
    """Whether a word such as "version" stands before ``at``, with at most blanks, a colon or a full stop between."""
    stop = at
    while stop > first and at - stop < 4:
        blank = _blank_before(data, first, stop)
        if blank == 0 and data[stop - 1] != 58 and data[stop - 1] != 46:
            break
        stop -= max(blank, 1)
    if _ends_with(data, first, stop, _WIDE_COLON):
        stop -= len(_WIDE_COLON)
    if _ends_with(data, first, stop, _PARAGRAPH) or _ends_with(data, first, stop, _VERSION_ZH):
        return True
    start, word = stop, np.uint64(0)
    while start > first and stop - start < _CONTEXT_BYTES and 97 <= data[start - 1] | 32 <= 122:
        if stop - start < 8:
            word |= np.uint64(data[start - 1] | 32) << np.uint64(8 * (stop - start))
        start -= 1
    place = np.searchsorted(_CONTEXT, word)
    return bool(stop > start and place < len(_CONTEXT) and _CONTEXT[place] == word)


@kernel
def heads_a_line(data: ByteArray, first: int, at: int, stop: int, end: int) -> bool:
    """Whether data[at:stop] starts a line as the number of a section: "2.1.3.4 Scope", "2.1.3.4. /etc/hosts"."""
    while at > first:
        blank = _blank_before(data, first, at)
        if blank == 0 and data[at - 1] != 35:
            break
        at -= max(blank, 1)
    if at > first and data[at - 1] != 10:
        return False
    dotted = stop < end and data[stop] == 46
    title = stop + 1 if dotted else stop
    while title < end and (data[title] == 32 or data[title] == 9 or (data[title] == 0xC2 and title + 1 < end)):
        title += 2 if data[title] == 0xC2 else 1
    if title >= end or title == stop + dotted:
        return False
    return dotted or 65 <= data[title] <= 90 or data[title] >= 0x80
