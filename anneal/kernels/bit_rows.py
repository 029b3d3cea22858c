"""What multi-spin coding does on rows of 512 bits, besides :mod:`anneal.kernels.vector`.

All functions are for use inside numba-compiled code alone.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from anneal.kernels.vector import ROW_BYTES, Lanes

# Where the code is for this machine and that has AVX-512, three rows go into one instruction.
_TERNARY = (
    numba.config.CPU_NAME is None
    and numba.config.CPU_FEATURES is None
    and llvmlite.binding.get_host_cpu_features().get("avx512f", False)
)


def _ternary(builder: Any, arguments: list[Any], table: int) -> Any:
    words = ir.VectorType(ir.IntType(64), 8)
    kind = arguments[0].type
    signature = ir.FunctionType(words, [words] * 3 + [ir.IntType(32)])
    function = cgutils.get_or_insert_function(
        builder.module, signature, "llvm.x86.avx512.pternlog.q.512"
    )
    given = [builder.bitcast(argument, words) for argument in arguments]
    return builder.bitcast(builder.call(function, [*given, ir.IntType(32)(table)]), kind)


@intrinsic  # type: ignore[untyped-decorator]
def sum_bit(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Low bit of the sum of three bits, in each bit of the rows."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if _TERNARY:
            return _ternary(builder, arguments, 0x96)
        return builder.xor(builder.xor(arguments[0], arguments[1]), arguments[2])

    return a(a, a, a), generate


@intrinsic  # type: ignore[untyped-decorator]
def carry_bit(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """High bit of the sum of three bits: what most of them are."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if _TERNARY:
            return _ternary(builder, arguments, 0xE8)
        a, b, c = arguments
        return builder.or_(builder.and_(a, b), builder.and_(c, builder.xor(a, b)))

    return a(a, a, a), generate


@intrinsic  # type: ignore[untyped-decorator]
def row_at(typing: Any, address: Any) -> Any:
    """The 64 bytes at an address."""
    row = Lanes(types.uint8)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(row)
        value = builder.load(builder.inttoptr(arguments[0], kind.as_pointer()))
        value.align = 1
        return value

    return row(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def integer_at(typing: Any, address: Any) -> Any:
    """The 32-bit integer at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = builder.load(builder.inttoptr(arguments[0], ir.IntType(32).as_pointer()))
        value.align = 4
        return builder.sext(value, ir.IntType(64))

    return types.int64(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def either(typing: Any, a: Any, b: Any) -> Any:
    """Bits set in one or both."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.or_(*arguments)

    return a(a, a), generate


@intrinsic  # type: ignore[untyped-decorator]
def nonzero(typing: Any, row: Any) -> Any:
    """Whether any bit of the row is set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = builder.bitcast(arguments[0], ir.IntType(8 * ROW_BYTES))
        return builder.icmp_unsigned("!=", whole, ir.IntType(8 * ROW_BYTES)(0))

    return types.boolean(row), generate


def _shift(name: str, what: str) -> Any:
    def typed(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, name)(*arguments)

        return a(a, a), generate

    typed.__name__ = name
    typed.__doc__ = what
    return intrinsic(typed)


shift_left = _shift("shl", "Lane-wise shift by as many bits as the other row says.")
shift_right = _shift("lshr", "Lane-wise shift of unsigned integers to the right.")


@intrinsic  # type: ignore[untyped-decorator]
def count_bits(typing: Any, row: Any) -> Any:
    """Number of set bits in each 64 of the row, as unsigned 64-bit integers."""
    words = Lanes(types.uint64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(words)
        name = "llvm.ctpop.v8i64"
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [kind]), name
        )
        return builder.call(function, [builder.bitcast(arguments[0], kind)])

    return words(row), generate
