"""Rounding that does not look at the Hessian."""

from __future__ import annotations

import numpy as np

from anneal.rounding.rows import LayerRows, Levels


def nearest(
    rows: LayerRows, *, rng: np.random.Generator, start: Levels | None = None, num_threads: int = 1
) -> Levels:
    """Round every weight to the nearest level.

    It looks at targets and their bounds alone; the other arguments are those of every rounder.
    """
    return rows.nearest()


def stochastic(
    rows: LayerRows, *, rng: np.random.Generator, start: Levels | None = None, num_threads: int = 1
) -> Levels:
    """Round every weight up with the probability of its fraction (Gupta et al. 2015)."""
    floor = np.floor(rows.target)
    up = rng.random(rows.target.shape) < rows.target - floor
    found: Levels = np.clip(floor + up, rows.lower, rows.upper).astype(np.int64)
    return found
