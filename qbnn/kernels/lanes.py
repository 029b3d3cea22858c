"""What the kernels here do on rows of lanes besides :mod:`anneal.kernels.vector`.

All functions are for use inside numba-compiled code alone.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic


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
def round_down(typing: Any, a: Any) -> Any:
    """Largest whole number not above each lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, "floor", list(arguments))

    return a(a), generate
