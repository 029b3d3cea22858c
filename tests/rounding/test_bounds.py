"""Bounds of roundings: below every cost, and equal to the least where that can be proved."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.kernels.relaxed import relax
from anneal.rounding.bounds import dual_costs, judge_rows, lower_bounds, relaxed_bounds
from anneal.rounding.grids import make_grid
from anneal.rounding.neighbourhoods import lns
from anneal.rounding.rows import LayerRows
from anneal.rounding.spheres import search


def problem(
    fan_in: int, seed: int, *, groups: int = 1, corners: bool = False, noise: float = 0.3
) -> LayerRows:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(groups, 4 * fan_in, fan_in)) * noise + rng.normal(
        size=(groups, 4 * fan_in, 1)
    )
    hessian = np.einsum("gpi,gpj->gij", inputs, inputs) / (4 * fan_in)
    weights = rng.normal(size=(3 * groups, fan_in))
    around = weights if corners else None
    return LayerRows.of(weights, hessian, make_grid(weights, 3), around=around)


def least(rows: LayerRows) -> np.ndarray:
    """Return the cost of the best rounding of each row, of all there are."""
    found = np.empty(rows.num_rows)
    for index in range(rows.num_rows):
        one = rows.row(index)
        spans = [range(low, high + 1) for low, high in zip(one.lower, one.upper, strict=True)]
        found[index] = min(one.cost(np.array(levels)) for levels in itertools.product(*spans))
    return found


@settings(max_examples=30, deadline=None)
@given(
    fan_in=st.integers(1, 4),
    groups=st.integers(1, 2),
    corners=st.booleans(),
    noise=st.sampled_from([0.0, 0.05, 1.0]),
    seed=st.integers(0, 99),
)
def test_no_rounding_costs_less(
    fan_in: int, groups: int, corners: bool, noise: float, seed: int
) -> None:
    rows = problem(fan_in, seed, groups=groups, corners=corners, noise=noise)
    best = least(rows)
    assert (relaxed_bounds(rows) <= best * (1 + 1e-9) + 1e-12).all()
    proved = lower_bounds(rows, rows.nearest())
    assert (proved <= best * (1 + 1e-9) + 1e-12).all()
    if noise:
        assert proved == pytest.approx(best, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("fan_in", [40, 90])
def test_bounds_of_wide_rows_hold(fan_in: int) -> None:
    rows = problem(fan_in, 1)
    levels = lns(rows, rng=np.random.default_rng(0))
    proved = lower_bounds(rows, levels)
    assert (proved <= rows.costs(levels)).all() and (proved > 0).all()


def test_the_relaxed_bound_is_the_cost_where_inputs_do_not_mix() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(5, 60))
    rows = LayerRows.of(weights, np.diag(rng.uniform(0.1, 9, 60))[None], make_grid(weights, 3))
    assert relaxed_bounds(rows) == pytest.approx(rows.costs(rows.nearest()))


def test_levels_are_judged_beside_nearest_ones_out_of_bounds() -> None:
    rows = problem(6, 2, corners=True)
    outside = rows.lower - 1
    found = judge_rows(rows, rows.nearest(), outside)
    assert found.bound is None
    assert found.cost == pytest.approx(rows.costs(rows.nearest()).sum())
    errors = outside - rows.target
    costs = rows.weight * np.einsum("ri,ij,rj->r", errors, rows.hessian[0], errors)
    assert found.nearest == pytest.approx(costs.sum())
    whole = judge_rows(rows, rows.nearest(), outside, bounds=True)
    assert whole[:2] == found[:2]
    assert whole.bound == pytest.approx(least(rows).sum(), rel=1e-3)


@pytest.mark.parametrize("corners", [False, True])
def test_the_relaxed_bound_is_below_the_optimum_and_of_use(corners: bool) -> None:
    # Of rows too many for all roundings, against a search of some hundred thousand nodes.
    rows = problem(14, 3, corners=corners, noise=0.8)
    best = search(rows, rows.nearest(), max_nodes=10**7)
    assert best.bounds == pytest.approx(rows.costs(best.levels), rel=1e-4)
    found = relaxed_bounds(rows)
    assert (found <= best.bounds * (1 + 1e-9)).all()
    assert found.sum() > 0.3 * best.bounds.sum()


def test_no_point_gives_a_bound_above_the_least_relaxed_cost() -> None:
    # What the kernel ends at is the least of the relaxation: no step from there goes down.
    rows, rng = problem(8, 4), np.random.default_rng(0)
    diagonal = np.full((1, 8), 0.5 * np.linalg.eigvalsh(rows.hessian[0])[0])
    matrices = rows.hessian - diagonal[0] * np.eye(8)
    shifts = np.zeros_like(rows.target)
    relax(
        rows.target, rows.lower, rows.upper, matrices, diagonal, rows.num_rows, shifts,
        10_000, 1e-12, 0, rows.num_rows,
    )  # fmt: skip

    def cost(y: np.ndarray) -> np.ndarray:
        floor = np.clip(np.floor(rows.target + y), rows.lower, rows.upper - 1)
        rise = 2 * floor + 1 - 2 * rows.target
        square = (floor - rows.target) ** 2 + (rows.target + y - floor) * rise
        return np.einsum("ri,ij,rj->r", y, matrices[0], y) + (diagonal * square).sum(1)

    least = cost(shifts)
    # The bound that it gives is tight: all there is to be had of this diagonal.
    assert dual_costs(rows, diagonal, matrices, shifts) == pytest.approx(least, rel=1e-6)
    for size in (1e-3, 0.1, 1.0):
        for _ in range(50):
            tried = shifts + size * rng.normal(size=shifts.shape)
            tried = np.clip(tried, rows.lower - rows.target, rows.upper - rows.target)
            assert (cost(tried) >= least - 1e-9).all()
