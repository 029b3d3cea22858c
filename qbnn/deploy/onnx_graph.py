"""What an ONNX graph is built with: nodes by call, and the normal law from standard operators."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The polynomial of this degree is within 1e-7, and float32 adds 4e-7; a higher one adds nothing.
TAIL_DEGREE = 10


class Graph:
    """Nodes and constants in the order in which they were added; values go by their names.

    ``onnx``: the module. A call adds a node; arrays and numbers among its inputs become constants.
    """

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """Add a constant and return its name."""
        name = f"c{len(self.constants)}"
        array = np.asarray(values, dtype)
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def __call__(self, operator: str, *inputs: Any, name: str | None = None, **keys: Any) -> str:
        """Add a node with one output and return its name."""
        return self.several(operator, *inputs, names=[name or f"n{len(self.nodes)}"], **keys)[0]

    def several(self, operator: str, *inputs: Any, names: list[str], **keys: Any) -> list[str]:
        """Add a node with these outputs and return their names."""
        inputs = tuple(i if isinstance(i, str) else self.constant(i) for i in inputs)
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, names, **keys))
        return names


def log_tails(graph: Graph, z: str) -> tuple[str, str]:
    """Add log Φ(−``|z|``) and log Φ(``|z|``), to 1e-6 or as float32 rounds.

    ONNX has Erf alone, and 1 − erf cancels. With x = ``|z|``/√2 and t = 1/(1 + x/2), erfc(x) =
    t exp(q(t) − x²) for the polynomial q of :func:`tail_polynomial`.
    """
    x = graph("Mul", graph("Abs", z), math.sqrt(0.5))
    t = graph("Reciprocal", graph("Add", graph("Mul", x, 0.5), 1.0))
    highest, *others = reversed(tail_polynomial())
    q = graph.constant(highest)
    for coefficient in others:
        q = graph("Add", graph("Mul", q, t), coefficient)
    slope = graph("Sub", graph("Add", q, graph("Log", t)), math.log(2))
    log_tail = graph("Sub", slope, graph("Mul", x, x))
    return log_tail, graph("Log", graph("Sub", 1.0, graph("Exp", log_tail)))


@functools.cache
def tail_polynomial() -> tuple[float, ...]:
    """Return the coefficients, lowest first, of q(t) ≈ log(erfc(x) exp(x²)/t), t = 1/(1 + x/2).

    Interpolated at the Chebyshev points of [0, 1], where q is smooth up to its end: erfc(x)
    exp(x²)/t tends to 1/(2√π) as t tends to 0.

    >>> round(tail_polynomial()[0], 4), round(math.log(0.5 / math.sqrt(math.pi)), 4)
    (-1.2655, -1.2655)
    """
    from numpy.polynomial import Chebyshev, Polynomial
    from scipy.special import erfcx

    def q(t: NDArray[Any]) -> Any:
        return np.log(erfcx(2 / t - 2) / t)

    series = Chebyshev.interpolate(q, TAIL_DEGREE, domain=[0, 1])
    return tuple(series.convert(kind=Polynomial).coef.tolist())
