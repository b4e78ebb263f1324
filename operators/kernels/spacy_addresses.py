"""Whether a stretch without blanks is an address as spaCy takes one whole: a URL, a host name, an e-mail address.

Source: the pattern ``URL_PATTERN`` of spaCy 3.8 (after Diego Perini's), told in its own words below. Of several ``@`` only
the first and the last are tried as the end of a user name.
"""

from __future__ import annotations

from typing import Any

from operators.kernels.buffers import ByteArray, FlagArray
from operators.kernels.bytewise import code_point, code_point_before
from operators.kernels.compiled import lean_kernel
from operators.kernels.spacy_affixes import is_digit
from operators.kernels.spacy_rules import NOT_UPPER
from operators.kernels.unicode_table import ALPHA, NUMERIC

_DOT, _COLON, _SLASH, _AT = 46, 58, 47, 64
_MAX_LABEL, _MAX_TLD = 64, 63


@lean_kernel
def is_address(data: ByteArray, flags: FlagArray, classes: FlagArray, first: int, last: int) -> bool:
    """Whether ``data[first:last]`` is [scheme://][user@]host[:port][/path], the host with a top-level domain or an IP."""
    dotted, at_first, at_last = False, -1, -1
    for position in range(first, last):
        byte = data[position]
        if byte == _DOT:
            dotted = True
        elif byte == _AT:
            at_last = position
            if at_first < 0:
                at_first = position
    if not dotted:
        return False
    after_scheme = _past_scheme(data, flags, first, last)
    if _is_host(data, classes, first, last) or _is_host(data, classes, after_scheme, last):
        return True
    # A user name has a character at least, and no scheme need be told from it.
    if at_first > first and _is_host(data, classes, at_first + 1, last):
        return True
    return at_last > first and _is_host(data, classes, at_last + 1, last)


@lean_kernel
def _past_scheme(data: ByteArray, flags: FlagArray, first: int, last: int) -> int:
    """Where what follows ``://`` begins, ``first`` where no scheme stands before it."""
    position, chars = first, 0
    while position < last and data[position] != _COLON:
        code, size = code_point(data, position)
        if not (flags[code] & (ALPHA | NUMERIC) or code in (95, 43, 45, 46)):
            return first
        position += size
        chars += 1
    slashes = position + 2 < last and data[position + 1] == _SLASH and data[position + 2] == _SLASH
    return position + 3 if slashes and chars >= 2 else first


@lean_kernel
def _is_host(data: ByteArray, classes: FlagArray, first: int, last: int) -> bool:
    """Whether a host, perhaps a port, and perhaps a path fill the stretch."""
    stop = first
    while stop < last and data[stop] not in (_COLON, _SLASH, 63, 35):
        stop += 1
    end = stop
    if stop < last and data[stop] == _COLON:
        stop += 1
        digits = 0
        while stop < last and is_digit(data[stop]):
            stop += 1
            digits += 1
        if not 2 <= digits <= 5 or (stop < last and data[stop] not in (_SLASH, 63, 35)):
            return False
    return _is_domain(data, classes, first, end) or _is_public_ip(data, first, end)


@lean_kernel
def _is_domain(data: ByteArray, classes: FlagArray, first: int, end: int) -> bool:
    """Labels with dots between, of which the last has 2 to 63 letters that are no capitals."""
    position, chars = end, 0
    while position > first:
        code, size = code_point_before(data, position)
        if code == _DOT:
            break
        if not classes[code] & NOT_UPPER or chars == _MAX_TLD:
            return False
        position -= size
        chars += 1
    if chars < 2 or position == first:
        return False
    last_label, label, ends_well = position - 1, 0, False
    position = first
    while position <= last_label:
        code, size = code_point(data, position)
        if code == _DOT:
            if label == 0 or not ends_well:
                return False
            label = 0
        else:
            ends_well = _in_label(code)
            label += 1
            if label > _MAX_LABEL or not (ends_well or (label > 1 and code in (45, 95))):
                return False
        position += size
    return True


@lean_kernel
def _in_label(code: Any) -> bool:
    """A-Z a-z 0-9, and U+00A1 to U+FFFF."""
    return is_digit(code) or 97 <= code | 32 <= 122 or 0xA1 <= code <= 0xFFFF


@lean_kernel
def _is_public_ip(data: ByteArray, first: int, end: int) -> bool:
    """Four numbers with dots between, of no private or special network."""
    a, b, c, d, octet, digits, value = 0, 0, 0, 0, 0, 0, 0
    for position in range(first, end + 1):
        if position < end and is_digit(data[position]):
            value = value * 10 + int(data[position]) - 48
            digits += 1
            if digits > 3 or value > 255:
                return False
            continue
        if digits == 0 or octet > 3 or (position < end and data[position] != _DOT):
            return False
        if octet == 0:
            a = value
        elif octet == 1:
            b = value
        elif octet == 2:
            c = value
        else:
            d = value
        octet, digits, value = octet + 1, 0, 0
    private = a in (10, 127) or (a == 169 and b == 254) or (a == 192 and b == 168) or (a == 172 and 16 <= b <= 31)
    return octet == 4 and 1 <= a <= 223 and 1 <= d <= 254 and c >= 0 and not private
