"""Steps that are searched: never worse for Babai's planes, and the same by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anneal.rounding.grids import make_grid
from anneal.rounding.planes import babai
from anneal.rounding.rows import LayerRows
from anneal.rounding.steps import FACTORS, searched


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("per_row", [True, False])
@pytest.mark.parametrize("corners", [True, False])
def test_the_step_is_the_best_of_those_tried(
    groups: int, symmetric: bool, per_row: bool, corners: bool
) -> None:
    rng = np.random.default_rng(groups)
    weights, inputs = rng.normal(size=(6, 5)), rng.normal(size=(groups, 9, 5))
    hessian = inputs.transpose(0, 2, 1) @ inputs
    grid = make_grid(weights, 3, symmetric=symmetric, per_row=per_row)
    around = weights + 0.2 if corners else None
    found = searched(weights, hessian, grid, around=around, per_row=per_row, rng=rng)
    each = []
    for factor in FACTORS:
        tried = replace(grid, scale=factor * grid.scale)
        rows = LayerRows.of(weights, hessian, tried, around=around)
        each.append(rows.costs(babai(rows, rng=rng)))
    costs = np.array(each)
    best = costs.argmin(0) if per_row else np.full(6, costs.sum(1).argmin())
    assert np.array_equal(found.scale, FACTORS[best] * grid.scale)
    assert np.array_equal(found.zero, grid.zero)
    assert (found.lowest, found.highest) == (grid.lowest, grid.highest)
    if not per_row:
        assert len(set(found.scale)) == 1
