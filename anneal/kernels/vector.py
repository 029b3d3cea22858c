"""A 64-byte row of lanes as one value: LLVM vectors inside numba kernels.

numba's own vectoriser reaches a third of what the machine does on replica lanes, because it must
prove what we know: that a row is 64 bytes, contiguous and not aliased. Here a row of int8 is one
value of 64 lanes, of int16 one of 32, of int32 or float32 one of 16, of float64 one of 8. LLVM
lowers the same IR to AVX-512, AVX2 or NEON.

Comparisons give a mask, one bit a lane. All functions are for use inside numba-compiled code alone.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, models, register_model

ROW_BYTES = 64


class Lanes(types.Type):  # type: ignore[misc]
    """The numba type of one row of lanes."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self.count = ROW_BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Lanes({dtype})")


class Mask(types.Type):  # type: ignore[misc]
    """The numba type of one bit a lane."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(name=f"Mask({count})")


def _llvm_scalar(dtype: Any) -> ir.Type:
    if isinstance(dtype, types.Float):
        return ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()
    return ir.IntType(dtype.bitwidth)


def _llvm_lanes(lanes: Lanes) -> ir.VectorType:
    return ir.VectorType(_llvm_scalar(lanes.dtype), lanes.count)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        super().__init__(manager, lanes, _llvm_lanes(lanes))


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, mask: Mask) -> None:
        super().__init__(manager, mask, ir.VectorType(ir.IntType(1), mask.count))


def _address(
    context: Any, builder: Any, array_type: Any, array: Any, offset: Any, into: ir.Type
) -> Any:
    """Pointer to ``into`` at element ``offset`` of a contiguous array."""
    base = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(base, [offset]), into.as_pointer())


def _bytes(array_type: Any) -> int:
    return int(array_type.dtype.bitwidth) // 8


@intrinsic  # type: ignore[untyped-decorator]
def load(typing: Any, array: Any, offset: Any) -> Any:
    """Lanes ``array[offset : offset + count]`` of a contiguous array, any alignment."""
    lanes = Lanes(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _address(context, builder, array, arguments[0], arguments[1], _llvm_lanes(lanes))
        value = builder.load(pointer)
        value.align = _bytes(array)
        return value

    return lanes(array, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def load_as(typing: Any, array: Any, offset: Any, like: Any) -> Any:
    """As many elements as ``like`` has lanes, converted from the array's narrower type to that of
    ``like``.
    """
    source = _llvm_scalar(array.dtype)
    target = _llvm_lanes(like)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        narrow = ir.VectorType(source, like.count)
        value = builder.load(_address(context, builder, array, arguments[0], arguments[1], narrow))
        value.align = _bytes(array)
        if source == target.element:
            return value
        if isinstance(like.dtype, types.Float):
            convert = builder.fpext if isinstance(array.dtype, types.Float) else builder.sitofp
        else:
            convert = builder.sext
        return convert(value, target)

    return like(array, types.int64, like), generate


@intrinsic  # type: ignore[untyped-decorator]
def store(typing: Any, array: Any, offset: Any, value: Any) -> Any:
    """Write the lanes to ``array[offset : offset + count]``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _address(context, builder, array, arguments[0], arguments[1], _llvm_lanes(value))
        builder.store(arguments[2], pointer).align = _bytes(array)
        return context.get_dummy_value()

    return types.void(array, types.int64, value), generate


@intrinsic  # type: ignore[untyped-decorator]
def splat(typing: Any, scalar: Any) -> Any:
    """Every lane the same number; the lanes have the scalar's type."""
    lanes = Lanes(scalar)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = _llvm_lanes(lanes)
        empty = ir.Constant(vector, ir.Undefined)
        first = builder.insert_element(empty, arguments[0], ir.IntType(32)(0))
        order = ir.VectorType(ir.IntType(32), lanes.count)
        return builder.shuffle_vector(first, empty, ir.Constant(order, [0] * lanes.count))

    return lanes(scalar), generate


def _arithmetic(integer: str, floating: str, what: str) -> Any:
    def typed(typing: Any, a: Any, b: Any) -> Any:
        name = floating if isinstance(a.dtype, types.Float) else integer

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, name)(*arguments)

        return a(a, a), generate

    typed.__name__ = integer
    typed.__doc__ = what
    return intrinsic(typed)


add = _arithmetic("add", "fadd", "Lane-wise sum.")
subtract = _arithmetic("sub", "fsub", "Lane-wise difference.")
multiply = _arithmetic("mul", "fmul", "Lane-wise product.")


def _comparison(operator: str, what: str) -> Any:
    def typed(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            if isinstance(a.dtype, types.Float):
                return builder.fcmp_ordered(operator, *arguments)
            return builder.icmp_signed(operator, *arguments)

        return Mask(a.count)(a, a), generate

    typed.__name__ = f"compare_{len(operator)}"
    typed.__doc__ = what
    return intrinsic(typed)


at_least = _comparison(">=", "Mask of the lanes where a ≥ b.")
above = _comparison(">", "Mask of the lanes where a > b.")


@intrinsic  # type: ignore[untyped-decorator]
def select(typing: Any, mask: Any, a: Any, b: Any) -> Any:
    """``a`` where the mask is set, ``b`` elsewhere."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(*arguments)

    return a(mask, a, b), generate


def _logic(name: str, what: str) -> Any:
    def typed(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, name)(*arguments)

        return a(a, a), generate

    typed.__name__ = f"mask_{name}"
    typed.__doc__ = what
    return intrinsic(typed)


both = _logic("and_", "Mask of the lanes set in both.")
differ = _logic("xor", "Mask of the lanes set in one alone.")


@intrinsic  # type: ignore[untyped-decorator]
def bits(typing: Any, mask: Any) -> Any:
    """The mask as an unsigned 64-bit integer, lane 0 in the lowest bit."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = builder.bitcast(arguments[0], ir.IntType(mask.count))
        return value if mask.count == 64 else builder.zext(value, ir.IntType(64))

    return types.uint64(mask), generate


@intrinsic  # type: ignore[untyped-decorator]
def trailing_zeros(typing: Any, word: Any) -> Any:
    """Index of the lowest set bit of a non-zero unsigned 64-bit integer."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.int64(types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def count_ones(typing: Any, word: Any) -> Any:
    """Number of set bits of an unsigned 64-bit integer."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate
