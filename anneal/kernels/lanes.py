"""What the kernels here do on rows of lanes besides :mod:`anneal.kernels.vector`.

All functions are for use inside numba-compiled code alone.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload

from anneal.kernels.compile import inlined
from anneal.kernels.vector import Lanes, above, at_least, select, splat


def _call(builder: Any, name: str, arguments: list[Any]) -> Any:
    """Call LLVM's intrinsic ``name`` on vectors of one type, which llvmlite cannot name itself."""
    kind = arguments[0].type
    letter = "i" if isinstance(kind.element, ir.IntType) else "f"
    bits = {ir.DoubleType(): 64, ir.FloatType(): 32}.get(kind.element) or kind.element.width
    signature = ir.FunctionType(kind, [kind] * len(arguments))
    full = f"llvm.{name}.v{kind.count}{letter}{bits}"
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, full), arguments)


@intrinsic  # type: ignore[untyped-decorator]
def multiply(typing: Any, a: Any, b: Any) -> Any:
    """Lane-wise product of floats."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fmul(*arguments)

    return a(a, a), generate


@intrinsic  # type: ignore[untyped-decorator]
def multiply_add(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """``a·b + c`` of floats, rounded once where the machine does that as fast."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, "fmuladd", list(arguments))

    return a(a, a, a), generate


@intrinsic  # type: ignore[untyped-decorator]
def disagreements(typing: Any, a: Any, b: Any) -> Any:
    """Number of bits of each lane in which the words of ``a`` and ``b`` differ."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, "ctpop", [builder.xor(*arguments)])

    return a(a, a), generate


@intrinsic  # type: ignore[untyped-decorator]
def divide(typing: Any, a: Any, b: Any) -> Any:
    """Lane-wise quotient of floats."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fdiv(*arguments)

    return a(a, a), generate


def _of_one(name: str, what: str) -> Any:
    def typed(typing: Any, a: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return _call(builder, name, list(arguments))

        return a(a), generate

    typed.__name__ = f"lanes_{name}"
    typed.__doc__ = what
    return intrinsic(typed)


round_down = _of_one("floor", "Largest whole number not above each lane.")
absolute = _of_one("fabs", "Absolute value of each lane.")
square_root = _of_one("sqrt", "Square root of each lane.")


@intrinsic  # type: ignore[untyped-decorator]
def copy_sign(typing: Any, a: Any, b: Any) -> Any:
    """The size of ``a`` with the sign of ``b``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, "copysign", list(arguments))

    return a(a, a), generate


@intrinsic  # type: ignore[untyped-decorator]
def power_of_two(typing: Any, a: Any) -> Any:
    """2 to whole float32 lanes from −126 to 127, by their bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = ir.VectorType(ir.IntType(32), a.count)
        exponent = builder.fptosi(arguments[0], whole)
        biased = builder.add(exponent, ir.Constant(whole, [127] * a.count))
        return builder.bitcast(
            builder.shl(biased, ir.Constant(whole, [23] * a.count)), arguments[0].type
        )

    return a(a), generate


@intrinsic  # type: ignore[untyped-decorator]
def exponent(typing: Any, a: Any) -> Any:
    """The whole n with 2ⁿ ≤ a < 2ⁿ⁺¹ of normal positive float32 lanes, by their bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = ir.VectorType(ir.IntType(32), a.count)
        word = builder.bitcast(arguments[0], whole)
        biased = builder.lshr(word, ir.Constant(whole, [23] * a.count))
        return builder.sitofp(
            builder.sub(biased, ir.Constant(whole, [127] * a.count)), arguments[0].type
        )

    return a(a), generate


def _part(builder: Any, array: Any, arguments: Any, count: int) -> tuple[Any, Any]:
    """Address of float32 lanes at an offset, and the mask of the first so many of them."""
    word, kind = ir.IntType(32), ir.VectorType(ir.FloatType(), count)
    base, offset, wanted = arguments
    pointer = builder.bitcast(builder.gep(base, [offset]), kind.as_pointer())
    order = ir.Constant(ir.VectorType(word, count), list(range(count)))
    empty = ir.Constant(order.type, ir.Undefined)
    first = builder.insert_element(empty, builder.trunc(wanted, word), word(0))
    limit = builder.shuffle_vector(first, empty, ir.Constant(order.type, [0] * count))
    return pointer, builder.icmp_signed("<", order, limit)


def _masked(builder: Any, name: str, kind: Any, arguments: list[Any]) -> Any:
    signature = ir.FunctionType(kind, [argument.type for argument in arguments])
    full = f"llvm.masked.{name}.v16f32.p0v16f32"
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, full), arguments)


@intrinsic  # type: ignore[untyped-decorator]
def load_part(typing: Any, array: Any, offset: Any, count: Any) -> Any:
    """The first ``count`` of 16 float32 lanes from ``array[offset]`` on; 0 in the others."""
    lanes = Lanes(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        base = context.make_array(array)(context, builder, arguments[0]).data
        place = _part(builder, array, (base, *arguments[1:]), lanes.count)
        kind = place[0].type.pointee
        given = [place[0], ir.IntType(32)(4), place[1], ir.Constant(kind, None)]
        return _masked(builder, "load", kind, given)

    return lanes(array, types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def store_part(typing: Any, array: Any, offset: Any, count: Any, value: Any) -> Any:
    """Write the first ``count`` of 16 float32 lanes from ``array[offset]`` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        base = context.make_array(array)(context, builder, arguments[0]).data
        pointer, mask = _part(builder, array, (base, *arguments[1:3]), value.count)
        given = [arguments[3], pointer, ir.IntType(32)(4), mask]
        _masked(builder, "store", ir.VoidType(), given)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64, value), generate


@intrinsic  # type: ignore[untyped-decorator]
def spread(typing: Any, array: Any, offset: Any) -> Any:
    """Every lane ``array[offset]`` of a contiguous array."""
    lanes = Lanes(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        base = context.make_array(array)(context, builder, arguments[0]).data
        number = builder.load(builder.gep(base, [arguments[1]]))
        kind, word = ir.VectorType(number.type, lanes.count), ir.IntType(32)
        first = builder.insert_element(ir.Constant(kind, ir.Undefined), number, word(0))
        order = ir.Constant(ir.VectorType(word, lanes.count), [0] * lanes.count)
        return builder.shuffle_vector(first, first, order)

    return lanes(array, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def transpose(typing: Any, array: Any, offset: Any, step: Any, to: Any, at: Any, apart: Any) -> Any:
    """Write a square of lanes, rows ``step`` apart, as its columns, ``apart`` in ``to``."""
    count = Lanes(array.dtype).count

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def places(kind: Any, values: Any, first: Any, distance: Any) -> list[Any]:
            base = context.make_array(kind)(context, builder, values).data
            pointer = ir.VectorType(base.type.pointee, count).as_pointer()
            whole = distance.type
            return [
                builder.bitcast(
                    builder.gep(base, [builder.add(first, builder.mul(distance, whole(row)))]),
                    pointer,
                )
                for row in range(count)
            ]

        rows = [builder.load(place) for place in places(array, *arguments[:3])]
        for row in rows:
            row.align = array.dtype.bitwidth // 8
        # Squares of half the size swap across the diagonal, then those within them.
        order = ir.VectorType(ir.IntType(32), count)
        half = count // 2
        while half:
            upper = [lane + count - half if lane & half else lane for lane in range(count)]
            lower = [lane + count if lane & half else lane + half for lane in range(count)]
            masks = ir.Constant(order, upper), ir.Constant(order, lower)
            for i in (row for row in range(count) if not row & half):
                pair = rows[i], rows[i + half]
                rows[i], rows[i + half] = (builder.shuffle_vector(*pair, mask) for mask in masks)
            half //= 2
        for row, place in zip(rows, places(to, *arguments[3:]), strict=True):
            builder.store(row, place).align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    whole = types.int64
    return types.void(array, whole, whole, to, whole, whole), generate


def _operator(symbol: Any, function: Any) -> None:
    """Let lanes of floats be written with an operator."""

    @overload(symbol)
    def typed(a, b):  # type: ignore[no-untyped-def]  # numba compares the signatures
        if isinstance(a, Lanes) and isinstance(b, Lanes):
            return lambda a, b: function(a, b)
        return None


def _contractible(name: str) -> Any:
    """A sum, difference or product of floats that may be rounded once with the next one."""

    def typed(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, name)(*arguments, flags=("contract",))

        return a(a, a), generate

    typed.__name__ = f"contractible_{name}"
    return intrinsic(typed)


_operator(operator.add, _contractible("fadd"))
_operator(operator.sub, _contractible("fsub"))
_operator(operator.mul, _contractible("fmul"))
_operator(operator.truediv, divide)


@inlined
def constant(value: float) -> Any:
    """Every float32 lane this number."""
    return splat(np.float32(value))


@inlined
def exponential(x: Any) -> Any:
    """e^x to 10⁻⁷ for x ≤ 0; 0 below −87, where float32 has no normal numbers left."""
    inside = at_least(x, constant(-87.0))
    x = select(inside, x, constant(0.0))
    n = round_down(x * constant(1.4426950408889634) + constant(0.5))
    # ln 2 in two parts, the first with few enough digits that its multiples are exact.
    f = x - n * constant(0.693359375)
    f = f + n * constant(2.12194440e-4)
    p = constant(1 / 5040) * f + constant(1 / 720)
    p = p * f + constant(1 / 120)
    p = p * f + constant(1 / 24)
    p = p * f + constant(1 / 6)
    p = p * f + constant(0.5)
    p = p * f + constant(1.0)
    p = p * f + constant(1.0)
    return select(inside, p * power_of_two(n), constant(0.0))


@inlined
def logarithm(x: Any) -> Any:
    """ln x to 2·10⁻⁷ of max(1, abs(ln x)), for float32 lanes from 2⁻¹²⁶ to 2¹²⁶."""
    n = exponent(x)
    m = x * power_of_two(constant(0.0) - n)
    large = above(m, constant(1.4142135))
    m = select(large, m * constant(0.5), m)
    n = select(large, n + constant(1.0), n)
    t = (m - constant(1.0)) / (m + constant(1.0))
    square = t * t
    p = constant(2 / 9) * square + constant(2 / 7)
    p = p * square + constant(2 / 5)
    p = p * square + constant(2 / 3)
    p = p * square + constant(2.0)
    return n * constant(0.69314718) + t * p
