"""Steps of grids that suit the rounding, not the nearest levels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anneal.rounding.grids import Floats, Grid
from anneal.rounding.planes import babai
from anneal.rounding.rows import LayerRows

FACTORS = np.linspace(0.8, 1.2, 9)  # of the steps that are there


def searched(
    target: Floats,
    hessian: Floats,
    grid: Grid,
    *,
    around: Floats | None = None,
    per_row: bool = True,
    rng: np.random.Generator,
    num_threads: int = 1,
) -> Grid:
    """Return the grid with each row's step by which Babai's planes cost least, of nine about it.

    target: real weights, (rows, n); hessian: (groups, n, n); around: as
    :meth:`~anneal.rounding.rows.LayerRows.of` has it. All steps are one call, so that
    Hessians are factorised once. Without ``per_row`` it is one factor for all.

    >>> grid = Grid(np.ones(1), np.zeros(1), -4, 3)
    >>> searched([[1.1, 2.2]], np.eye(2)[None], grid, rng=np.random.default_rng(0)).scale
    array([1.1])
    """
    groups = len(hessian)
    tried = [
        LayerRows.of(target, hessian, replace(grid, scale=factor * grid.scale), around=around)
        for factor in FACTORS
    ]

    def joined(name: str) -> NDArray[Any]:
        """The rows of all steps, those of a group side by side."""
        parts = [getattr(rows, name) for rows in tried]
        rest = parts[0].shape[1:]
        stacked = np.stack([part.reshape(groups, -1, *rest) for part in parts], 1)
        return stacked.reshape(-1, *rest)

    named = {name: joined(name) for name in ("target", "lower", "upper", "weight", "constant")}
    rows = replace(tried[0], **named)
    costs = rows.costs(babai(rows, rng=rng, num_threads=num_threads))
    costs = costs.reshape(groups, len(FACTORS), -1).transpose(1, 0, 2).reshape(len(FACTORS), -1)
    best = costs.argmin(0) if per_row else np.full(costs.shape[1], costs.sum(1).argmin())
    return replace(grid, scale=FACTORS[best] * grid.scale)
