"""Rounding by exhaustive search with pruning: the proven optimum where there is time for it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anneal.kernels import planes as kernels
from anneal.kernels.threads import over_rows
from anneal.rounding.factors import factorise, in_order, out_of_order, rows_in_order
from anneal.rounding.grids import Floats
from anneal.rounding.neighbourhoods import TINY, lns
from anneal.rounding.rows import LayerRows, Levels

MAX_NODES = 1_000_000
NODE = 0.02  # microseconds that a node costs


class Searched(NamedTuple):
    """Levels, and below which cost no rounding of a row can be: its own where it is optimal.

    levels: (rows, n); bounds: (rows,), in the unit of
    :meth:`~anneal.rounding.rows.LayerRows.costs`.
    """

    levels: Levels
    bounds: Floats


def exact(
    rows: LayerRows,
    *,
    rng: np.random.Generator,
    start: Levels | None = None,
    num_threads: int = 1,
    max_nodes: int = MAX_NODES,
) -> Levels:
    """Search all levels of each row, ``max_nodes`` at most, from ``start`` or from ``lns``."""
    if start is None:
        start = lns(rows, rng=rng, num_threads=num_threads)
    return search(rows, start, num_threads=num_threads, max_nodes=max_nodes).levels


def search(
    rows: LayerRows, start: Levels, *, num_threads: int = 1, max_nodes: int = MAX_NODES
) -> Searched:
    """Return the best levels found from ``start`` on, never worse, and lower bounds of the costs.

    A singular Hessian is searched with a trace on its diagonal; the bound allows for it.

    >>> rows = LayerRows(np.array([[0.4, 0.6]]), np.eye(2)[None], *np.array([[[0, 0]], [[1, 1]]]),
    ...             np.ones(1), np.zeros(1))
    >>> search(rows, np.array([[1, 0]])).levels
    array([[0, 1]])
    """
    ridged = rows.damped(TINY)
    factors = factorise(ridged.hessian)
    target, lower, upper = rows_in_order(rows, factors.order)
    levels = in_order(start, factors.order)
    totals = (ridged.costs(start) - rows.constant) / rows.weight
    bounds = np.empty_like(totals)
    arrays = target, lower, upper, *factors[1:], rows.rows_per_group, levels, totals, bounds
    over_rows(
        lambda *part: kernels.spheres(*arrays, max_nodes, *part),
        rows.num_rows,
        microseconds=max_nodes * NODE,
        num_threads=num_threads,
    )
    found = out_of_order(levels, factors.order)
    better = rows.costs(found) <= rows.costs(start)
    # What the ridge adds at most to the cost of any levels within the bounds.
    reach = np.maximum(rows.target - rows.lower, rows.upper - rows.target)
    ridge = np.einsum("gii->g", ridged.hessian - rows.hessian) / rows.fan_in
    more = np.repeat(ridge, rows.rows_per_group) * (reach**2).sum(1)
    bounds = rows.weight * np.maximum(bounds - more, 0) + rows.constant
    return Searched(np.where(better[:, None], found, start), bounds)
