"""One pass over the connections of a layer with real gates: what its moments multiply by.

Arrays are float32, C-contiguous, (out, n) with n ≥ 16 the fan-in. A row is taken 16 connections
at a time; the last of them may overlap with those before, which are then computed twice.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from anneal.kernels.compile import inlined, kernel
from anneal.kernels.vector import Lanes, add, load, splat, store, subtract
from qbnn.kernels.lanes import multiply, round_down

LANES = 16
Array = NDArray[np.float32]


def _operator(symbol: Any, function: Any) -> None:
    """Let lanes be written with an operator."""

    @overload(symbol)
    def typed(a, b):  # type: ignore[no-untyped-def]  # numba compares the signatures
        if isinstance(a, Lanes) and isinstance(b, Lanes):
            return lambda a, b: function(a, b)
        return None


_operator(operator.add, add)
_operator(operator.sub, subtract)
_operator(operator.mul, multiply)


@inlined
def _constant(value: float) -> Any:
    return splat(np.float32(value))


@inlined
def _sin_cos(angle: Any) -> Any:
    """Sine and cosine to 2·10⁻⁷: Taylor's polynomials on [−π/2, π/2] after k = round(angle/π)."""
    k = round_down(angle * _constant(1 / np.pi) + _constant(0.5))
    # π in two parts, the first with few enough digits that its multiples are exact.
    r = angle - k * _constant(3.140625)
    r = r - k * _constant(np.pi - 3.140625)
    half = round_down(k * _constant(0.5))
    sign = _constant(1.0) - _constant(2.0) * (k - half - half)
    z = r * r
    sin = _constant(1 / 362880) - z * _constant(1 / 39916800)
    sin = sin * z - _constant(1 / 5040)
    sin = sin * z + _constant(1 / 120)
    sin = sin * z - _constant(1 / 6)
    sin = sin * z + _constant(1.0)
    cos = z * _constant(1 / 479001600) - _constant(1 / 3628800)
    cos = cos * z + _constant(1 / 40320)
    cos = cos * z - _constant(1 / 720)
    cos = cos * z + _constant(1 / 24)
    cos = cos * z - _constant(1 / 2)
    cos = cos * z + _constant(1.0)
    return sign * r * sin, sign * cos


@kernel
def real4(
    theta: Array, x: Array, angles: Array, line: Array, square: Array, constants: Array
) -> None:
    """Write the weights of m and m² in the features (φ, χ) and (φ, χ, φ², φχ) of ``Real4`` gates.

    theta, x: (out, n). angles: (4, out, n). line: (out, 2n), [β, γ]. square: (out, 4n),
    [2αβ, 2αγ, β² − γ², 2βγ]. constants: (2, out, 16), sums of α and of α² + γ² over chunks.

    The weight (θ, x) turns by the angle of YI, gives a part to α by that of YZ, mixes with the pure
    activation by that of ZY, and the activation turns by that of IY.
    """
    out, n = theta.shape
    flat_theta, flat_x, flat_angles = theta.ravel(), x.ravel(), angles.ravel()
    flat_line, flat_square, flat_constants = line.ravel(), square.ravel(), constants.ravel()
    masks = np.ones(2 * LANES, np.float32)
    masks[:LANES] = 0
    two = _constant(2.0)
    for j in range(out):
        total, squares = _constant(0.0), _constant(0.0)
        for chunk in range((n + LANES - 1) // LANES):
            i = min(chunk * LANES, n - LANES)
            at = j * n + i
            s0, c0 = _sin_cos(load(flat_angles, at))
            s1, c1 = _sin_cos(load(flat_angles, out * n + at))
            s2, c2 = _sin_cos(load(flat_angles, 2 * out * n + at))
            s3, c3 = _sin_cos(load(flat_angles, 3 * out * n + at))
            w, v = load(flat_theta, at), load(flat_x, at)
            a = s2 * c3 * (s1 * w - c1 * v)
            spin = c2 * c3 * (c1 * w + s1 * v)
            pure = c2 * s3
            b = c0 * spin + s0 * pure
            c = s0 * spin - c0 * pure
            store(flat_line, 2 * j * n + i, b)
            store(flat_line, (2 * j + 1) * n + i, c)
            store(flat_square, 4 * j * n + i, two * a * b)
            store(flat_square, (4 * j + 1) * n + i, two * a * c)
            store(flat_square, (4 * j + 2) * n + i, b * b - c * c)
            store(flat_square, (4 * j + 3) * n + i, two * b * c)
            fresh = load(masks, LANES - (chunk * LANES - i))
            total = total + fresh * a
            squares = squares + fresh * (a * a + c * c)
        store(flat_constants, j * LANES, total)
        store(flat_constants, (out + j) * LANES, squares)


@kernel
def real4_backward(
    theta: Array,
    x: Array,
    angles: Array,
    line: Array,
    square: Array,
    constants: Array,
    weight_gradient: Array,
    angle_gradient: Array,
) -> None:
    """Write the gradients of (θ, x), (2, out, n), and of the angles, (4, out, n).

    line, square: gradients of what the forward wrote. constants: (2, out), those of Σα and of
    Σ(α² + γ²).
    """
    out, n = theta.shape
    flat_theta, flat_x, flat_angles = theta.ravel(), x.ravel(), angles.ravel()
    flat_line, flat_square = line.ravel(), square.ravel()
    to_weight, to_angles = weight_gradient.ravel(), angle_gradient.ravel()
    two = _constant(2.0)
    for j in range(out):
        first, second = splat(constants[0, j]), splat(np.float32(2) * constants[1, j])
        for chunk in range((n + LANES - 1) // LANES):
            i = min(chunk * LANES, n - LANES)
            at = j * n + i
            s0, c0 = _sin_cos(load(flat_angles, at))
            s1, c1 = _sin_cos(load(flat_angles, out * n + at))
            s2, c2 = _sin_cos(load(flat_angles, 2 * out * n + at))
            s3, c3 = _sin_cos(load(flat_angles, 3 * out * n + at))
            w, v = load(flat_theta, at), load(flat_x, at)
            turned, across = c1 * w + s1 * v, c1 * v - s1 * w
            mixed, kept = c3 * turned, c3 * across
            spin, pure = c2 * mixed, c2 * s3
            a, b, c = _constant(0.0) - s2 * kept, c0 * spin + s0 * pure, s0 * spin - c0 * pure
            ab, ac = (
                two * load(flat_square, 4 * j * n + i),
                two * load(flat_square, (4 * j + 1) * n + i),
            )
            bb, bc = (
                two * load(flat_square, (4 * j + 2) * n + i),
                two * load(flat_square, (4 * j + 3) * n + i),
            )
            of_a = first + a * second + b * ab + c * ac
            of_b = load(flat_line, 2 * j * n + i) + a * ab + b * bb + c * bc
            of_c = load(flat_line, (2 * j + 1) * n + i) + c * second + a * ac + b * bc - c * bb
            of_spin, of_pure = c0 * of_b + s0 * of_c, s0 * of_b - c0 * of_c
            inner = of_spin * mixed + of_pure * s3
            store(to_angles, at, of_c * b - of_b * c)
            store(to_angles, 2 * out * n + at, _constant(0.0) - s2 * inner - of_a * c2 * kept)
            of_turned, of_across = c2 * of_spin, _constant(0.0) - s2 * of_a
            store(
                to_angles,
                3 * out * n + at,
                c2 * c3 * of_pure - s3 * (of_turned * turned + of_across * across),
            )
            of_turned, of_across = c3 * of_turned, c3 * of_across
            store(to_angles, out * n + at, of_turned * across - of_across * turned)
            store(to_weight, at, c1 * of_turned - s1 * of_across)
            store(to_weight, out * n + at, s1 * of_turned + c1 * of_across)
