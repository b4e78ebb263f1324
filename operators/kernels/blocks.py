"""Many bytes at a time: which of them are of a kind, as the bits of a word, lowest first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from operators.kernels.compiled import lean_kernel

BLOCK = 64
"""Bytes of a block."""

_WORD = ir.IntType(64)


def _word(value: int) -> Any:
    return ir.Constant(_WORD, value)


def _runs(members: Iterable[int]) -> list[tuple[int, int]]:
    """Runs of consecutive numbers, (first, last) each."""
    runs: list[tuple[int, int]] = []
    for member in sorted(set(members)):
        if runs and runs[-1][1] == member - 1:
            runs[-1] = (runs[-1][0], member)
        else:
            runs.append((member, member))
    return runs


def _load(builder: Any, array: Any, position: Any, block_type: Any) -> tuple[Any, Any]:
    """(block from a position on, or the last one of the array; how many elements of that lie before the position)."""
    width = block_type.count
    beyond = builder.sub(builder.add(position, _word(width)), builder.extract_value(array.shape, 0))
    back = builder.select(builder.icmp_signed(">", beyond, _word(0)), beyond, _word(0))
    address = builder.gep(array.data, [builder.sub(position, back)])
    return builder.load(builder.bitcast(address, block_type.as_pointer()), align=1), back


def _load_whole(builder: Any, array: Any, position: Any, block_type: Any) -> tuple[Any, Any]:
    """The same where the whole block is known to be there."""
    address = builder.gep(array.data, [position])
    return builder.load(builder.bitcast(address, block_type.as_pointer()), align=1), _word(0)


def _as_word(builder: Any, found: Any, back: Any) -> Any:
    """Answers for a block as an int64, without those that lie before the position."""
    width = found.type.count
    bits = builder.bitcast(found, ir.IntType(width))
    bits = builder.lshr(bits if width == BLOCK else builder.zext(bits, _WORD), back)
    return builder.select(builder.icmp_signed("<", back, _word(width)), bits, _word(0))


def one_of(members: Iterable[int], width: int = BLOCK, *, whole: bool = False) -> Any:
    """A function ``bits(data, position)`` for kernels: bit k is set where ``data[position + k]`` is one of these bytes.

    It looks at ``width`` bytes (16, 32 or 64). Those behind the end of ``data`` are none, but ``data`` must be ``width``
    bytes long, and the position no further behind its end. A run of members costs three instructions for 32 bytes, where a loop takes that
    many for each. whole: the caller sees that all bytes are there, which saves as much again for 16 of them.
    """
    runs, block_type = _runs(members), ir.VectorType(ir.IntType(8), width)

    def bits(_context: Any, data: Any, position: Any) -> Any:  # noqa: ARG001
        def answers(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, args[0])
            block, back = (_load_whole if whole else _load)(builder, array, args[1], block_type)
            found = ir.Constant(ir.VectorType(ir.IntType(1), width), [0] * width)
            for first, last in runs:
                shifted = builder.sub(block, ir.Constant(block_type, [first] * width))
                inside = builder.icmp_unsigned("<=", shifted, ir.Constant(block_type, [last - first] * width))
                found = builder.or_(found, inside)
            return _as_word(builder, found, back)

        return types.int64(data, types.int64), answers

    return intrinsic(bits)


def without(flags: int) -> Any:
    """A function ``bits(array, position)`` for uint16 arrays: bit k is set where the element has none of the flags."""
    block_type = ir.VectorType(ir.IntType(16), BLOCK)

    def bits(_context: Any, array: Any, position: Any) -> Any:  # noqa: ARG001
        def answers(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            made = context.make_array(signature.args[0])(context, builder, args[0])
            block, back = _load(builder, made, args[1], block_type)
            masked = builder.and_(block, ir.Constant(block_type, [flags] * BLOCK))
            return _as_word(builder, builder.icmp_unsigned("==", masked, ir.Constant(block_type, [0] * BLOCK)), back)

        return types.int64(array, types.int64), answers

    return intrinsic(bits)


def _first_bit(_context: Any, word: Any) -> Any:  # noqa: ARG001
    def count(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), count


def _last_bit(_context: Any, word: Any) -> Any:  # noqa: ARG001
    def count(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.sub(ir.Constant(_WORD, BLOCK - 1), builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0)))

    return types.int64(types.int64), count


def _count_bits(_context: Any, word: Any) -> Any:  # noqa: ARG001
    def count(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.int64), count


def _element(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


def _get(_context: Any, array: Any, index: Any) -> Any:  # noqa: ARG001
    def load(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _element(context, builder, signature.args[0], *args)
        return (
            builder.sext(builder.load(place), _WORD) if array.dtype.signed else builder.zext(builder.load(place), _WORD)
        )

    return types.int64(array, types.int64), load


def _put(_context: Any, array: Any, index: Any, value: Any) -> Any:  # noqa: ARG001
    def store(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _element(context, builder, signature.args[0], args[0], args[1])
        builder.store(builder.trunc(args[2], place.type.pointee), place)
        return context.get_dummy_value()

    return types.none(array, types.int64, types.int64), store


first_bit: Any = intrinsic(_first_bit)
"""``first_bit(word)``: place of the lowest bit that is set, 64 for 0."""

last_bit: Any = intrinsic(_last_bit)
"""``last_bit(word)``: place of the highest bit that is set, -1 for 0."""

count_bits: Any = intrinsic(_count_bits)
"""``count_bits(word)``: how many bits are set."""

get: Any = intrinsic(_get)
"""``get(array, index)``: an integer of a contiguous array as int64. Unlike ``array[index]`` it does not look whether the
index is negative, which takes three instructions more."""

put: Any = intrinsic(_put)
"""``put(array, index, value)``: its opposite."""


@lean_kernel
def bits_below(place: int) -> Any:
    """A word whose bits below ``place`` (0 and more) are set."""
    return -1 if place >= BLOCK else (1 << place) - 1


@lean_kernel
def bits_from(place: int) -> Any:
    """A word whose bits from ``place`` (0 and more) on are set."""
    return 0 if place >= BLOCK else -1 << place
