"""A step of AdaRound's relaxation: all that it does with a weight, in one pass."""

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
    logarithm,
    square_root,
    store_part,
)
from anneal.kernels.vector import above, at_least, both, select

LANES = 16
STRETCH, SHIFT = 1.2, -0.1  # of the rectified sigmoid, Nagel et al. 2020, eq. 23
FIRST, SECOND, TINY = 0.9, 0.999, 1e-8  # Adam's
Array = NDArray[np.float32]


@inlined
def _sigmoid(x: Any) -> Any:
    small = exponential(constant(0.0) - absolute(x))
    upper = constant(1.0) / (constant(1.0) + small)
    return select(at_least(x, constant(0.0)), upper, small * upper)


@inlined
def _between(x: Any) -> Any:
    """The rectified sigmoid h of its sigmoid."""
    h = constant(STRETCH) * x + constant(SHIFT)
    h = select(above(h, constant(0.0)), h, constant(0.0))
    return select(above(h, constant(1.0)), constant(1.0), h)


@kernel
def step(
    values: Array,
    parts: Array,
    means: Array,
    base: Array,
    room: Array,
    weight: Array,
    slopes: Array,
    error: Array,
    regularisation: float,
    beta: float,
    rates: Array,
    start: int,
    stop: int,
) -> None:
    """Move V by Adam, and write the error base + h(V)·room that it comes to, rows start … stop.

    values, parts, base, room, slopes, error: (rows, n); parts: sigmoids of V, before and after;
    slopes: H·error. means: (2, rows, n), Adam's.
    weight: (rows,). rates: (2,), the length of a step and a factor of the second mean, both with
    Adam's corrections. The cost is weight·errorᵀH·error + regularisation·Σ(1 − abs(2h − 1)^beta).
    """
    n = values.shape[1]
    v_flat, base_flat, room_flat, slope_flat, error_flat = (
        values.ravel(), base.ravel(), room.ravel(), slopes.ravel(), error.ravel(),
    )  # fmt: skip
    part_flat, first, second = parts.ravel(), means[0].ravel(), means[1].ravel()
    zero, one = constant(0.0), constant(1.0)
    push = constant(-2 * regularisation * beta)
    for row in range(start, stop):
        double = constant(2 * weight[row])
        for i in range(0, n, LANES):
            at, count = row * n + i, min(LANES, n - i)
            v, free = load_part(v_flat, at, count), load_part(room_flat, at, count)
            part = load_part(part_flat, at, count)
            h = _between(part)
            slope = double * load_part(slope_flat, at, count) * free
            if regularisation > 0:
                centred = h + h - one
                size = absolute(centred)
                size = select(above(size, constant(1e-30)), size, constant(1e-30))
                power = exponential(constant(beta - 1) * logarithm(size))
                slope = slope + push * copy_sign(power, centred)
            # h has no slope where it is clipped.
            slope = slope * constant(STRETCH) * part * (one - part)
            slope = select(both(above(h, zero), above(one, h)), slope, zero)
            m = constant(FIRST) * load_part(first, at, count) + constant(1 - FIRST) * slope
            s = constant(SECOND) * load_part(second, at, count)
            s = s + constant(1 - SECOND) * slope * slope
            v = v - constant(rates[0]) * m / (square_root(s * constant(rates[1])) + constant(TINY))
            store_part(first, at, count, m)
            store_part(second, at, count, s)
            store_part(v_flat, at, count, v)
            part = _sigmoid(v)
            store_part(part_flat, at, count, part)
            reached = load_part(base_flat, at, count) + _between(part) * free
            store_part(error_flat, at, count, reached)
