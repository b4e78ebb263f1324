"""Kernels that find where words begin and end: at white space, or with marks, ideographs and clitics apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from operators.kernels.blocks import BLOCK, bits_below, bits_from, count_bits, first_bit, get, last_bit, one_of, put
from operators.kernels.buffers import ByteArray, FlagArray, Int32Array, IntArray
from operators.kernels.bytewise import code_point, is_final_dot
from operators.kernels.compiled import lean_kernel
from operators.kernels.unicode_table import ALONE, MARK, PUNCTUATION, SPACE
from operators.kernels.wrapping import plus

SPLIT = 0
UNICODE = 1

_JOINERS = (0xB7, 0x2010, 0x2011, 0x2026, 0x2027)
"""Punctuation beyond ASCII that stays inside a word: · ‐ ‑ … ‧"""

_blanks = one_of(code for code in range(128) if chr(code).isspace())
_apart = one_of(b';?!*()[]{}<>@#$%&"`')
_digit_glue = one_of(b",:")
_digits = one_of(b"0123456789")
_high = one_of(range(128, 256))
_letters = one_of((*range(65, 91), *range(97, 123)))
_dots, _dashes, _quotes = one_of(b"."), one_of(b"-"), one_of(b"'")
_joining_pairs = one_of((*range(0xC3, 0xCD), *range(0xCF, 0xD5)))
"""First bytes of two that are always part of the word around them: Latin, Cyrillic, most of Greek's small letters."""
_han, _e4, _from_b8 = one_of(range(0xE5, 0xEA)), one_of((0xE4,)), one_of(range(0xB8, 0xC0))
"""First bytes of ideographs: E5 to E9 of nothing else, E4 if B8 and more follows (from U+4E00 on). No mark begins with either."""

_JOINS, _OWN, _BLANK = 0, 1, 2


@lean_kernel
def _clitic(data: ByteArray, quote: int, end: int) -> int:
    """Bytes of the English clitic that starts with the apostrophe at ``quote``: 's 'm 'd 't 'll 're 've; 0 for none."""
    size = 0
    while quote + 1 + size < end and size < 3 and 97 <= (data[quote + 1 + size] | 32) <= 122:
        size += 1
    following = data[quote + 1 + size] if quote + 1 + size < end else np.uint8(32)
    if following >= 128 or 48 <= following <= 57 or following == 45 or following == 39:
        return 0
    if size == 1:
        return 2 if (data[quote + 1] | 32) in (115, 109, 100, 116) else 0  # s m d t
    if size == 2:
        one, two = data[quote + 1] | 32, data[quote + 2] | 32
        return 3 if (one == 108 and two == 108) or (one in (114, 118) and two == 101) else 0  # ll re ve
    return 0


@lean_kernel
def _clitic_border(data: ByteArray, word: int, quote: int, end: int) -> tuple[int, int]:
    """(where the clitic with the apostrophe at ``quote`` begins, its end), (0, 0) for none; n't takes its n along."""
    size = _clitic(data, quote, end) if quote > word else 0
    if size == 0:
        return 0, 0
    if size == 2 and (data[quote + 1] | 32) == 116:
        return (quote - 1, quote + 2) if quote - word > 1 and (data[quote - 1] | 32) == 110 else (0, 0)
    return quote, quote + size


@lean_kernel
def _ascii_special(data: ByteArray, flags: FlagArray, word: int, position: int, end: int) -> tuple[int, int, int]:
    """(what the . - or ' at a position is, where that begins, where it ends); word: first byte of what it may join."""
    byte = get(data, position)
    following = get(data, position + 1) if position + 1 < end else 32
    if byte == 45:
        return (_OWN, position, position + 2) if following == 45 else (_JOINS, position, position + 1)
    if byte == 39:
        border, stop = _clitic_border(data, word, position, end)
        if stop > 0:
            return _OWN, border, stop
        inside = position > word and (48 <= following <= 57 or 97 <= (following | 32) <= 122)
        return _JOINS if inside else _OWN, position, position + 1
    run = position + 1
    while run < end and get(data, run) == 46:
        run += 1
    own = run - position > 1 or is_final_dot(data, flags, word, position, end)
    return _OWN if own else _JOINS, position, run


@lean_kernel
def _wide_special(data: ByteArray, flags: FlagArray, rule: int, position: int, end: int) -> tuple[int, int, int]:
    """The same for a character beyond ASCII; a letter that stands alone takes its combining marks along."""
    code, size = code_point(data, position)
    flag, stop = flags[code], position + size
    if flag & SPACE:
        return _BLANK, position, stop
    if rule == SPLIT:
        return _JOINS, position, stop
    if flag & ALONE:
        while stop < end and get(data, stop) >= 128:
            code, size = code_point(data, stop)
            if not flags[code] & MARK:
                break
            stop += size
        return _OWN, position, stop
    return _OWN if flag & PUNCTUATION and code not in _JOINERS else _JOINS, position, stop


@lean_kernel
def _shifted_down(bits: int, places: int) -> int:
    """The bits ``places`` (1 and more) lower, none from above."""
    return bits >> places & bits_below(BLOCK - places)


@lean_kernel
def _plain_dots(dots: int, letters: int, digits: int, apart: int, blanks: int) -> tuple[int, int]:
    """(dots that end a sentence, those that end none), of dots whose word needs no look.

    The former stand before an ASCII blank, behind a word of five or more ASCII letters and nothing else, which is no abbreviation;
    the latter before a letter or digit. A sum carries from the first letter of a word to the place behind its last.
    """
    starts = letters & (blanks | apart) << 1
    behind = plus(letters, starts) & ~letters
    long = letters & letters << 1
    long = (long & long << 2 & letters << 4) << 1
    return dots & behind & long & _shifted_down(blanks, 1), dots & _shifted_down(letters | digits, 1)


@lean_kernel
def _plain_wide(data: ByteArray, first: int, width: int, high: int) -> tuple[int, int]:
    """(first bytes of ideographs that are words without marks, bytes beyond ASCII that need a look), of those in ``high``."""
    pairs = _joining_pairs(data, first) & high & bits_below(width - 1)
    han = _han(data, first) & high
    small = _e4(data, first) & high
    if small != 0:
        han |= small & _shifted_down(_from_b8(data, first), 1)
    alone = han & _shifted_down(~high | han, 3) & bits_below(max(width - 3, 0))
    return alone, high & ~(pairs | pairs << 1 | alone | alone << 1 | alone << 2)


@lean_kernel
def _kinds(data: ByteArray, rule: int, first: int, width: int, end: int) -> tuple[int, int, int, int]:
    """(bytes that are no ASCII blanks, marks that are words, what needs a look, borders around ideographs).

    Of ``width`` bytes from ``first`` on.
    """
    inside = bits_below(width)
    solid, high, alone = ~_blanks(data, first) & inside, _high(data, first) & inside, 0
    if rule == SPLIT:
        return solid, 0, high, 0
    digits, letters = _digits(data, first) & inside, _letters(data, first) & inside
    after = first + width < end and 48 <= get(data, first + width) <= 57
    glue = _shifted_down(digits, 1) | int(after) << (width - 1)
    apart = (_apart(data, first) | _digit_glue(data, first) & ~glue) & inside
    dots, dashes = _dots(data, first) & inside, _dashes(data, first) & inside
    ends, joins = _plain_dots(dots, letters, digits, apart, ~solid & inside)
    dashes &= dashes << 1 | _shifted_down(dashes, 1) | 1 << (width - 1)
    special = dots & ~(ends | joins) | dashes | _quotes(data, first) & inside
    if high != 0:
        alone, high = _plain_wide(data, first, width, high)
    return solid, apart | ends, special | high, alone | alone << 3


@lean_kernel
def _settle(
    data: ByteArray, flags: FlagArray, rule: int, first: int, end: int, word: int, block: tuple[int, int, int]
) -> tuple[int, int, int, int]:
    """Look at what needs it in a block of (borders, solid, special); returns (borders, solid, where the last ends, its kind).

    word: where the word began that goes on in this block.
    """
    borders, solid, special = block
    stop, kind = first, _JOINS
    while special != 0:
        place = first_bit(special)
        if get(data, first + place) < 128:
            before = borders & bits_below(place + 1)
            begun = first + last_bit(before) if before != 0 else word
            kind, start, stop = _ascii_special(data, flags, begun, first + place, end)
        else:
            kind, start, stop = _wide_special(data, flags, rule, first + place, end)
        if kind != _JOINS:
            borders |= 1 << (start - first)
            if stop - first < BLOCK:
                borders |= 1 << (stop - first)
        if kind == _BLANK:
            solid &= ~(bits_from(place) & bits_below(stop - first))
        special &= bits_from(stop - first)
    return borders, solid, stop, kind


@lean_kernel
def _emit(bits: int, first: int, row: int, rows: Any) -> int:
    """Write ``first`` plus the place of each bit to rows; returns the next row. Rows behind it, up to 64, may be written.

    Eight at a time whatever there are: how many is left to chance, and a wrong guess costs as much as the eight.
    """
    count = count_bits(bits)
    for begin in range(row, row + count, 8):
        for k in range(8):
            put(rows, begin + k, first + first_bit(bits))
            bits &= bits - 1
    return row + count


@lean_kernel
def find_borders(
    data: ByteArray, flags: FlagArray, rule: int, begin: int, end: int, row: int, start: IntArray, size: Int32Array
) -> int:
    """Write the words of one text from a row on; returns the next row, or -1 when there is no room.

    With ``start`` of no rows they are counted, not written: no look at each bit, which is the larger part of the work.
    ``start``: position of the first byte; ``size``: position behind the last byte, less ``begin``. In each block ``solid``
    are the bytes that are not blank, and ``borders`` those where a word or white space begins.
    """
    first, opened, closed, word = begin, row, row, begin
    solid_before, apart_before, reach, kind = 0, 0, begin, _JOINS
    writes = start.shape[0] > 0
    while first < end:
        if writes and opened + BLOCK > start.shape[0]:
            return -1
        width = min(BLOCK, end - first)
        if first + width < end and get(data, first + width) == 39 and get(data, first + width - 1) | 32 == 110:
            width -= 1  # n't stays in one block
        solid, apart, special, borders = _kinds(data, rule, first, width, end)
        borders |= (solid ^ (solid << 1 | solid_before)) | apart | apart << 1 | apart_before
        if reach > first:  # what was looked at last goes on in this block
            borders |= 0 if kind == _JOINS or reach - first >= BLOCK else 1 << (reach - first)
            special &= bits_from(reach - first)
            solid &= bits_from(reach - first) if kind == _BLANK else -1
        elif kind != _JOINS and reach == first:
            borders |= 1
        if special != 0:
            borders, solid, reach, kind = _settle(data, flags, rule, first, end, word, (borders, solid, special))
        borders &= bits_below(width)
        if writes:
            opened = _emit(borders & solid, first, opened, start)
            closed = _emit(borders & (solid << 1 | solid_before), first - begin, closed, size)
        else:
            opened += count_bits(borders & solid)
        word = first + last_bit(borders) if borders != 0 else word
        solid_before, apart_before = solid >> (width - 1) & 1, apart >> (width - 1) & 1
        first += width
    if writes and solid_before:
        put(size, closed, end - begin)
    return opened
