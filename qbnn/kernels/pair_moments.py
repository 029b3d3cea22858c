"""Mean and variance of counts of pairs with real gates, in one pass over all pairs.

m = α + βφ + γχ of every pair is made where it is used, by two multiplications; its sum is the mean,
that of 1 − m² the variance. Matrix products over the features of m and m² (docs/mathematics.md)
take six multiplications a pair and not three, and keep powers of weights and features in memory.

Arrays are float32. ``line``, ``step``, ``shape`` and rows are those of
:mod:`qbnn.kernels.patches`; a dense layer has pixels 1 × 1. ``coefficients``: (chunks, 3, out, 16),
α, β and γ, both n and out rounded up to a multiple of 16, with zeros beyond the outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from anneal.kernels.compile import inlined, kernel
from anneal.kernels.lanes import (
    constant,
    load_part,
    multiply_add,
    spread,
    store_part,
    transpose,
)
from anneal.kernels.vector import add, load, store, subtract
from qbnn.kernels.patches import Array, Shape, gather, patch_step, scatter

LANES = 16
FORWARD_ROWS = 128  # whose sums, 16 KiB, stay in the nearest cache with the weights,
DEPTH = 128  # of so many inputs
BACKWARD_ROWS = 64  # whose bits and their gradients of 16 inputs do, 16 KiB
GROUP = 4  # outputs whose weights and their gradients stay in registers


@kernel
def moments(
    line: Array,
    step: int,
    shape: Shape,
    coefficients: Array,
    mean: Array,
    variance: Array,
    first: int,
    last: int,
    start: int,
    stop: int,
) -> None:
    """Write mean and variance, (rows, out), of the rows from ``start`` to ``stop``.

    Only of the outputs from 16·``first`` to 16·``last``.
    """
    n, out = shape[0] * shape[3] * shape[3], mean.shape[1]
    num_outputs, width = coefficients.shape[2], len(coefficients) * LANES
    weights, to_mean, to_variance = coefficients.ravel(), mean.ravel(), variance.ravel()
    direct, patch, apart = _is_direct(shape), patch_step(width), width + LANES
    patches = np.zeros(0 if direct else FORWARD_ROWS * patch, np.float32)
    panel = np.empty(2 * FORWARD_ROWS * width, np.float32)
    part = np.empty(3 * LANES * DEPTH, np.float32)
    sums = np.empty(2 * LANES * FORWARD_ROWS, np.float32)
    for row in range(start, stop, FORWARD_ROWS):
        count = min(FORWARD_ROWS, stop - row)
        if direct:
            _pack(line, row * step, step, shape[0], count, n, panel, width)
        else:
            gather(line, step, shape, row, count, patches, patch, apart)
            _pack(patches, 0, patch, apart, count, n, panel, width)
        for block in range(first, last):
            sums[:] = 0
            if n % 2:  # the one more that is added counts as 0 − 1
                for r in range(count):
                    store(sums, 2 * LANES * r + LANES, constant(1.0))
            for depth in range(0, n, DEPTH):
                size = min(DEPTH, n - depth)
                for i in range(0, size, LANES):
                    for kind in range(3):
                        place = (depth + i) // LANES * 3 + kind
                        place = (place * num_outputs + block * LANES) * LANES
                        transpose(weights, place, LANES, part, (3 * i + kind) * LANES, 3 * LANES)
                for r in range(0, count, 8):
                    _eight_rows(panel, 2 * (r * width + 8 * depth), part, size, sums, r)
            lanes = min(LANES, out - block * LANES)
            for r in range(count):
                to = (row + r) * out + block * LANES
                store_part(to_mean, to, lanes, load(sums, 2 * LANES * r))
                negative = load(sums, 2 * LANES * r + LANES)
                store_part(to_variance, to, lanes, subtract(constant(0.0), negative))


@kernel
def direct_backward(
    line: Array,
    step: int,
    coefficients: Array,
    of_mean: Array,
    of_variance: Array,
    to_coefficients: Array,
    to_line: Array,
    start: int,
    stop: int,
) -> None:
    """Write the gradients of α, β and γ, and of ``line``, (rows, 2n), where each row reads a pixel.

    of_mean, of_variance: gradients of Σm and −½Σm², (rows, out), out a multiple of 4.
    to_coefficients: (3, out, n), rounded up like the coefficients. An empty ``to_line`` is not
    written. Only for the inputs from 16·``start`` to 16·``stop``.
    """
    num_rows, n = len(of_mean), to_line.shape[1] // 2
    wanted = len(to_line) > 0
    into = to_line.ravel()
    bits = np.empty(2 * LANES * BACKWARD_ROWS, np.float32)
    back = np.empty_like(bits)
    for chunk in range(start, stop):
        i = chunk * LANES
        lanes = min(LANES, n - i)
        for row in range(0, num_rows, BACKWARD_ROWS):
            count = min(BACKWARD_ROWS, num_rows - row)
            for r in range(count):
                from_ = (row + r) * step + i
                store(bits, 2 * LANES * r, load_part(line, from_, lanes))
                store(bits, 2 * LANES * r + LANES, load_part(line, from_ + n, lanes))
            if wanted:
                back[:] = 0
            place = 0, LANES, 2 * LANES
            _chunk_backward(
                bits, back, place, row, count, chunk, coefficients, of_mean, of_variance,
                to_coefficients, row == 0, wanted,
            )  # fmt: skip
            if wanted:
                for r in range(count):
                    to = 2 * n * (row + r) + i
                    found = load(back, 2 * LANES * r), load(back, 2 * LANES * r + LANES)
                    store_part(into, to, lanes, found[0])
                    store_part(into, to + n, lanes, found[1])


@kernel
def patches_backward(
    line: Array,
    step: int,
    shape: Shape,
    coefficients: Array,
    of_mean: Array,
    of_variance: Array,
    to_coefficients: Array,
    to_line: Array,
    start: int,
    stop: int,
) -> None:
    """Write the gradients of α, β and γ, and add that of ``line``, flat, 2·channels a pixel.

    Only from the rows from ``start`` to ``stop``; otherwise as :func:`direct_backward`.
    """
    width, wanted = len(coefficients) * LANES, len(to_line) > 0
    patch, apart = patch_step(width), width + LANES
    bits = np.zeros(BACKWARD_ROWS * patch, np.float32)
    back = np.zeros(BACKWARD_ROWS * patch if wanted else 0, np.float32)
    for row in range(start, stop, BACKWARD_ROWS):
        count = min(BACKWARD_ROWS, stop - row)
        gather(line, step, shape, row, count, bits, patch, apart)
        back[:] = 0
        for chunk in range(width // LANES):
            place = chunk * LANES, apart, patch
            _chunk_backward(
                bits, back, place, row, count, chunk, coefficients, of_mean, of_variance,
                to_coefficients, row == start, wanted,
            )  # fmt: skip
        if wanted:
            scatter(back, patch, apart, shape, row, count, to_line)


@inlined
def _is_direct(shape: Any) -> Any:
    """Whether every row reads one pixel, in order."""
    return shape[3] == 1 and shape[4] == 1 and shape[5] == 0


@kernel
def _pack(
    read: Array, at: int, step: int, apart: int, count: int, n: int, panel: Array, width: int
) -> None:
    """Copy bits of rows ``step`` apart: of every eight rows φ and then χ, input by input.

    So a product over inputs reads one stream of memory.
    """
    square = np.zeros(LANES * LANES, np.float32)
    for r in range(0, count, 8):
        for i in range(0, n, LANES):
            lanes = min(LANES, n - i)
            for k in range(min(8, count - r)):
                place = at + (r + k) * step + i
                store(square, k * LANES, load_part(read, place, lanes))
                store(square, (8 + k) * LANES, load_part(read, place + apart, lanes))
            transpose(square, 0, LANES, panel, 2 * (r * width + 8 * i), LANES)


@inlined
def _pairs(
    mean: Any, negative: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, panel: Any, at: Any
) -> Any:
    """Add m and m² − 1 of two inputs' pairs with 16 outputs.

    Both squares less two, at once, is as exact as the pairs are.
    """
    m = multiply_add(c, spread(panel, at + 8), multiply_add(b, spread(panel, at), a))
    square = multiply_add(m, m, constant(-2.0))
    mean = add(mean, m)
    m = multiply_add(f, spread(panel, at + 24), multiply_add(e, spread(panel, at + 16), d))
    return add(mean, m), add(negative, multiply_add(m, m, square))


@inlined
def _add_to(sums: Any, at: Any, mean: Any, negative: Any) -> Any:
    store(sums, at, add(load(sums, at), mean))
    store(sums, at + LANES, add(load(sums, at + LANES), negative))


@kernel
def _eight_rows(
    panel: Array, at: int, weights: Array, num_inputs: int, sums: Array, row: int
) -> None:
    """Add Σm and Σ(m² − 1) over some inputs, for eight rows from ``row`` on and 16 outputs.

    panel: their bits from ``at`` on. weights: α, β and γ of these outputs, input by input.
    """
    zero = constant(0.0)
    m0, m1, m2, m3, m4, m5, m6, m7 = zero, zero, zero, zero, zero, zero, zero, zero
    v0, v1, v2, v3, v4, v5, v6, v7 = zero, zero, zero, zero, zero, zero, zero, zero
    for place in range(0, 3 * LANES * num_inputs, 6 * LANES):
        a, b, c = load(weights, place), load(weights, place + 16), load(weights, place + 32)
        d, e, f = load(weights, place + 48), load(weights, place + 64), load(weights, place + 80)
        m0, v0 = _pairs(m0, v0, a, b, c, d, e, f, panel, at + 0)
        m1, v1 = _pairs(m1, v1, a, b, c, d, e, f, panel, at + 1)
        m2, v2 = _pairs(m2, v2, a, b, c, d, e, f, panel, at + 2)
        m3, v3 = _pairs(m3, v3, a, b, c, d, e, f, panel, at + 3)
        m4, v4 = _pairs(m4, v4, a, b, c, d, e, f, panel, at + 4)
        m5, v5 = _pairs(m5, v5, a, b, c, d, e, f, panel, at + 5)
        m6, v6 = _pairs(m6, v6, a, b, c, d, e, f, panel, at + 6)
        m7, v7 = _pairs(m7, v7, a, b, c, d, e, f, panel, at + 7)
        at += 32
    to = 2 * LANES * row
    _add_to(sums, to, m0, v0)
    _add_to(sums, to + 32, m1, v1)
    _add_to(sums, to + 64, m2, v2)
    _add_to(sums, to + 96, m3, v3)
    _add_to(sums, to + 128, m4, v4)
    _add_to(sums, to + 160, m5, v5)
    _add_to(sums, to + 192, m6, v6)
    _add_to(sums, to + 224, m7, v7)


@kernel
def _chunk_backward(
    bits: Array, back: Array, place: tuple[int, int, int], row: int, count: int, chunk: int,
    coefficients: Array, of_mean: Array, of_variance: Array, to_coefficients: Array,
    fresh: bool, wanted: bool,
) -> None:  # fmt: skip
    """Take gradients through the pairs of 16 inputs and all outputs, for the rows from ``row`` on.

    ``bits`` and ``back``: φ at ``place[0]``, χ ``place[1]`` on, rows ``place[2]`` apart; their
    gradients are added to ``back`` if ``wanted``. Those of the coefficients are added, or
    written if ``fresh``.
    """
    _, num_outputs, width = to_coefficients.shape
    out = of_mean.shape[1]
    weights, into = coefficients.ravel(), to_coefficients.ravel()
    of_m, of_v = of_mean.ravel(), of_variance.ravel()
    for j in range(0, out, GROUP):
        at = (3 * chunk * num_outputs + j) * LANES, num_outputs * LANES, LANES
        to = j * width + chunk * LANES, num_outputs * width, width
        given = row * out + j, out
        if wanted:
            _group_backward(
                bits, back, place, count, weights, at, into, to, of_m, of_v, given, fresh, True
            )
        else:
            _group_backward(
                bits, back, place, count, weights, at, into, to, of_m, of_v, given, fresh, False
            )


@inlined
def _pull(a: Any, b: Any, c: Any, z: Any, s: Any, of_m: Any, of_v: Any, at: Any) -> Any:
    """Gradient of m, of Σm and −½Σm²."""
    m = multiply_add(c, s, multiply_add(b, z, a))
    return multiply_add(m, spread(of_v, at), spread(of_m, at))


@inlined
def _onto_weights(t: Any, z: Any, s: Any, da: Any, db: Any, dc: Any) -> Any:
    return add(da, t), multiply_add(t, z, db), multiply_add(t, s, dc)


@inlined
def _weights_of(weights: Any, at: Any, k: Any) -> Any:
    """α, β and γ of output k of a group."""
    place = at[0] + k * at[2]
    return load(weights, place), load(weights, place + at[1]), load(weights, place + 2 * at[1])


@inlined
def _keep(into: Any, at: Any, k: Any, da: Any, db: Any, dc: Any, fresh: Any) -> Any:
    """Write the gradients of output k of a group, or add them."""
    place = at[0] + k * at[2]
    if not fresh:
        da = add(da, load(into, place))
        db = add(db, load(into, place + at[1]))
        dc = add(dc, load(into, place + 2 * at[1]))
    store(into, place, da)
    store(into, place + at[1], db)
    store(into, place + 2 * at[1], dc)


@inlined
def _group_backward(
    bits: Any, back: Any, place: Any, count: Any, weights: Any, at: Any, into: Any, to: Any,
    of_m: Any, of_v: Any, given: Any, fresh: Any, wanted: Any,
) -> Any:  # fmt: skip
    """Take gradients through the pairs of 16 inputs and 4 outputs."""
    a0, b0, c0 = _weights_of(weights, at, 0)
    a1, b1, c1 = _weights_of(weights, at, 1)
    a2, b2, c2 = _weights_of(weights, at, 2)
    a3, b3, c3 = _weights_of(weights, at, 3)
    zero = constant(0.0)
    da0, da1, da2, da3 = zero, zero, zero, zero
    db0, db1, db2, db3 = zero, zero, zero, zero
    dc0, dc1, dc2, dc3 = zero, zero, zero, zero
    for r in range(count):
        spin = place[0] + r * place[2]
        coherence = spin + place[1]
        z, s, g = load(bits, spin), load(bits, coherence), given[0] + r * given[1]
        t0 = _pull(a0, b0, c0, z, s, of_m, of_v, g)
        da0, db0, dc0 = _onto_weights(t0, z, s, da0, db0, dc0)
        t1 = _pull(a1, b1, c1, z, s, of_m, of_v, g + 1)
        da1, db1, dc1 = _onto_weights(t1, z, s, da1, db1, dc1)
        t2 = _pull(a2, b2, c2, z, s, of_m, of_v, g + 2)
        da2, db2, dc2 = _onto_weights(t2, z, s, da2, db2, dc2)
        t3 = _pull(a3, b3, c3, z, s, of_m, of_v, g + 3)
        da3, db3, dc3 = _onto_weights(t3, z, s, da3, db3, dc3)
        if wanted:
            u, v = load(back, spin), load(back, coherence)
            u, v = multiply_add(b0, t0, u), multiply_add(c0, t0, v)
            u, v = multiply_add(b1, t1, u), multiply_add(c1, t1, v)
            u, v = multiply_add(b2, t2, u), multiply_add(c2, t2, v)
            u, v = multiply_add(b3, t3, u), multiply_add(c3, t3, v)
            store(back, spin, u)
            store(back, coherence, v)
    _keep(into, to, 0, da0, db0, dc0, fresh)
    _keep(into, to, 1, da1, db1, dc1, fresh)
    _keep(into, to, 2, da2, db2, dc2, fresh)
    _keep(into, to, 3, da3, db3, dc3, fresh)
