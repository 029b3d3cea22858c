"""One pass over the connections of a layer without gates or with real ones: what its moments
multiply by.

Arrays are float32, C-contiguous, (out, n) with n the fan-in. A weight bit is its latent number l:
θ = tanh l and x = 1/cosh l.
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
from anneal.kernels.vector import load, store

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
def real4(latent: Array, angles: Array, coefficients: Array, start: int, stop: int) -> None:
    """Write α, β and γ of ``Real4`` gates, (chunks, 3, ≥ out, 16), for 16 inputs a chunk.

    latent: (out, n). angles: (4, out, n). Only the outputs from ``start`` to ``stop``.

    The weight (θ, x) turns by the angle of YI, gives a part to α by that of YZ, mixes with the pure
    activation by that of ZY, and the activation turns by that of IY.
    """
    out, n = latent.shape
    apart = coefficients.shape[2] * LANES
    flat_latent, flat_angles, into = latent.ravel(), angles.ravel(), coefficients.ravel()
    for j in range(start, stop):
        for i in range(0, n, LANES):
            at, to, count = j * n + i, i // LANES * 3 * apart + j * LANES, min(LANES, n - i)
            s0, c0 = _sin_cos(load_part(flat_angles, at, count))
            s1, c1 = _sin_cos(load_part(flat_angles, out * n + at, count))
            s2, c2 = _sin_cos(load_part(flat_angles, 2 * out * n + at, count))
            s3, c3 = _sin_cos(load_part(flat_angles, 3 * out * n + at, count))
            w, v = _weight_bit(load_part(flat_latent, at, count))
            spin = c2 * c3 * (c1 * w + s1 * v)
            pure = c2 * s3
            store(into, to, s2 * c3 * (s1 * w - c1 * v))
            store(into, apart + to, c0 * spin + s0 * pure)
            store(into, 2 * apart + to, s0 * spin - c0 * pure)


@kernel
def real4_backward(
    latent: Array,
    angles: Array,
    coefficients: Array,
    latent_gradient: Array,
    angle_gradient: Array,
    start: int,
    stop: int,
) -> None:
    """Write the gradients of l, (out, n), and of the angles, (4, out, n).

    coefficients: gradients of α, β and γ, (3, ≥ out, width), width n rounded up to 16.
    """
    out, n = latent.shape
    _, num_outputs, width = coefficients.shape
    flat_latent, flat_angles, given = latent.ravel(), angles.ravel(), coefficients.ravel()
    to_latent, to_angles = latent_gradient.ravel(), angle_gradient.ravel()
    zero = constant(0.0)
    for j in range(start, stop):
        for i in range(0, n, LANES):
            at, place, count = j * n + i, j * width + i, min(LANES, n - i)
            s0, c0 = _sin_cos(load_part(flat_angles, at, count))
            s1, c1 = _sin_cos(load_part(flat_angles, out * n + at, count))
            s2, c2 = _sin_cos(load_part(flat_angles, 2 * out * n + at, count))
            s3, c3 = _sin_cos(load_part(flat_angles, 3 * out * n + at, count))
            w, v = _weight_bit(load_part(flat_latent, at, count))
            turned, across = c1 * w + s1 * v, c1 * v - s1 * w
            mixed, kept = c3 * turned, c3 * across
            spin, pure = c2 * mixed, c2 * s3
            b, c = c0 * spin + s0 * pure, s0 * spin - c0 * pure
            of_a = load(given, place)
            of_b = load(given, num_outputs * width + place)
            of_c = load(given, 2 * num_outputs * width + place)
            of_spin, of_pure = c0 * of_b + s0 * of_c, s0 * of_b - c0 * of_c
            inner = of_spin * mixed + of_pure * s3
            store_part(to_angles, at, count, of_c * b - of_b * c)
            of_u = zero - s2 * inner - of_a * c2 * kept
            store_part(to_angles, 2 * out * n + at, count, of_u)
            of_turned, of_across = c2 * of_spin, zero - s2 * of_a
            of_u = c2 * c3 * of_pure - s3 * (of_turned * turned + of_across * across)
            store_part(to_angles, 3 * out * n + at, count, of_u)
            of_turned, of_across = c3 * of_turned, c3 * of_across
            of_v = of_turned * across - of_across * turned
            store_part(to_angles, out * n + at, count, of_v)
            of_w, of_v = c1 * of_turned - s1 * of_across, s1 * of_turned + c1 * of_across
            store_part(to_latent, at, count, v * (v * of_w - w * of_v))
