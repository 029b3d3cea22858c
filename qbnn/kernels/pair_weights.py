"""One pass over the connections of a layer with real gates: what its moments multiply by.

Arrays are float32, C-contiguous, (out, n) with n the fan-in, ≥ 16 for gates. A row is taken 16
connections at a time; with gates the last of them may overlap with those before, which are then
computed twice. A weight bit is its latent number l: θ = tanh l and x = 1/cosh l.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anneal.kernels.compile import inlined, kernel
from anneal.kernels.lanes import (
    absolute,
    constant,
    copy_sign,
    exponential,
    load_part,
    round_down,
    store_part,
)
from anneal.kernels.vector import load, splat, store

LANES = 16
Array = NDArray[np.float32]


@inlined
def _sin_cos(angle: Any) -> Any:
    """Sine and cosine to 2·10⁻⁷: Taylor's polynomials on [−π/2, π/2] after k = round(angle/π)."""
    k = round_down(angle * constant(1 / np.pi) + constant(0.5))
    # π in two parts, the first with few enough digits that its multiples are exact.
    r = angle - k * constant(3.140625)
    r = r - k * constant(np.pi - 3.140625)
    half = round_down(k * constant(0.5))
    sign = constant(1.0) - constant(2.0) * (k - half - half)
    z = r * r
    sin = constant(1 / 362880) - z * constant(1 / 39916800)
    sin = sin * z - constant(1 / 5040)
    sin = sin * z + constant(1 / 120)
    sin = sin * z - constant(1 / 6)
    sin = sin * z + constant(1.0)
    cos = z * constant(1 / 479001600) - constant(1 / 3628800)
    cos = cos * z + constant(1 / 40320)
    cos = cos * z - constant(1 / 720)
    cos = cos * z + constant(1 / 24)
    cos = cos * z - constant(1 / 2)
    cos = cos * z + constant(1.0)
    return sign * r * sin, sign * cos


@inlined
def _weight_bit(latent: Any) -> Any:
    """θ = tanh l and x = 1/cosh l, to 10⁻⁷."""
    small = exponential(constant(0.0) - absolute(latent))
    square, one = small * small, constant(1.0)
    inverse = one / (one + square)
    return copy_sign((one - square) * inverse, latent), (small + small) * inverse


@kernel
def undeformed(latent: Array, spin: Array, square: Array, start: int, stop: int) -> None:
    """Write θ and −θ², weights of m and −m² of pairs without a gate, (out, n).

    Only the outputs from ``start`` to ``stop``.
    """
    n = latent.shape[1]
    flat, to_spin, to_square = latent.ravel(), spin.ravel(), square.ravel()
    for at in range(start * n, stop * n, LANES):
        count = min(LANES, stop * n - at)
        theta, _ = _weight_bit(load_part(flat, at, count))
        store_part(to_spin, at, count, theta)
        store_part(to_square, at, count, constant(0.0) - theta * theta)


@kernel
def undeformed_backward(
    spin: Array, of_spin: Array, of_square: Array, to_latent: Array, start: int, stop: int
) -> None:
    """Write the gradient of l, (out, n), from θ and the gradients of what the forward wrote."""
    n = spin.shape[1]
    flat, first, second, into = spin.ravel(), of_spin.ravel(), of_square.ravel(), to_latent.ravel()
    for at in range(start * n, stop * n, LANES):
        count = min(LANES, stop * n - at)
        theta = load_part(flat, at, count)
        found = load_part(first, at, count) - constant(2.0) * theta * load_part(second, at, count)
        store_part(into, at, count, found * (constant(1.0) - theta * theta))


@kernel
def real4(
    latent: Array,
    angles: Array,
    line: Array,
    square: Array,
    constants: Array,
    start: int,
    stop: int,
) -> None:
    """Write the weights of m and −m² in the features (φ, χ) and (φ², φχ) of ``Real4`` gates.

    latent: (out, n). angles: (4, out, n). line: (2, out, 2n), [β, γ] for m and [−2αβ, −2αγ] for
    −m². square: (out, 2n), [γ² − β², −2βγ]. constants: (2, out, 16), sums of α and of α² + γ² over
    chunks. Only the outputs from ``start`` to ``stop``.

    The weight (θ, x) turns by the angle of YI, gives a part to α by that of YZ, mixes with the pure
    activation by that of ZY, and the activation turns by that of IY.
    """
    out, n = latent.shape
    flat_latent, flat_angles = latent.ravel(), angles.ravel()
    flat_line, flat_square, flat_constants = line.ravel(), square.ravel(), constants.ravel()
    masks = np.ones(2 * LANES, np.float32)
    masks[:LANES] = 0
    minus_two = constant(-2.0)
    for j in range(start, stop):
        total, squares = constant(0.0), constant(0.0)
        for chunk in range((n + LANES - 1) // LANES):
            i = min(chunk * LANES, n - LANES)
            at = j * n + i
            s0, c0 = _sin_cos(load(flat_angles, at))
            s1, c1 = _sin_cos(load(flat_angles, out * n + at))
            s2, c2 = _sin_cos(load(flat_angles, 2 * out * n + at))
            s3, c3 = _sin_cos(load(flat_angles, 3 * out * n + at))
            w, v = _weight_bit(load(flat_latent, at))
            a = s2 * c3 * (s1 * w - c1 * v)
            spin = c2 * c3 * (c1 * w + s1 * v)
            pure = c2 * s3
            b = c0 * spin + s0 * pure
            c = s0 * spin - c0 * pure
            store(flat_line, 2 * j * n + i, b)
            store(flat_line, (2 * j + 1) * n + i, c)
            store(flat_line, 2 * (out + j) * n + i, minus_two * a * b)
            store(flat_line, (2 * (out + j) + 1) * n + i, minus_two * a * c)
            store(flat_square, 2 * j * n + i, c * c - b * b)
            store(flat_square, (2 * j + 1) * n + i, minus_two * b * c)
            fresh = load(masks, LANES - (chunk * LANES - i))
            total = total + fresh * a
            squares = squares + fresh * (a * a + c * c)
        store(flat_constants, j * LANES, total)
        store(flat_constants, (out + j) * LANES, squares)


@kernel
def real4_backward(
    latent: Array,
    angles: Array,
    line: Array,
    square: Array,
    constants: Array,
    latent_gradient: Array,
    angle_gradient: Array,
    start: int,
    stop: int,
) -> None:
    """Write the gradients of l, (out, n), and of the angles, (4, out, n).

    line, square: gradients of what the forward wrote. constants: (2, out), those of Σα and of
    −Σ(α² + γ²).
    """
    out, n = latent.shape
    flat_latent, flat_angles = latent.ravel(), angles.ravel()
    flat_line, flat_square = line.ravel(), square.ravel()
    to_latent, to_angles = latent_gradient.ravel(), angle_gradient.ravel()
    minus_two = constant(-2.0)
    for j in range(start, stop):
        first, second = splat(constants[0, j]), splat(np.float32(-2) * constants[1, j])
        for chunk in range((n + LANES - 1) // LANES):
            i = min(chunk * LANES, n - LANES)
            at = j * n + i
            s0, c0 = _sin_cos(load(flat_angles, at))
            s1, c1 = _sin_cos(load(flat_angles, out * n + at))
            s2, c2 = _sin_cos(load(flat_angles, 2 * out * n + at))
            s3, c3 = _sin_cos(load(flat_angles, 3 * out * n + at))
            w, v = _weight_bit(load(flat_latent, at))
            turned, across = c1 * w + s1 * v, c1 * v - s1 * w
            mixed, kept = c3 * turned, c3 * across
            spin, pure = c2 * mixed, c2 * s3
            a, b, c = constant(0.0) - s2 * kept, c0 * spin + s0 * pure, s0 * spin - c0 * pure
            ab = minus_two * load(flat_line, 2 * (out + j) * n + i)
            ac = minus_two * load(flat_line, (2 * (out + j) + 1) * n + i)
            bb = minus_two * load(flat_square, 2 * j * n + i)
            bc = minus_two * load(flat_square, (2 * j + 1) * n + i)
            of_a = first + a * second + b * ab + c * ac
            of_b = load(flat_line, 2 * j * n + i) + a * ab + b * bb + c * bc
            of_c = load(flat_line, (2 * j + 1) * n + i) + c * second + a * ac + b * bc - c * bb
            of_spin, of_pure = c0 * of_b + s0 * of_c, s0 * of_b - c0 * of_c
            inner = of_spin * mixed + of_pure * s3
            store(to_angles, at, of_c * b - of_b * c)
            store(to_angles, 2 * out * n + at, constant(0.0) - s2 * inner - of_a * c2 * kept)
            of_turned, of_across = c2 * of_spin, constant(0.0) - s2 * of_a
            store(
                to_angles,
                3 * out * n + at,
                c2 * c3 * of_pure - s3 * (of_turned * turned + of_across * across),
            )
            of_turned, of_across = c3 * of_turned, c3 * of_across
            store(to_angles, out * n + at, of_turned * across - of_across * turned)
            of_w, of_v = c1 * of_turned - s1 * of_across, s1 * of_turned + c1 * of_across
            store(to_latent, at, v * (v * of_w - w * of_v))
