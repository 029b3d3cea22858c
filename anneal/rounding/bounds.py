"""What the rounding of a layer costs in the problem that was posed, and what any must cost."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from anneal.kernels import relaxed as kernels
from anneal.kernels.threads import over_rows
from anneal.rounding.grids import Floats
from anneal.rounding.rows import LayerRows, Levels
from anneal.rounding.spheres import search

# Nodes of the search for each row: it ends for the narrow ones, and is of no use for the others.
NARROW, MANY_NODES, FEW_NODES = 32, 100_000, 1_000
PROVED = 0.99  # of the cost: then there is nothing more to prove
# Of the relaxation: sweeps over the weights, fewer where there are more products to make, and the
# move in levels after which it is done.
MIN_SWEEPS, MAX_SWEEPS, MAX_WORK, TOLERANCE = 10, 200, 2 * 10**10, 1e-3
# Of the diagonal: weights, steps for each, and how they shrink; beyond so many inputs there are
# none, a step being a matrix inverse.
NUM_BARRIERS, NUM_STEPS, BARRIER_SHRINKS, WIDE = 10, 4, 0.2, 1536
LEAST_GAIN = 0.01
ROUNDING = 1e-15  # how exactly an eigenvalue is known, relative to the greatest and to each row
TINY = 1e-12


class Posed(NamedTuple):
    """Costs of a layer's rows, summed: of the levels chosen, of the nearest levels, and below which
    no levels can be; None where nobody asked.
    """

    cost: float
    nearest: float
    bound: float | None = None


def judge_rows(
    rows: LayerRows,
    levels: Levels,
    nearest: Levels,
    *,
    bounds: bool = False,
    max_nodes: int | None = None,
    num_threads: int = 1,
) -> Posed:
    """Return what levels cost in a problem, beside ``nearest``, which may lie out of its bounds.

    ``bounds``, ``max_nodes``: also what :func:`lower_bounds` proves.
    """
    wide = replace(
        rows, lower=np.minimum(rows.lower, nearest), upper=np.maximum(rows.upper, nearest)
    )
    found = Posed(float(rows.costs(levels).sum()), float(wide.costs(nearest).sum()))
    if not bounds:
        return found
    proved = lower_bounds(rows, levels, max_nodes=max_nodes, num_threads=num_threads)
    return found._replace(bound=float(proved.sum()))


def lower_bounds(
    rows: LayerRows, levels: Levels, *, max_nodes: int | None = None, num_threads: int = 1
) -> Floats:
    """Return numbers that no rounding of a row costs less than, (rows,).

    What an exhaustive search from ``levels`` proves within its nodes, all there is to prove where
    rows are narrow, and else the greater of that and :func:`relaxed_bounds`. ``max_nodes``: of each
    row, if not many where rows are narrow and few elsewhere.

    >>> rows = LayerRows(np.array([[0.4, 0.6]]), np.eye(2)[None], *np.array([[[0, 0]], [[1, 1]]]),
    ...             np.ones(1), np.zeros(1))
    >>> lower_bounds(rows, np.array([[0, 1]]))
    array([0.32])
    """
    nodes = max_nodes or (MANY_NODES if rows.fan_in <= NARROW else FEW_NODES)
    found = search(rows, levels, num_threads=num_threads, max_nodes=nodes)
    if found.bounds.sum() >= PROVED * rows.costs(found.levels).sum():
        return found.bounds
    return np.maximum(found.bounds, relaxed_bounds(rows, num_threads=num_threads))


def relaxed_bounds(rows: LayerRows, *, num_threads: int = 1) -> Floats:
    """Return the least cost of each row where all but a diagonal of H is convex, from below.

    With a diagonal D, H − D = M ⪰ 0, and any y, e = q − t has eᵀHe ≥ Σ (D_i e_i² + 2 g_i e_i) − gᵀy
    for g = My; the sum is least weight by weight. The best y minimises yᵀMy + Σ D_i c_i(y_i) with
    c_i the square at whole q_i and linear between (the convex reformulation of Billionnet, Elloumi
    and Plateau 2009, for more than two levels); one that is not quite the best gives a bound too.
    """
    groups = len(rows.hessian)
    diagonals = np.stack([_diagonal(rows, group) for group in range(groups)])
    matrices = rows.hessian - diagonals[:, :, None] * np.eye(rows.fan_in)
    shifts = np.zeros_like(rows.target)
    plain = dual_costs(rows, diagonals, matrices, shifts)
    arrays = rows.target, rows.lower, rows.upper, matrices, diagonals, rows.rows_per_group, shifts
    work = rows.num_rows * rows.fan_in**2
    sweeps = min(max(MAX_WORK // work, MIN_SWEEPS), MAX_SWEEPS)
    over_rows(
        lambda *part: kernels.relax(*arrays, sweeps, TOLERANCE, *part),
        rows.num_rows,
        microseconds=1e-3 * sweeps * rows.fan_in**2,
        num_threads=num_threads,
    )
    found = np.maximum(plain, dual_costs(rows, diagonals, matrices, shifts))
    bounds: Floats = rows.weight * np.maximum(found, 0.0) + rows.constant
    return bounds


def dual_costs(rows: LayerRows, diagonals: Floats, matrices: Floats, shifts: Floats) -> Floats:
    """Return Σ min (D_i e_i² + 2 g_i e_i) − gᵀy of each row, (rows,), for shifts y, (rows, n).

    diagonals: (groups, n); matrices: H − D of each group. In units of the squared step.
    """
    groups, size = len(diagonals), rows.fan_in
    gradients = np.matmul(shifts.reshape(groups, -1, size), matrices).reshape(shifts.shape)
    weights = np.repeat(diagonals, rows.rows_per_group, 0)
    # Where D_i is 0 the least lies at an end, which the quotient finds once it is large.
    center = rows.target - gradients / np.maximum(weights, TINY * np.abs(gradients).max() + TINY)
    errors = np.clip(np.rint(center), rows.lower, rows.upper) - rows.target
    total = (weights * errors + 2 * gradients) * errors - gradients * shifts
    found: Floats = total.sum(1)
    return found


def _diagonal(rows: LayerRows, group: int) -> Floats:
    """Return D ≥ 0 with H − D ⪰ 0 and about the greatest Σ w_i D_i, (n,).

    w_i: the mean over the rows of a group of what D_i adds where a weight stays between its levels,
    f(1 − f) with f its fraction. By Newton's method on Σ (w_i D_i + μ log D_i) + μ log det(H − D)
    for smaller and smaller μ. Zero where H is singular.
    """
    hessian, part = rows.hessian[group], slice(*(np.array([0, 1]) + group) * rows.rows_per_group)
    values = np.linalg.eigvalsh(hessian)
    noise = ROUNDING * rows.fan_in * values[-1]
    if values[0] <= 2 * noise:
        return np.zeros(rows.fan_in)
    fraction = rows.target[part] - np.floor(rows.target[part])
    gains = (rows.weight[part, None] * fraction * (1 - fraction)).mean(0)
    gains = gains / (gains.mean() or 1.0) + LEAST_GAIN
    # 1/(H⁻¹)_ii is the most that D_i may be alone; this multiple of it is possible for all.
    alone = 1 / np.diagonal(np.linalg.inv(hessian))
    least = np.linalg.eigvalsh(hessian / np.sqrt(np.outer(alone, alone)))[0]
    found = 0.9 * max(least, 0.0) * alone
    if rows.fan_in <= WIDE and least > 0:
        found = _ascend(hessian, gains, found)
    # What rounding of the inverse may have added is taken back.
    lack = max(2 * noise - float(np.linalg.eigvalsh(hessian - np.diag(found))[0]), 0.0)
    kept: Floats = found * (1 - lack / (lack + values[0]))
    return kept


def _ascend(hessian: Floats, gains: Floats, start: Floats) -> Floats:
    """Return what Newton's method makes of a diagonal inside the bounds."""
    found, mu = start, float(gains @ start) / len(start)
    for _ in range(NUM_BARRIERS):
        for _ in range(NUM_STEPS):
            inverse = np.linalg.inv(hessian - np.diag(found))
            slope = gains - mu * np.diagonal(inverse) + mu / found
            curvature = mu * (inverse * inverse + np.diag(1 / found**2))
            step = np.linalg.solve(curvature, slope)
            size = math.sqrt(max(float(slope @ step) / mu, 0.0))
            # A step of this length stays inside (Nesterov and Nemirovski 1994, §2.2).
            found = found + step / (1.0 if size < 0.25 else 1 + size)
            if size < 0.5:
                break
        mu *= BARRIER_SHRINKS
    return found
