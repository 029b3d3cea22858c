"""The law of K = Σ n_i of independent bits with P(n_i = 1) = r_i: Poisson-binomial, exactly.

The law of the first i bits is kept in a window: where an entry at either end falls below a trim of
1e-17/N it is dropped. The last position only falls, and the first rises only over what it fell, so
at most N + 14 entries are dropped at either end: less than 2e-17 (1 + 14/N) of the mass, whatever r
is. What is left is about 18σ wide, and a law of N bits costs O(N^1.5) instead of O(N²). Eight bits
join the law at once, as a polynomial of degree 8 whose product with it runs over lanes.

Position m of a window stands for the count ``top − m``, so that a product reads ahead of what it
writes and needs no second array.

All arithmetic is in float64. Probabilities r have shape (rows, N), float64 or float32, and results
have their type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anneal.errors import InputError
from anneal.kernels import vector
from anneal.kernels.compile import kernel
from anneal.kernels.lanes import multiply, multiply_add
from anneal.kernels.threads import over_rows
from qbnn.kernels.arguments import per_row

TRIM = 1e-17
STEP = 8  # bits that join at once
LANES = 8  # float64 lanes of a row of 64 bytes
CHAINS = 4  # rows of lanes side by side, which hide the latency of a multiply-add
ROOM = 1 + STEP + LANES  # entries that a window reads beyond its last one

Floats = NDArray[Any]


def tail(r: ArrayLike, kappa: ArrayLike, *, num_threads: int | None = None) -> Floats:
    """Return P(K ≥ κ), shape (rows,), to 1e-14 or, for float32, to its rounding.

    kappa: integers, (rows,) or one for all; κ ≤ 0 gives 1 and κ > N gives 0, exactly. The bits
    are taken in two halves, whose laws meet in one sum. Raises
    :class:`~anneal.errors.InputError` for other shapes.

    >>> tail([[0.5, 0.5, 0.5]], 2)
    array([0.5])
    """
    rows, counts = _checked(r, kappa)
    out = np.empty(len(rows), rows.dtype)
    _run(_tails, rows, counts, out, num_threads=num_threads, nanoseconds=0.4)
    return out


def pmf(r: ArrayLike, *, num_threads: int | None = None) -> Floats:
    """Return P(K = k) for k = 0 … N, shape (rows, N + 1); entries below 1e-17/N may be 0.

    >>> pmf([[0.5, 1.0]])
    array([[0. , 0.5, 0.5]])
    """
    rows, counts = _checked(r, 0)
    out = np.empty((len(rows), rows.shape[1] + 1), rows.dtype)
    _run(_laws, rows, counts, out, num_threads=num_threads, nanoseconds=0.6)
    return out


def tail_gradient(
    r: ArrayLike,
    kappa: ArrayLike,
    grad_out: ArrayLike | None = None,
    *,
    num_threads: int | None = None,
) -> Floats:
    """Return dP(K ≥ κ)/dr_i = P(K − n_i = κ − 1), shape (rows, N), to 1e-13.

    The tail is linear in each r_i, so this holds at r_i = 0 and 1 too. The law without bit i comes
    from that of all by undoing its factor: f(k) = (1 − r) g(k) + r g(k − 1) is solved for g upwards
    from the least count where r ≤ ½ and downwards from the greatest elsewhere, so that no error
    grows. grad_out: (rows,), multiplies the rows. ``kappa`` and errors as in :func:`tail`.

    >>> tail_gradient([[0.5, 0.5, 1.0]], 3)
    array([[0.5 , 0.5 , 0.25]])
    """
    rows, counts = _checked(r, kappa)
    out = np.empty(rows.shape, rows.dtype)
    _run(_gradients, rows, counts, out, num_threads=num_threads, nanoseconds=1.0)
    if grad_out is not None:
        out *= per_row("grad_out", grad_out, len(rows), np.float64)[:, None]
    return out


def _checked(r: ArrayLike, kappa: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
    rows = np.asarray(r)
    if rows.ndim != 2:
        raise InputError(f"argument 'r' must have shape (rows, N), but has shape {rows.shape}")
    rows = np.ascontiguousarray(rows, np.float32 if rows.dtype == np.float32 else np.float64)
    counts = per_row("kappa", kappa, len(rows), np.int64)
    return rows, np.clip(counts, 0, rows.shape[1] + 1)


def _run(
    compiled: Callable[..., None],
    rows: Floats,
    counts: NDArray[np.int64],
    out: Floats,
    *,
    num_threads: int | None,
    nanoseconds: float,
) -> None:
    def work(start: int, stop: int) -> None:
        compiled(rows[start:stop], counts[start:stop], out[start:stop])

    each = nanoseconds * 1e-3 * rows.shape[1] ** 1.5
    over_rows(work, len(rows), microseconds=each, num_threads=num_threads)


@kernel
def _top(num_bits):  # type: ignore[no-untyped-def]
    """The position of count 0, a multiple of the step."""
    return (num_bits + STEP - 1) // STEP * STEP


@kernel
def _quartic(r, i, stop):  # type: ignore[no-untyped-def]
    """Coefficients of Π (1 − r + r x) over four bits from i on; there are none from ``stop`` on."""
    a = np.float64(r[i]) if i < stop else 0.0
    b = np.float64(r[i + 1]) if i + 1 < stop else 0.0
    c = np.float64(r[i + 2]) if i + 2 < stop else 0.0
    d = np.float64(r[i + 3]) if i + 3 < stop else 0.0
    u0, u1, u2 = (1 - a) * (1 - b), (1 - a) * b + a * (1 - b), a * b
    v0, v1, v2 = (1 - c) * (1 - d), (1 - c) * d + c * (1 - d), c * d
    return u0 * v0, u0 * v1 + u1 * v0, u0 * v2 + u1 * v1 + u2 * v0, u1 * v2 + u2 * v1, u2 * v2


@kernel
def _join(p, first, last, u, v):  # type: ignore[no-untyped-def]
    """Multiply the law at ``first`` … ``last`` by two quartics; it begins STEP earlier then."""
    c0 = vector.splat(u[0] * v[0])
    c1 = vector.splat(u[0] * v[1] + u[1] * v[0])
    c2 = vector.splat(u[0] * v[2] + u[1] * v[1] + u[2] * v[0])
    c3 = vector.splat(u[0] * v[3] + u[1] * v[2] + u[2] * v[1] + u[3] * v[0])
    c4 = vector.splat(u[0] * v[4] + u[1] * v[3] + u[2] * v[2] + u[3] * v[1] + u[4] * v[0])
    c5 = vector.splat(u[1] * v[4] + u[2] * v[3] + u[3] * v[2] + u[4] * v[1])
    c6 = vector.splat(u[2] * v[4] + u[3] * v[3] + u[4] * v[2])
    c7 = vector.splat(u[3] * v[4] + u[4] * v[3])
    c8 = vector.splat(u[4] * v[4])
    for m in range(first - STEP, last + 1, LANES):
        low = multiply(c0, vector.load(p, m))
        low = multiply_add(c1, vector.load(p, m + 1), low)
        low = multiply_add(c2, vector.load(p, m + 2), low)
        low = multiply_add(c3, vector.load(p, m + 3), low)
        high = multiply(c4, vector.load(p, m + 4))
        high = multiply_add(c5, vector.load(p, m + 5), high)
        high = multiply_add(c6, vector.load(p, m + 6), high)
        high = multiply_add(c7, vector.load(p, m + 7), high)
        high = multiply_add(c8, vector.load(p, m + 8), high)
        vector.store(p, m, vector.add(low, high))


@kernel
def _law(r, start, stop, trim, p):  # type: ignore[no-untyped-def]
    """Fill p with the law of bits ``start`` … ``stop − 1``; return its first and last position."""
    first = last = _top(stop - start)
    p[:] = 0.0
    p[first] = 1.0
    for i in range(start, stop, STEP):
        _join(p, first, last, _quartic(r, i, stop), _quartic(r, i + 4, stop))
        first -= STEP
        while first < last and p[first] < trim:
            p[first] = 0.0
            first += 1
        while first < last and p[last] < trim:
            p[last] = 0.0
            last -= 1
    return first, last


@kernel
def _tails(r, kappa, out):  # type: ignore[no-untyped-def]
    """P(K ≥ κ) = Σ_j P(first half = j) P(second half ≥ κ − j)."""
    num_bits = r.shape[1]
    half = num_bits // 2
    trim = TRIM / max(num_bits, 1)
    p = np.empty(_top(half) + ROOM)
    q = np.empty(_top(num_bits - half) + ROOM)
    both = _top(half) + _top(num_bits - half)
    for row in range(r.shape[0]):
        if kappa[row] < 1 or kappa[row] > num_bits:
            out[row] = 1.0 if kappa[row] < 1 else 0.0
            continue
        p_first, p_last = _law(r[row], 0, half, trim, p)
        n, q_last = _law(r[row], half, num_bits, trim, q)
        total = beyond = 0.0
        for m in range(p_last, p_first - 1, -1):
            while n <= min(q_last, both - m - kappa[row]):
                beyond += q[n]
                n += 1
            total += p[m] * beyond
        out[row] = 1.0 if total > 1.0 else total  # min() would hide a NaN


@kernel
def _laws(r, kappa, out):  # type: ignore[no-untyped-def]
    """P(K = k) of each row."""
    num_bits = r.shape[1]
    top = _top(num_bits)
    p = np.empty(top + ROOM)
    for row in range(r.shape[0]):
        _law(r[row], 0, num_bits, TRIM / max(num_bits, 1), p)
        for k in range(num_bits + 1):
            out[row, k] = p[top - k]


@kernel
def _undo(p, begin, end, direction, moves, undone):  # type: ignore[no-untyped-def]
    """undone = g at the position before ``end`` with f(m) = (1 − ρ) g(m) + ρ g(m − direction).

    One lane a bit, ρ ≤ ½ in ``moves``; f is read from ``begin`` on, before which it is 0.
    """
    for lane in range(moves.size):
        undone[lane] = -moves[lane] / (1 - moves[lane])
    c0, c1 = vector.load(undone, 0), vector.load(undone, LANES)
    c2, c3 = vector.load(undone, 2 * LANES), vector.load(undone, 3 * LANES)
    g0 = g1 = g2 = g3 = vector.splat(0.0)
    for m in range(begin, end, direction):
        f = vector.splat(p[m])
        g0, g1 = multiply_add(c0, g0, f), multiply_add(c1, g1, f)
        g2, g3 = multiply_add(c2, g2, f), multiply_add(c3, g3, f)
    vector.store(undone, 0, g0)
    vector.store(undone, LANES, g1)
    vector.store(undone, 2 * LANES, g2)
    vector.store(undone, 3 * LANES, g3)
    for lane in range(moves.size):
        undone[lane] /= 1 - moves[lane]


@kernel
def _without_each(r, order, p, begin, end, direction, moves, undone, out):  # type: ignore[no-untyped-def]
    """out[i] = the entry of the law without bit i, for the bits in ``order``."""
    for start in range(0, order.size, moves.size):
        count = min(moves.size, order.size - start)
        moves[:] = 0.0
        for lane in range(count):
            value = np.float64(r[order[start + lane]])
            moves[lane] = value if direction < 0 else 1 - value
        _undo(p, begin, end, direction, moves, undone)
        for lane in range(count):
            out[order[start + lane]] = undone[lane]


@kernel
def _gradients(r, kappa, out):  # type: ignore[no-untyped-def]
    """P(K − n_i = κ − 1) of each row and bit."""
    num_bits = r.shape[1]
    top = _top(num_bits)
    p = np.empty(top + ROOM)
    moves, undone = np.empty(CHAINS * LANES), np.empty(CHAINS * LANES)
    order = np.empty(num_bits, np.int64)
    for row in range(r.shape[0]):
        if kappa[row] < 1 or kappa[row] > num_bits:
            out[row] = 0.0
            continue
        first, last = _law(r[row], 0, num_bits, TRIM / num_bits, p)
        low, high = 0, num_bits
        for i in range(num_bits):
            if r[row, i] <= 0.5:
                order[low] = i
                low += 1
            else:
                high -= 1
                order[high] = i
        end = top - kappa[row]  # the position of count κ
        _without_each(r[row], order[:low], p, last, end, -1, moves, undone, out[row])
        _without_each(r[row], order[low:], p, first, end + 1, 1, moves, undone, out[row])
