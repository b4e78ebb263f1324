"""Small kernels over UTF-8 bytes that the others share: decoding, trimming, hashing, comparing, sentence ends."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from operators.kernels.blocks import BLOCK, bits_below, count_bits, get, last_bit, one_of
from operators.kernels.buffers import ByteArray, FlagArray
from operators.kernels.compiled import lean_kernel
from operators.kernels.secret import fold, secret
from operators.kernels.unicode_table import SPACE
from operators.kernels.wrapping import plus, times

_ONES = 0x0101010101010101
_LOW_BITS = 0x7F7F7F7F7F7F7F7F
_continuations = one_of(range(0x80, 0xC0))


def _load_word(_context: Any, data: Any, position: Any) -> Any:  # noqa: ARG001
    def load(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        address = builder.gep(array.data, [args[1]])
        return builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()), align=1)

    return types.int64(data, types.int64), load


def _store_word(_context: Any, data: Any, position: Any, word: Any) -> Any:  # noqa: ARG001
    def store(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        address = builder.gep(array.data, [args[1]])
        builder.store(args[2], builder.bitcast(address, ir.IntType(64).as_pointer()), align=1)
        return context.get_dummy_value()

    return types.none(data, types.int64, types.int64), store


load_word: Any = intrinsic(_load_word)
"""``load_word(data, position)``: eight bytes of a uint8 array as int64, lowest first; the caller sees that they are there."""

store_word: Any = intrinsic(_store_word)
"""``store_word(data, position, word)``: its opposite."""


@lean_kernel
def copy_bytes(data: ByteArray, first: int, last: int, target: ByteArray, position: int) -> None:
    """Copy ``data[first:last]`` to ``target[position:]``, which needs room for 8 bytes more."""
    while first + 8 <= data.shape[0] and first < last:
        store_word(target, position, load_word(data, first))
        first += 8
        position += 8
    while first < last:
        target[position] = data[first]
        first += 1
        position += 1


@lean_kernel
def load_part(data: ByteArray, position: int, size: int) -> Any:
    """The same of ``size`` < 8 bytes; the others are 0."""
    if position + 8 <= data.shape[0]:
        return load_word(data, position) & ((np.int64(1) << (8 * size)) - 1)
    word = np.int64(0)
    for k in range(size):
        word |= np.int64(data[position + k]) << (8 * k)
    return word


@lean_kernel
def code_point(data: ByteArray, position: int) -> tuple[Any, int]:
    """(code point, bytes) at a position of valid UTF-8."""
    lead = np.int64(data[position])
    if lead < 0x80:
        return lead, 1
    if lead < 0xE0:
        return (lead & 0x1F) << 6 | (data[position + 1] & 0x3F), 2
    if lead < 0xF0:
        return (lead & 0x0F) << 12 | (np.int64(data[position + 1]) & 0x3F) << 6 | (data[position + 2] & 0x3F), 3
    high = (lead & 0x07) << 18 | (np.int64(data[position + 1]) & 0x3F) << 12
    return high | (np.int64(data[position + 2]) & 0x3F) << 6 | (data[position + 3] & 0x3F), 4


@lean_kernel
def code_point_before(data: ByteArray, position: int) -> tuple[Any, int]:
    """(code point, bytes) of the character that ends before a position."""
    first = position - 1
    while data[first] & 0xC0 == 0x80:
        first -= 1
    return code_point(data, first)


@lean_kernel
def has_byte(word: int, repeated: int) -> bool:
    """Whether one of the 8 bytes of a word is the byte that ``repeated`` holds 8 times."""
    word ^= repeated
    return ((plus(word & _LOW_BITS, _LOW_BITS) | word) | _LOW_BITS) != -1


@lean_kernel
def next_byte(data: ByteArray, position: int, last: int, byte: int) -> int:
    """Position of the first ``byte`` (ASCII) from ``position`` on, or ``last``."""
    repeated = times(byte, _ONES)
    while position + 8 <= last:
        if has_byte(load_word(data, position), repeated):
            break
        position += 8
    while position < last and data[position] != byte:
        position += 1
    return position


@lean_kernel
def count_chars(data: ByteArray, first: int, last: int) -> int:
    """Code points in ``data[first:last]``: bytes that do not go on a character (10xxxxxx)."""
    chars, position = last - first, first
    if data.shape[0] >= BLOCK:
        while position < last:
            chars -= count_bits(_continuations(data, position) & bits_below(last - position))
            position += BLOCK
        return chars
    while position < last:
        chars -= (data[position] & 0xC0) == 0x80
        position += 1
    return chars


@lean_kernel
def trim(data: ByteArray, flags: FlagArray, first: int, last: int) -> tuple[int, int, int]:
    """``str.strip()``: (first, last, code points taken off)."""
    if first < last and 32 < get(data, first) < 127 and 32 < get(data, last - 1) < 127:
        return first, last, 0
    taken = 0
    while first < last:
        code, size = code_point(data, first)
        if not flags[code] & SPACE:
            break
        first += size
        taken += 1
    while first < last:
        code, size = code_point_before(data, last)
        if not flags[code] & SPACE:
            break
        last -= size
        taken += 1
    return first, last, taken


@lean_kernel
def hash_bytes(data: ByteArray, first: int, last: int) -> int:
    """64-bit hash of ``data[first:last]`` as int64, another in every process."""
    one, other = secret(0), secret(1)
    result, position = fold((last - first) ^ one, other), first
    if last - first >= 16:
        while position + 16 < last:
            result = fold(load_word(data, position) ^ one, load_word(data, position + 8) ^ other ^ result)
            position += 16
        # The last 16 bytes, some of them once more: where a rest begins is left to chance.
        return fold(load_word(data, last - 16) ^ one, load_word(data, last - 8) ^ other ^ result)
    if position + 8 <= last:
        result = fold(result ^ one, load_word(data, position) ^ other)
        position += 8
    if position < last:
        result = fold(result ^ one, load_part(data, position, last - position) ^ other)
    return result


@lean_kernel
def hash_short(data: ByteArray, first: int, size: int) -> Any:
    """``hash_word`` of up to 16 bytes, without a branch; 8 bytes must be there from ``first`` on."""
    head, tail = load_word(data, first), load_word(data, max(first + size - 8, 0))
    mixed = fold(head ^ secret(0), plus(tail, size) ^ secret(1))
    short = head & ((np.int64(1) << (8 * size & 63)) - 1) | size << 56
    return short if size < 8 else mixed | np.int64(-0x8000000000000000)


@lean_kernel
def hash_word(data: ByteArray, first: int, last: int) -> Any:
    """int64: up to 7 bytes themselves (>= 0, and equal only for equal words), a hash (< 0) of longer words.

    The hash is another in every process (see ``secret``).
    """
    size = last - first
    if first + 8 > data.shape[0]:
        return load_part(data, first, size) | size << 56
    if size > 16:
        return hash_bytes(data, first, last) | np.int64(-0x8000000000000000)
    return hash_short(data, first, size)


@lean_kernel
def same_bytes(data: ByteArray, one: int, other: int, size: int) -> bool:
    """Whether two stretches of ``size`` bytes are equal."""
    if size < 8:
        return load_part(data, one, size) == load_part(data, other, size)
    k = 0
    while k + 8 < size:
        if load_word(data, one + k) != load_word(data, other + k):
            return False
        k += 8
    return load_word(data, one + size - 8) == load_word(data, other + size - 8)


@lean_kernel
def slot_of(value: Any, mask: int) -> Any:
    """Home slot of a 64-bit value in a table of ``mask + 1`` (a power of two) slots, another in every process."""
    return fold(value ^ secret(0), secret(1) | 1) & mask


@lean_kernel
def table_mask(entries: int) -> int:
    """Slots, minus one, of a table at most half full with that many entries."""
    return (2 << last_bit(max(2 * entries - 1, 2))) - 1


@lean_kernel
def is_closer(data: ByteArray, position: int, end: int) -> int:
    """Bytes of the closing quote or bracket at a position, 0 if there is none."""
    if position >= end:
        return 0
    byte = data[position]
    if byte < 128:
        return 1 if byte in (41, 93, 125, 62, 34, 39) else 0
    code, size = code_point(data, position)
    return size if code in (0xBB, 0x2019, 0x201D, 0x300D, 0x300F, 0x300B, 0x3009, 0x3011, 0xFF09) else 0


@lean_kernel
def is_abbreviation(data: ByteArray, first: int, last: int) -> bool:
    """Whether ``data[first:last]``, which a dot follows, is a single letter, holds dots itself, or is a title or the like."""
    size = last - first
    if size == 1:
        return 97 <= (data[first] | 32) <= 122
    key = np.int64(0)
    for position in range(first, last):
        if data[position] == 46:
            return True
        if position - first < 7:
            key = key << 8 | (data[position] | 32)
    if size > 4:
        return False
    # mr mrs ms dr st vs inc ltd co corp jr sr no gen rep sen gov capt lt col sgt rev hon prof etc mt ft pp cf al fig vol jan feb aug sep sept oct nov dec
    # ave bros dept est
    return key in (
        0x6D72, 0x6D7273, 0x6D73, 0x6472, 0x7374, 0x7673, 0x696E63, 0x6C7464, 0x636F, 0x636F7270, 0x6A72, 0x7372,
        0x6E6F, 0x67656E, 0x726570, 0x73656E, 0x676F76, 0x63617074, 0x6C74, 0x636F6C, 0x736774, 0x726576, 0x686F6E,
        0x70726F66, 0x6D74, 0x6674, 0x7070, 0x6366, 0x666967, 0x766F6C, 0x657463, 0x6A616E, 0x666562, 0x617567,
        0x736570, 0x73657074, 0x6F6374, 0x6E6F76, 0x646563, 0x617665, 0x62726F73, 0x64657074, 0x657374,
    )  # fmt: skip


@lean_kernel
def is_final_dot(data: ByteArray, flags: FlagArray, word: int, dot: int, end: int) -> bool:
    """Whether the dot at ``dot`` ends a sentence: closing quotes may follow, then white space or the end.

    ``word``: first byte of the word before it, which must be no abbreviation unless the text ends there; ``end``: of the
    text. Whether the next word is lower-case does not matter, as in Punkt.
    """
    position = dot + 1
    size = is_closer(data, position, end)
    while size > 0:
        position += size
        size = is_closer(data, position, end)
    if position >= end:
        return True
    if not flags[code_point(data, position)[0]] & SPACE:
        return False
    if not is_abbreviation(data, word, dot):
        return True
    return next_solid(data, flags, position, end) >= end


@lean_kernel
def next_solid(data: ByteArray, flags: FlagArray, position: int, end: int) -> int:
    """First position from ``position`` on that holds no white space, or ``end``."""
    while position < end:
        code, size = code_point(data, position)
        if not flags[code] & SPACE:
            break
        position += size
    return position
