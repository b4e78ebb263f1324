"""E-mail and IP addresses in UTF-8 text: found from their ``@``, their dots and colons outwards, in linear time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.kernels.buffers import ByteArray, OffsetArray
from operators.kernels.compiled import kernel
from operators.kernels.ip_address import is_global_v4, is_global_v6
from operators.kernels.number_context import heads_a_line, named_otherwise

EMAIL, IP = 1, 2
"""Kinds of span, and bits of the kinds wanted."""

_DIGIT, _LETTER, _JOINER, _LOCAL, _HEX = 1, 2, 4, 8, 16
_ALNUM = _DIGIT | _LETTER
_MAX_LOCAL, _MAX_LABEL, _MAX_DOMAIN = 64, 63, 253
"""Bytes; RFC 5321 4.5.3.1 and RFC 1035 2.3.4. They also bound the work at each ``@``."""
_MAX_V6 = 39
_SMALL = 32
"""Section numbers stay below it."""


def _classes() -> npt.NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    for byte in range(128):
        char = chr(byte)
        table[byte] = _DIGIT * char.isdigit() | _LETTER * char.isalpha() | _JOINER * (char in "_-")
        table[byte] |= _LOCAL * (char.isalnum() or char in "._%+-") | _HEX * (char in "0123456789abcdefABCDEF")
    return table


_CLASS = _classes()
_STARTS = np.array([byte in b"0123456789@\xef" for byte in range(256)])
"""Bytes at which something may be found: digits, ``@``, and the first of the full-width U+FF20."""


@kernel
def _letter_pair(data: ByteArray, at: int) -> bool:
    """Two bytes at ``at`` that are a letter: Latin, Greek or Cyrillic, U+00C0 to U+052F, without the signs U+00D7 and U+00F7.

    Other scripts (Han, kana, Thai, Hangul ...) end an address: their writers put it next to their words.
    """
    lead, tail = data[at], data[at + 1]
    return 0xC3 <= lead <= 0xD4 and tail & 0xC0 == 0x80 and not (lead == 0xC3 and tail in (0x97, 0xB7))


@kernel
def _local_start(data: ByteArray, first: int, at: int) -> int:
    """Start of the local part that ends before ``at``, not before ``first``; ``at`` where there is none."""
    start = at
    while start > first:
        if _CLASS[data[start - 1]] & _LOCAL:
            if data[start - 1] == 46 and data[start] == 46:  # two dots: the end of a sentence before
                break
            start -= 1
        elif start - 2 >= first and _letter_pair(data, start - 2):
            start -= 2
        else:
            break
        if at - start > _MAX_LOCAL:
            return at
    while start < at and (data[start] == 46 or data[start] == 45 or data[start] == 37 or data[start] == 43):
        start += 1
    return at if start < at and data[at - 1] == 46 else start


@kernel
def _label_end(data: ByteArray, at: int, end: int) -> tuple[int, int]:
    """Where the domain label at ``at`` ends, and where its leading letters do."""
    letters = True
    last_letter = at
    start = at
    while at < end and at - start <= _MAX_LABEL:
        if _CLASS[data[at]] & _ALNUM or data[at] == 45:
            letters = letters and (_CLASS[data[at]] & _LETTER) != 0
            at += 1
        elif at + 1 < end and _letter_pair(data, at):
            at += 2
        else:
            break
        if letters:
            last_letter = at
    return at, last_letter


@kernel
def _domain_end(data: ByteArray, at: int, end: int) -> int:
    """End of the domain name that starts at ``at``; ``at`` where there is none. Its last label has letters only."""
    begin, good, position, labels = at, at, at, 0
    if at + 1 < end and _CLASS[data[at]] & _DIGIT and data[at + 1] | 32 == 120:
        return begin  # image@2x.png
    while position < end and position - begin <= _MAX_DOMAIN:
        stop, letters = _label_end(data, position, end)
        size = stop - position
        if size == 0 or size > _MAX_LABEL or data[position] == 45:
            break
        labels += 1
        punycode = (
            size > 4 and data[position] | 32 == 120 and data[position + 1] | 32 == 110 and data[position + 2] == 45
        )
        if labels > 1 and punycode:
            good = stop
        elif labels > 1 and letters - position > 1 and (letters == stop or data[letters] == 45):
            good = letters
        if stop >= end or data[stop] != 46 or data[stop - 1] == 45:
            break
        position = stop + 1
    return good


@kernel
def _find_email(data: ByteArray, first: int, at: int, size: int, end: int) -> tuple[int, int]:
    """The e-mail address around the ``@`` of ``size`` bytes at ``at``; start == end where there is none."""
    start = _local_start(data, first, at)
    if start == at:
        return at, at
    stop = _domain_end(data, at + size, end)
    return (start, stop) if stop > at + size else (at, at)


@kernel
def _v4_end(data: ByteArray, first: int, at: int, end: int) -> int:
    """End of the public IPv4 address that starts at ``at``; ``at`` where there is none."""
    octets = np.zeros(4, np.int64)
    position = at
    for octet in range(4):
        size = 0
        while position < end and size < 4 and _CLASS[data[position]] & _DIGIT:
            octets[octet] = octets[octet] * 10 + data[position] - 48
            position += 1
            size += 1
        if size == 0 or size > 3 or octets[octet] > 255 or (size > 1 and data[position - size] == 48):
            return at
        if octet < 3:
            if position >= end or data[position] != 46:
                return at
            position += 1
    if position < end:
        after = data[position + 1] if position + 1 < end else np.uint8(32)
        kind = _CLASS[data[position]]
        if kind & _ALNUM or data[position] == 95 or (data[position] == 45 and _CLASS[after] & _LETTER):
            return at
        if data[position] == 46 and (_CLASS[after] & _DIGIT or 97 <= after <= 122):
            return at
    if not is_global_v4(octets) or named_otherwise(data, first, at):
        return at
    return at if octets.max() < _SMALL and heads_a_line(data, first, at, position, end) else position


@kernel
def _v6_end(data: ByteArray, at: int, end: int) -> int:
    """End of the public IPv6 address that starts at ``at``; ``at`` where there is none."""
    stop, colons = at, 0
    while stop < end and stop - at <= _MAX_V6 + 1 and (_CLASS[data[stop]] & _HEX or data[stop] == 58):
        colons += data[stop] == 58
        stop += 1
    if colons < 2 or (stop < end and (_CLASS[data[stop]] & _ALNUM or data[stop] == 95)):
        return at
    if data[stop - 1] == 58 and data[stop - 2] != 58:  # the colon of a sentence
        stop -= 1
    return stop if stop - at <= _MAX_V6 and is_global_v6(data[at:stop]) else at


@kernel
def _find_ip(data: ByteArray, first: int, at: int, end: int) -> int:
    """End of the public IP address that starts at the digit ``at``; ``at`` where there is none."""
    before = data[at - 1] if at > first else np.uint8(32)
    earlier = data[at - 2] if at > first + 1 else np.uint8(32)
    if _CLASS[before] & _ALNUM or before == 95 or (before == 46 and _CLASS[earlier] & _DIGIT):
        return at
    stop = _v4_end(data, first, at, end)
    if stop == at and before != 58 and (data[at] == 50 or data[at] == 51):  # 2000::/3 is all that is public
        stop = _v6_end(data, at, end)
    if stop > at and stop < end and data[stop] == 64 and _find_email(data, first, stop, 1, end)[1] > stop:
        return at
    return stop


@kernel
def _next_start(data: ByteArray, at: int, end: int) -> int:
    """The next position, from ``at`` on, where something may be found; ``end`` if there is none."""
    while at < end and not _STARTS[data[at]]:
        at += 1
    return at


@kernel
def find_pii(data: ByteArray, offsets: OffsetArray, rows: OffsetArray, wanted: int) -> tuple[OffsetArray, OffsetArray]:
    """E-mail and public IP addresses of the texts in ``rows``.

    wanted: EMAIL, IP or both added. Returns int64 (S, 3), start, end and row of each span, in order and without overlap,
    and int64 (S,), its kind.
    """
    spans, kinds, count = np.empty((16, 3), np.int64), np.empty(16, np.int64), 0
    for row in rows:
        first, end = offsets[row], offsets[row + 1]
        at = first
        while True:
            at = _next_start(data, at, end)
            if at >= end:
                break
            byte = data[at]
            start, stop, kind = at, at, IP
            if byte == 64 and wanted & EMAIL:
                start, stop = _find_email(data, first, at, 1, end)
                kind = EMAIL
            elif (
                byte == 0xEF and wanted & EMAIL and at + 2 < end and data[at + 1] == 0xBC and data[at + 2] == 0xA0
            ):  # U+FF20, full width
                start, stop = _find_email(data, first, at, 3, end)
                kind = EMAIL
            elif _CLASS[byte] & _DIGIT and wanted & IP and (at == first or not _CLASS[data[at - 1]] & _DIGIT):
                stop = _find_ip(data, first, at, end)
            if stop <= start:
                at += 1
                continue
            if count == len(kinds):
                spans = np.concatenate((spans, np.empty_like(spans)))
                kinds = np.concatenate((kinds, np.empty_like(kinds)))
            spans[count, 0], spans[count, 1], spans[count, 2], kinds[count] = start, stop, row, kind
            count += 1
            at = first = stop
    return spans[:count], kinds[:count]


def warm() -> None:
    """Compile for read-only text, as Arrow's is."""
    data, offsets = np.frombuffer(b"a@b.cd", np.uint8), np.frombuffer(np.array([0, 6], np.int64).tobytes(), np.int64)
    find_pii(data, offsets, np.zeros(1, np.int64), EMAIL | IP)
