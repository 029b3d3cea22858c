"""Annealing of all rows of a layer in one call: a warm start, single moves and pair moves."""

from __future__ import annotations

import numpy as np

from anneal.kernels import levels as kernels
from anneal.kernels.random import new_state
from anneal.kernels.threads import over_rows
from anneal.rounding.descent import flip, worth
from anneal.rounding.grids import Floats
from anneal.rounding.planes import babai
from anneal.rounding.rows import LayerRows, Levels

OFFER = 2e-3  # microseconds that a sweep costs for each weight, and as much for its neighbours


def anneal(
    rows: LayerRows,
    *,
    rng: np.random.Generator,
    start: Levels | None = None,
    num_threads: int = 1,
    num_sweeps: int = 400,
    num_reads: int = 2,
) -> Levels:
    """Anneal from ``start``, or from the nearest planes, and descend; the best read of each row.

    The rows share their Hessians and differ in their fields, so that a layer is one call. Heat
    falls from where one in three of the moves off a minimum is taken to where none is.
    """
    if start is None:
        start = babai(rows, rng=rng, num_threads=num_threads)
    begin = flip(rows, rng=rng, start=start, num_threads=num_threads)
    heats = _heats(rows, begin, num_sweeps)
    low, high = rows.lower.astype(np.float64), rows.upper.astype(np.float64)
    best, least = begin, rows.costs(begin)
    for _ in range(num_reads):
        found, slopes = begin.astype(np.float64), rows.gradients(begin)
        states = np.stack([new_state(rng) for _ in range(rows.num_rows)])
        shared = rows.hessian, rows.rows_per_group, heats, states, worth(rows)
        over_rows(
            lambda *part, arrays=(found, slopes, low, high, *shared): kernels.anneal(
                *arrays, *part
            ),
            rows.num_rows,
            microseconds=num_sweeps * rows.fan_in * OFFER * (1 + rows.fan_in / 100),
            num_threads=num_threads,
        )
        levels = flip(rows, rng=rng, start=found.astype(np.int64), num_threads=num_threads)
        costs = rows.costs(levels)
        best = np.where((costs < least)[:, None], levels, best)
        least = np.minimum(costs, least)
    return best


def _heats(rows: LayerRows, levels: Levels, num_sweeps: int) -> Floats:
    """Return heats, (groups, sweeps), from what moves off a minimum cost."""
    curve = np.repeat(np.einsum("gii->gi", rows.hessian), rows.rows_per_group, 0)
    rises = (curve - 2 * np.abs(rows.gradients(levels))).reshape(len(rows.hessian), -1)
    rises = np.maximum(rises, 1e-6 * curve.mean())
    hot, cold = np.quantile(rises, 0.3, axis=1), np.quantile(rises, 0.02, axis=1)
    cold = np.minimum(cold, hot) / 8
    falling = np.linspace(0, 1, num_sweeps)
    found: Floats = hot[:, None] * (cold / hot)[:, None] ** falling
    return found
