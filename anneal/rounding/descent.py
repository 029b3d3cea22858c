"""Descent by one or two levels at a time."""

from __future__ import annotations

import numpy as np

from anneal.kernels import levels as kernels
from anneal.kernels.threads import over_rows
from anneal.rounding.grids import Floats
from anneal.rounding.rows import LayerRows, Levels

# A move must pay more than this share of the mean diagonal: less is noise of the arithmetic.
LEAST = 1e-10
MOVE = 1e-3  # microseconds that a pass costs for each pair of weights


def flip(
    rows: LayerRows,
    *,
    rng: np.random.Generator,
    start: Levels | None = None,
    num_threads: int = 1,
    pairs: bool = True,
) -> Levels:
    """Descend from ``start`` (or the nearest levels) to where no move of one, or of two, pays."""
    levels = rows.nearest() if start is None else start
    slopes = rows.gradients(levels)
    found = levels.astype(np.float64)
    low, high = rows.lower.astype(np.float64), rows.upper.astype(np.float64)
    arrays = found, slopes, low, high, rows.hessian, rows.rows_per_group, worth(rows), pairs
    over_rows(
        lambda *part: kernels.descend(*arrays, *part),
        rows.num_rows,
        microseconds=rows.fan_in**2 * MOVE,
        num_threads=num_threads,
    )
    return found.astype(np.int64)


def worth(rows: LayerRows) -> Floats:
    """Return what a move has to pay to count, for each group."""
    found: Floats = LEAST * np.einsum("gii->g", rows.hessian) / rows.fan_in
    return found
