"""How much work the nesting of a page's tags makes for an HTML parser, found without parsing it."""

from __future__ import annotations

import numpy as np

from operators.kernels.buffers import ByteArray, OffsetArray
from operators.kernels.compiled import kernel

_FNV_OFFSET = 14695981039346656037
_FNV_PRIME = 1099511628211

_VOID, _OPTIONAL, _FORMATTING, _RAW = 1, 2, 3, 4
_MAX_OPEN = 8192
"""Open elements followed; no page within the budgets in use gets there."""
_EQUAL_FORMATTING = 3
"""HTML standard 13.2.4.3: of equal active formatting elements only the last three are kept (Noah's Ark clause)."""


def _name_hash(name: str) -> int:
    value = _FNV_OFFSET
    for byte in name.encode():
        value = ((value ^ byte) * _FNV_PRIME) % 2**64
    return value


def _kinds() -> tuple[np.ndarray, np.ndarray]:
    names = {
        _VOID: "area base basefont bgsound br col embed frame hr image img input keygen link meta param source track wbr",
        # Their end tags may be left out, so that an unclosed one says nothing about depth.
        _OPTIONAL: "html head body p li dt dd tr td th thead tbody tfoot colgroup caption option optgroup rp rt rb rtc",
        _FORMATTING: "a b big code em font i nobr s small strike strong tt u",
        _RAW: "script style textarea title xmp iframe noembed noframes",
    }
    pairs = sorted((_name_hash(name), kind) for kind, row in names.items() for name in row.split())
    return np.array([name for name, _ in pairs], np.uint64), np.array([kind for _, kind in pairs], np.uint8)


_NAMES, _KINDS = _kinds()
_A = np.uint64(_name_hash("a"))
_SVG = np.uint64(_name_hash("svg"))


@kernel
def _lower(byte: np.uint8) -> np.uint8:
    return byte | np.uint8(32) if 65 <= byte <= 90 else byte


@kernel
def _is_letter(byte: np.uint8) -> bool:
    return 97 <= (byte | 32) <= 122


@kernel
def _tag_name(data: ByteArray, at: int, end: int) -> tuple[int, np.uint64]:
    """Position behind the tag name that starts at ``at``, and its hash."""
    name = np.uint64(_FNV_OFFSET)
    while at < end and data[at] > 32 and data[at] != 62 and data[at] != 47:
        name = (name ^ np.uint64(_lower(data[at]))) * np.uint64(_FNV_PRIME)
        at += 1
    return at, name


@kernel
def _tag_end(data: ByteArray, at: int, end: int, name: np.uint64) -> tuple[int, np.uint64]:
    """Position of the ``>`` that ends the tag (quoted ones passed over), and a hash of name and attributes."""
    whole = name
    quote = np.uint8(0)
    previous = np.uint8(0)
    while at < end:
        byte = data[at]
        if quote:
            if byte == quote:
                quote = np.uint8(0)
        elif byte == 62:
            break
        elif previous == 61 and (byte == 34 or byte == 39):
            quote = byte
        if byte > 32:
            previous = byte
        whole = (whole ^ np.uint64(byte)) * np.uint64(_FNV_PRIME)
        at += 1
    return at, whole


@kernel
def _skip_comment(data: ByteArray, at: int, end: int) -> int:
    """Position behind the comment whose text starts at ``at``."""
    at = max(at, 2)
    while at < end and not (data[at] == 62 and data[at - 1] == 45 and data[at - 2] == 45):
        at += 1
    return at + 1


@kernel
def _skip_raw(data: ByteArray, at: int, end: int, name: np.uint64) -> int:
    """Position of the end tag of a script, style or the like whose content starts at ``at``; ``end`` if there is none."""
    while at + 1 < end:
        if data[at] == 60 and data[at + 1] == 47 and _tag_name(data, at + 2, end)[1] == name:
            return at
        at += 1
    return end


@kernel
def _kind(name: np.uint64) -> int:
    at = np.searchsorted(_NAMES, name)
    return _KINDS[at] if at < len(_NAMES) and _NAMES[at] == name else 0


@kernel
def _remove_last(names: np.ndarray, wholes: np.ndarray, count: int, name: np.uint64) -> int:
    """Take the last entry called ``name`` out of a list of ``count``; returns the new count."""
    at = count - 1
    while at >= 0 and names[at] != name:
        at -= 1
    if at < 0:
        return count
    for later in range(at + 1, count):
        names[later - 1] = names[later]
        wholes[later - 1] = wholes[later]
    return count - 1


@kernel
def _page_cost(data: ByteArray, start: int, end: int, budget: int, names: np.ndarray) -> int:
    """Cost of one page; names: uint64 (3, _MAX_OPEN) to work in: open elements, formatting elements, their hashes."""
    elements, formats, wholes = names[0], names[1], names[2]
    num_elements, num_formats, num_svg, cost, at = 0, 0, 0, 0, start
    while at + 1 < end and cost <= budget:
        if data[at] != 60:
            at += 1
            continue
        at += 1
        if data[at] == 33 and at + 2 < end and data[at + 1] == 45 and data[at + 2] == 45:
            at = _skip_comment(data, at + 3, end)
            continue
        closing = data[at] == 47
        at += closing
        if at >= end or not _is_letter(data[at]):
            continue
        at, name = _tag_name(data, at, end)
        at, whole = _tag_end(data, at, end, name)
        kind = _kind(name)
        cost += 1 + num_elements + num_formats
        if kind == _VOID or kind == _OPTIONAL or (num_svg > 0 and at < end and data[at - 1] == 47):
            continue
        if max(num_elements, num_formats) >= _MAX_OPEN:
            return budget + 1
        if kind == _RAW:
            if not closing:
                at = _skip_raw(data, at, end, name)
        elif kind == _FORMATTING:
            if closing or name == _A:
                num_formats = _remove_last(formats, wholes, num_formats, name)
            if not closing and np.sum(wholes[:num_formats] == whole) < _EQUAL_FORMATTING:
                formats[num_formats], wholes[num_formats] = name, whole
                num_formats += 1
        elif closing:
            depth = num_elements - 1
            while depth >= 0 and elements[depth] != name:
                depth -= 1
            if depth >= 0:
                num_elements = depth
                num_svg -= name == _SVG
        else:
            elements[num_elements] = name
            num_elements += 1
            num_svg += name == _SVG
    return cost


@kernel
def nesting_costs(data: ByteArray, offsets: OffsetArray, budgets_N: OffsetArray) -> OffsetArray:
    """For each of N pages the sum over its tags of the elements open there, or more than its budget when it exceeds it.

    budgets_N: int64 (N,); counting stops beyond it. Time is linear in bytes plus budget.
    Returns int64 (N,). Parsing, and finding the main text, takes time and memory up to in proportion to this sum.
    """
    costs_N = np.zeros(len(budgets_N), np.int64)
    names = np.zeros((3, _MAX_OPEN), np.uint64)
    for page in range(len(budgets_N)):
        costs_N[page] = _page_cost(data, offsets[page], offsets[page + 1], budgets_N[page], names)
    return costs_N


def warm() -> None:
    """Compile for read-only and for writable text, as both occur."""
    page = np.frombuffer(b"<p><b>x</b>", np.uint8)
    offsets = np.frombuffer(np.array([0, len(page)], np.int64).tobytes(), np.int64)
    nesting_costs(page, offsets, np.array([10], np.int64))
