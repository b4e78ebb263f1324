"""How much work the nesting of a page's tags makes for an HTML parser, found without parsing it."""

from __future__ import annotations

import numpy as np

from operators.kernels.buffers import ByteArray, OffsetArray
from operators.kernels.compiled import kernel

_FNV_OFFSET = 14695981039346656037
_FNV_PRIME = 1099511628211

_ORDINARY, _IGNORED, _VOID, _RAW, _FORMATTING, _SPECIAL = range(6)
_PARAGRAPH, _ITEM, _TERM, _OPTION, _RUBY, _CELL, _ROW, _SECTION = range(6, 14)
"""Elements whose end tag may be left out; from _CELL on the parts of a table, inner ones first."""

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
        _IGNORED: "html head body",
        _VOID: "area base basefont bgsound br col embed frame hr image img input keygen link meta param source track wbr",
        _RAW: "script style textarea title xmp iframe noembed noframes",
        _FORMATTING: "a b big code em font i nobr s small strike strong tt u",
        _SPECIAL: (
            "address applet article aside blockquote button center details dialog dir div dl fieldset figcaption figure "
            "footer form h1 h2 h3 h4 h5 h6 header hgroup listing main marquee menu nav noscript object ol plaintext pre "
            "search section select summary table template ul"
        ),
        _PARAGRAPH: "p",
        _ITEM: "li",
        _TERM: "dd dt",
        _OPTION: "option optgroup",
        _RUBY: "rb rt rtc rp",
        _CELL: "td th",
        _ROW: "tr",
        _SECTION: "thead tbody tfoot caption colgroup",
    }
    pairs = sorted((_name_hash(name), kind) for kind, row in names.items() for name in row.split())
    return np.array([name for name, _ in pairs], np.uint64), np.array([kind for _, kind in pairs], np.uint8)


_NAMES, _KINDS = _kinds()
_A = np.uint64(_name_hash("a"))
_SVG = np.uint64(_name_hash("svg"))
_TABLE = np.uint64(_name_hash("table"))


@kernel
def _lower(byte: np.uint8) -> np.uint8:
    return byte | np.uint8(32) if 65 <= byte <= 90 else byte


@kernel
def _is_letter(byte: np.uint8) -> bool:
    return bool(97 <= (byte | 32) <= 122)


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
        elif previous == 61 and byte in (34, 39):
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
def _next_tag(data: ByteArray, at: int, end: int) -> tuple[int, np.uint64, np.uint64, bool]:
    """The tag from ``at`` on: where it ends, hashes of its name and of all of it, whether it is an end tag.

    The name is 0 where something else ended there: the text, a comment, a lone ``<``.
    """
    nothing = np.uint64(0)
    while at < end and data[at] != 60:
        at += 1
    at += 1
    if at >= end:
        return end, nothing, nothing, False
    if data[at] == 33 and at + 2 < end and data[at + 1] == 45 and data[at + 2] == 45:
        return _skip_comment(data, at + 3, end), nothing, nothing, False
    closing = data[at] == 47
    at += closing
    if at >= end or not _is_letter(data[at]):
        return at, nothing, nothing, False
    at, name = _tag_name(data, at, end)
    at, whole = _tag_end(data, at, end, name)
    return at, name, whole, closing


@kernel
def _kind(name: np.uint64) -> int:
    at = np.searchsorted(_NAMES, name)
    return _KINDS[at] if at < len(_NAMES) and _NAMES[at] == name else 0


@kernel
def _remove_last(names: np.ndarray, others: np.ndarray, count: int, name: np.uint64) -> int:
    """Take the last entry called ``name`` out of two lists of ``count``; returns the new count."""
    at = count - 1
    while at >= 0 and names[at] != name:
        at -= 1
    if at < 0:
        return count
    for later in range(at + 1, count):
        names[later - 1] = names[later]
        others[later - 1] = others[later]
    return count - 1


@kernel
def _left_by(elements: np.ndarray, kinds: np.ndarray, count: int, kind: int) -> int:
    """How many elements stay open when one whose end tag may be left out, of this kind, begins or ends."""
    left = count
    for at in range(count - 1, -1, -1):
        if kind >= _CELL:
            if elements[at] == _TABLE:
                break
            if _CELL <= kinds[at] <= kind:
                left = at
        elif kinds[at] == kind:
            return at
        elif not (
            kinds[at] == _FORMATTING or kinds[at] == _ORDINARY or (kinds[at] == _PARAGRAPH and kind != _PARAGRAPH)
        ):
            break
    return left


@kernel
def _left_by_end_tag(elements: np.ndarray, kinds: np.ndarray, count: int, name: np.uint64, kind: int) -> int:
    """How many elements stay open after the end tag of an ordinary or special element."""
    for at in range(count - 1, -1, -1):
        if elements[at] == name:
            return at
        if kinds[at] >= _CELL or (elements[at] == _TABLE) or (kind == _ORDINARY and kinds[at] >= _SPECIAL):
            break
    return count


@kernel
def _page_cost(data: ByteArray, start: int, end: int, budget: int, lists: np.ndarray) -> int:
    """Cost of one page. lists: uint64 (4, _MAX_OPEN) to work in.

    The open elements and their kinds; the formatting elements that the parser opens again in each block, and their hashes.
    """
    elements, kinds, formats, wholes = lists[0], lists[1], lists[2], lists[3]
    num_elements, num_formats, num_svg, num_tables, cost, at = 0, 0, 0, 0, 0, start
    while at + 1 < end and cost <= budget:
        at, name, whole, closing = _next_tag(data, at, end)
        if name == 0:
            continue
        kind = _kind(name)
        cost += 1 + num_elements + num_formats
        if kind == _RAW and not closing:
            at = _skip_raw(data, at, end, name)
        if kind in (_IGNORED, _VOID, _RAW) or (num_svg > 0 and at < end and data[at - 1] == 47):
            continue
        if max(num_elements, num_formats) >= _MAX_OPEN:
            return budget + 1
        if kind >= _PARAGRAPH:
            num_elements = _left_by(elements, kinds, num_elements, kind)
        elif kind == _FORMATTING and (closing or name == _A):
            num_formats = _remove_last(formats, wholes, num_formats, name)
            num_elements = _remove_last(elements, kinds, num_elements, name)
        elif closing:
            left = _left_by_end_tag(elements, kinds, num_elements, name, kind)
            num_svg -= name == _SVG and left < num_elements
            num_tables -= name == _TABLE and left < num_elements
            num_elements = left
        if closing or (kind >= _CELL and num_tables == 0):
            continue
        if kind == _FORMATTING and np.sum(wholes[:num_formats] == whole) < _EQUAL_FORMATTING:
            formats[num_formats], wholes[num_formats] = name, whole
            num_formats += 1
        elements[num_elements], kinds[num_elements] = name, kind
        num_elements += 1
        num_svg += name == _SVG
        num_tables += name == _TABLE
    return cost


@kernel
def nesting_costs(data: ByteArray, offsets: OffsetArray, budgets: OffsetArray) -> OffsetArray:
    """For each of N pages the sum over its tags of the elements open there, or more than its budget when it exceeds it.

    budgets: int64 (N,); counting stops beyond it. Time is linear in bytes plus budget.
    Returns int64 (N,). Parsing, and finding the main text, takes time and memory up to in proportion to this sum.
    """
    costs = np.zeros(len(budgets), np.int64)
    lists = np.zeros((4, _MAX_OPEN), np.uint64)
    for page in range(len(budgets)):
        costs[page] = _page_cost(data, offsets[page], offsets[page + 1], budgets[page], lists)
    return costs


def warm() -> None:
    """Compile for read-only and for writable text, as both occur."""
    page = np.frombuffer(b"<p><b>x</b>", np.uint8)
    offsets = np.frombuffer(np.array([0, len(page)], np.int64).tobytes(), np.int64)
    nesting_costs(page, offsets, np.array([10], np.int64))
