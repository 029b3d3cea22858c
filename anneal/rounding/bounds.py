"""What the rounding of a layer costs in the problem that was posed, and what any must cost."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from anneal.rounding.grids import Floats
from anneal.rounding.rows import LayerRows, Levels
from anneal.rounding.spheres import search

# Nodes of the search for each row: it ends for the narrow ones, and is of no use for the others.
NARROW, MANY_NODES, FEW_NODES = 32, 100_000, 1_000
ROUNDING = 1e-15  # how exactly an eigenvalue is known, relative to the greatest and to each row


class Posed(NamedTuple):
    """Costs of a layer's rows, summed: of the levels chosen, of the nearest levels, and below which
    no levels can be; None where nobody asked.
    """

    cost: float
    nearest: float
    bound: float | None = None


def judge_rows(
    rows: LayerRows, levels: Levels, nearest: Levels, *, bounds: bool = False, num_threads: int = 1
) -> Posed:
    """Return what levels cost in a problem, beside ``nearest``, which may lie out of its bounds."""
    wide = replace(
        rows, lower=np.minimum(rows.lower, nearest), upper=np.maximum(rows.upper, nearest)
    )
    found = Posed(float(rows.costs(levels).sum()), float(wide.costs(nearest).sum()))
    if not bounds:
        return found
    return found._replace(bound=float(lower_bounds(rows, levels, num_threads=num_threads).sum()))


def lower_bounds(rows: LayerRows, levels: Levels, *, num_threads: int = 1) -> Floats:
    """Return numbers that no rounding of a row costs less than, (rows,).

    The greater of what an exhaustive search from ``levels`` proves within its nodes, all there is
    to prove where rows are narrow, and :func:`spectral_bounds`.

    >>> rows = LayerRows(np.array([[0.4, 0.6]]), np.eye(2)[None], *np.array([[[0, 0]], [[1, 1]]]),
    ...             np.ones(1), np.zeros(1))
    >>> lower_bounds(rows, np.array([[0, 1]]))
    array([0.32])
    """
    nodes = MANY_NODES if rows.fan_in <= NARROW else FEW_NODES
    found = search(rows, levels, num_threads=num_threads, max_nodes=nodes).bounds
    return np.maximum(found, spectral_bounds(rows))


def spectral_bounds(rows: LayerRows) -> Floats:
    """Return λ Σ s_i min (q_i − t_i)² over the levels q_i of each weight alone, (rows,).

    λS with s_i = 1/(H⁻¹)_ii, the most that one weight can cost whatever the others do, and λ the
    least eigenvalue of S^(−½) H S^(−½), is the largest multiple of S with H − λS ⪰ 0. So (q − t)ᵀ
    H(q − t) is no less, and equal where H is diagonal.
    """
    apart = np.square(rows.nearest() - rows.target)
    apart = apart.reshape(len(rows.hessian), -1, rows.fan_in)
    found = np.zeros(apart.shape[:2])
    for group, hessian in enumerate(rows.hessian):
        ends = np.linalg.eigvalsh(hessian)[[0, -1]]
        if ends[0] <= ROUNDING * rows.fan_in * ends[1]:
            continue
        alone = 1 / np.diagonal(np.linalg.inv(hessian))
        scaled = hessian / np.sqrt(np.outer(alone, alone))
        values = np.linalg.eigvalsh(scaled)
        share = values[0] - ROUNDING * rows.fan_in * values[-1]
        found[group] = apart[group] @ alone * max(share, 0.0)
    bounds: Floats = rows.weight * found.ravel() + rows.constant
    return bounds
