"""One pass from the moments of counts to what the next layer multiplies, and one pass back.

Arrays are float32 and flat: ``rows`` rows of ``width`` channels, (batch, channels) or (batch,
height, width, channels), each array with the distance from row to row that is named beside it.
z = (slope·μ + offset)/√max(V, floor), φ = 2Φ(z) − 1 and χ = 2√(Φ(z)Φ(−z)), as
:func:`qbnn.emulation.z_score` and :meth:`qbnn.states.Bits.from_z` define them.
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
    square_root,
    store_part,
)
from anneal.kernels.vector import above, at_least, select

LANES = 16
BLOCK = 256  # rows that are summed in float32, before float64
Array = NDArray[np.float32]
Sums = NDArray[np.float64]


@inlined
def _tail(z: Any) -> Any:
    """Φ(−abs(z)) = t exp(P(t) − z²/2), t = 1/(1 + 0.4 abs(z)): our fit, to 10⁻⁷ of its size.

    The form is that of Press et al., Numerical Recipes §6.2.
    """
    t = constant(1.0) / (constant(1.0) + constant(0.4) * absolute(z))
    p = constant(0.189883605) * t - constant(0.972388146)
    p = p * t + constant(1.94167416)
    p = p * t - constant(1.74343441)
    p = p * t + constant(0.536676071)
    p = p * t - constant(0.179159782)
    p = p * t + constant(0.371555657)
    p = p * t + constant(0.997168715)
    p = p * t - constant(1.83512296)
    return t * exponential(p - constant(0.5) * z * z)


@kernel
def bits(
    mean: Array,
    mean_step: int,
    variance: Array,
    variance_step: int,
    affine: Array,
    floor: float,
    border: float,
    coherent: bool,
    line: Array,
    square: Array,
    start: int,
    stop: int,
) -> None:
    """Write φ + border and χ to ``line``, φ² − border and φχ to ``square``, side by side in a row.

    affine: (2, width), slope and offset. Without ``coherent`` there is no χ and no φχ. An empty
    ``square`` is not written. Only the rows from ``start`` to ``stop``.
    """
    width = affine.shape[1]
    flat = affine.ravel()
    step = 2 * width if coherent else width
    one, two, more = constant(1.0), constant(2.0), constant(border)
    for row in range(start, stop):
        for c in range(0, width, LANES):
            count = min(LANES, width - c)
            v = load_part(variance, row * variance_step + c, count)
            v = select(at_least(v, constant(floor)), v, constant(floor))
            z = load_part(flat, c, count) * load_part(mean, row * mean_step + c, count)
            z = (z + load_part(flat, width + c, count)) / square_root(v)
            q = _tail(z)
            spin = copy_sign(one - two * q, z)
            at = row * step + c
            store_part(line, at, count, spin + more)
            if square.size > 0:
                store_part(square, at, count, spin * spin - more)
            if coherent:
                chi = two * square_root(q * (one - q))
                store_part(line, at + width, count, chi)
                if square.size > 0:
                    store_part(square, at + width, count, spin * chi)


@kernel
def bits_backward(
    mean: Array,
    mean_step: int,
    variance: Array,
    variance_step: int,
    affine: Array,
    floor: float,
    coherent: bool,
    line: Array,
    square: Array,
    to_mean: Array,
    to_variance: Array,
    sums: Sums,
    start: int,
    stop: int,
) -> None:
    """Write the gradients of μ and V, (rows, width), from those of ``line`` and ``square``.

    sums: (2, width), to which the gradients of slope and offset are added.
    """
    width = affine.shape[1]
    flat = affine.ravel()
    step = 2 * width if coherent else width
    one, two, zero, least = constant(1.0), constant(2.0), constant(0.0), constant(floor)
    part = np.zeros(2 * width, np.float32)
    for row in range(start, stop):
        for c in range(0, width, LANES):
            count = min(LANES, width - c)
            v = load_part(variance, row * variance_step + c, count)
            inside = at_least(v, least)
            v = select(inside, v, least)
            inverse = one / square_root(v)
            mu = load_part(mean, row * mean_step + c, count)
            slope = load_part(flat, c, count)
            z = (slope * mu + load_part(flat, width + c, count)) * inverse
            q = _tail(z)
            spin = copy_sign(one - two * q, z)
            at = row * step + c
            of_z = load_part(line, at, count)
            if square.size > 0:
                of_z = of_z + two * spin * load_part(square, at, count)
            if coherent:
                chi = two * square_root(q * (one - q))
                of_chi = load_part(line, at + width, count)
                if square.size > 0:
                    across = load_part(square, at + width, count)
                    of_z = of_z + chi * across
                    of_chi = of_chi + spin * across
                some = above(chi, zero)
                of_z = of_z - select(some, spin / select(some, chi, one), zero) * of_chi
            density = constant(0.7978845608028654) * exponential(constant(-0.5) * z * z)
            of_z = of_z * density * inverse
            store_part(to_mean, row * width + c, count, of_z * slope)
            half = constant(-0.5) * of_z * z * inverse
            store_part(to_variance, row * width + c, count, select(inside, half, zero))
            store_part(part, c, count, load_part(part, c, count) + of_z * mu)
            store_part(part, width + c, count, load_part(part, width + c, count) + of_z)
        if (row - start) % BLOCK == BLOCK - 1 or row == stop - 1:
            for i in range(width):
                sums[0, i] += part[i]
                sums[1, i] += part[width + i]
            part[:] = 0


@kernel
def statistics(
    mean: Array,
    mean_step: int,
    variance: Array,
    variance_step: int,
    sums: Sums,
    start: int,
    stop: int,
) -> None:
    """Add ΣμΔ, ΣμΔ² and ΣV of every channel to sums, (3, width), with μΔ = μ less the first row."""
    width = sums.shape[1]
    part = np.zeros(3 * width, np.float32)
    for row in range(start, stop):
        for c in range(0, width, LANES):
            count = min(LANES, width - c)
            mu = load_part(mean, row * mean_step + c, count) - load_part(mean, c, count)
            v = load_part(variance, row * variance_step + c, count)
            store_part(part, c, count, load_part(part, c, count) + mu)
            store_part(part, width + c, count, load_part(part, width + c, count) + mu * mu)
            store_part(part, 2 * width + c, count, load_part(part, 2 * width + c, count) + v)
        if (row - start) % BLOCK == BLOCK - 1 or row == stop - 1:
            for i in range(width):
                for kind in range(3):
                    sums[kind, i] += part[kind * width + i]
            part[:] = 0


@kernel
def statistics_backward(
    mean: Array,
    mean_step: int,
    of_mean: Array,
    of_variance: Array,
    constants: Array,
    to_mean: Array,
    to_variance: Array,
    to_step: int,
    start: int,
    stop: int,
) -> None:
    """Write the gradients of μ, c₀ + c₁μ more than given, and of V, c₂ more than given.

    constants: (3, width). Gradients given have rows of ``width``, those written of ``to_step``.
    """
    width = constants.shape[1]
    flat = constants.ravel()
    for row in range(start, stop):
        for c in range(0, width, LANES):
            count = min(LANES, width - c)
            mu = load_part(mean, row * mean_step + c, count)
            more = load_part(flat, c, count) + load_part(flat, width + c, count) * mu
            given = load_part(of_mean, row * width + c, count)
            store_part(to_mean, row * to_step + c, count, given + more)
            more = load_part(flat, 2 * width + c, count)
            given = load_part(of_variance, row * width + c, count)
            store_part(to_variance, row * to_step + c, count, given + more)
