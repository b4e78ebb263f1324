"""What spaCy's English tokenizer cuts off at the front and end of a stretch without blanks, and inside it."""

from __future__ import annotations

from typing import Any

from operators.kernels.buffers import ByteArray
from operators.kernels.bytewise import code_point, code_point_before
from operators.kernels.compiled import lean_kernel
from operators.kernels.spacy_rules import (
    BEFORE_DOT,
    CURRENCY,
    ICON,
    LETTER,
    NOT_LOWER,
    NOT_UPPER,
    PREFIX,
    QUOTE,
    SUFFIX,
    Rules,
    row_of,
)

_ELLIPSIS, _EN_DASH, _EM_DASH, _DEGREE = 0x2026, 0x2013, 0x2014, 0xB0
_PLUS, _COMMA, _HYPHEN, _DOT, _DOLLAR, _TILDE = 43, 44, 45, 46, 36, 126
_UNIT_BYTES = 12


@lean_kernel
def is_digit(byte: Any) -> bool:
    """Whether a byte is an ASCII digit."""
    return 48 <= byte <= 57


@lean_kernel
def _dots(data: ByteArray, first: int, last: int) -> int:
    """Dots from a position on."""
    position = first
    while position < last and data[position] == _DOT:
        position += 1
    return position - first


@lean_kernel
def _letter_dollar(data: ByteArray, first: int, last: int) -> int:
    """Bytes of US$, C$ or A$ at a position; 0 where there is none."""
    if last - first >= 3 and data[first] == 85 and data[first + 1] == 83 and data[first + 2] == _DOLLAR:
        return 3
    return 2 if last - first >= 2 and data[first] in (65, 67) and data[first + 1] == _DOLLAR else 0


@lean_kernel
def prefix_size(data: ByteArray, rules: Rules, first: int, last: int) -> int:
    """Bytes to be cut off at the front, 0 for none."""
    code, size = code_point(data, first)
    if rules.classes[code] & PREFIX:
        return size
    if code == _PLUS:
        return 0 if first + 1 < last and is_digit(data[first + 1]) else 1
    if code == _DOT:
        dots = _dots(data, first, last)
        return dots if dots > 1 else 0
    return _letter_dollar(data, first, last)


@lean_kernel
def _dot_size(data: ByteArray, rules: Rules, first: int, last: int) -> int:
    """Dots to be cut off at the end, of which there is one at least."""
    position = last - 1
    while position > first and data[position - 1] == _DOT:
        position -= 1
    if last - position > 1:
        return last - position
    if position == first:
        return 0
    code, size = code_point_before(data, position)
    kinds = rules.classes[code]
    if kinds & BEFORE_DOT:
        return 1
    if position - size <= first:
        return 0
    before, _ = code_point_before(data, position - size)
    two_capitals = kinds & NOT_LOWER and rules.classes[before] & NOT_LOWER
    return 1 if two_capitals or (before == _DEGREE and code in (67, 70, 75, 99, 102, 107)) else 0


@lean_kernel
def _measure_size(data: ByteArray, rules: Rules, first: int, last: int, code: Any, size: int) -> int:
    """Bytes of the unit or money sign after a digit at the end, whose last character is given."""
    if rules.classes[code] & CURRENCY:
        for back in (3, 2):
            if (
                last - first > back
                and is_digit(data[last - back - 1])
                and _letter_dollar(data, last - back, last) == back
            ):
                return back
        return size if last - first > size and is_digit(data[last - size - 1]) else 0
    position = last
    while position > first and last - position <= _UNIT_BYTES and not is_digit(data[position - 1]):
        position -= 1
    if position in (first, last) or not is_digit(data[position - 1]):
        return 0
    return last - position if row_of(rules.units, data, position, last) >= 0 else 0


@lean_kernel
def suffix_size(data: ByteArray, rules: Rules, first: int, last: int) -> int:
    """Bytes to be cut off at the end, 0 for none; of several rules the one that takes most."""
    if first == last:
        return 0
    code, size = code_point_before(data, last)
    if code == _DOT:
        return _dot_size(data, rules, first, last)
    measure = _measure_size(data, rules, first, last, code, size)
    if rules.classes[code] & SUFFIX:
        pair = code == _ELLIPSIS and last - first >= 2 * size and code_point_before(data, last - size)[0] == _ELLIPSIS
        return max(measure, 2 * size if pair else size)
    if code == _PLUS:
        return 1 if last - first > 1 and is_digit(data[last - 2]) else 0
    if code in (83, 115) and last - first > 1:
        quote, width = code_point_before(data, last - 1)
        if quote in (39, 0x2019):
            return max(measure, 1 + width)
    return measure


@lean_kernel
def _hyphen_size(data: ByteArray, code: Any, size: int, position: int, last: int) -> int:
    """Bytes of the hyphen or dash at a position, 0 where what stands there is none."""
    if code == _HYPHEN:
        stop = position
        while stop < last and stop - position <= 3 and data[stop] == _HYPHEN:
            stop += 1
        return stop - position if stop - position <= 3 else 0
    if code == _EM_DASH:
        return 2 * size if position + size < last and code_point(data, position + size)[0] == _EM_DASH else size
    return size if code in (_EN_DASH, _TILDE) else 0


@lean_kernel
def infix_size(data: ByteArray, rules: Rules, first: int, position: int, last: int) -> int:
    """Bytes to be cut out at a position after ``first``, 0 for none."""
    code, size = code_point(data, position)
    classes = rules.classes
    if classes[code] & ICON:
        return size
    if code == _DOT:
        dots = _dots(data, position, last)
        if dots > 1:
            return dots
    if classes[code] & LETTER or position == first:
        return 0
    before = code_point_before(data, position)[0]
    after_digit, after_letter = is_digit(before), classes[before] & LETTER != 0
    if after_digit and code in (_PLUS, _HYPHEN, 42, 94) and position + 1 < last:  # + - * ^
        if is_digit(data[position + 1]) or data[position + 1] == _HYPHEN:
            return 1
    hyphen = _hyphen_size(data, code, size, position, last)
    stop = position + max(size, hyphen)
    if stop >= last:
        return 0
    following = code_point(data, stop)[0]
    if code == _DOT:
        fits = classes[before] & (NOT_UPPER | QUOTE) and classes[following] & (NOT_LOWER | QUOTE)
        return 1 if fits else 0
    if classes[following] & LETTER == 0:
        return 0
    if code == _COMMA:
        return 1 if after_letter else 0
    if after_letter or after_digit:
        if hyphen:
            return hyphen
        return 1 if code in (47, 58, 60, 61, 62) else 0  # / : < = >
    return 0
