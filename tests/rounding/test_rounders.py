"""Laws that every rounder keeps, and what some of them are by their papers."""

from __future__ import annotations

import itertools

import dimod
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.errors import InputError
from anneal.problem import Problem
from anneal.rounding import ROUNDERS, get_rounder
from anneal.rounding.factors import ORDERS, factorise
from anneal.rounding.formulation import Formulation, InputMoments
from anneal.rounding.grids import Grid, make_grid
from anneal.rounding.rows import LayerRows, Levels
from anneal.rounding.spheres import search
from anneal.testing import check_problem
from qbnn.layers import DeformedLinear
from qbnn.paper import plain_relaxation

# As few steps as show the laws; the reference by dimod samples every row on its own.
QUICK = {
    "relax": {"num_steps": 50},
    "relax+flip": {"num_steps": 50},
    "relax+lns": {"num_steps": 50},
    "neal": {"num_reads": 2, "num_sweeps": 20},
    "anneal": {"num_sweeps": 40},
}
SEARCHES = ["flip", "lns", "anneal", "exact"]


def make_rows(
    num_rows: int = 6,
    fan_in: int = 7,
    *,
    groups: int = 1,
    bits: int = 3,
    rank: int | None = None,
    corners: bool = False,
    seed: int = 0,
) -> LayerRows:
    """Rows with inputs as after a ReLU: correlated, with a mean, and of low rank if wanted."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(groups, fan_in, rank or fan_in))
    noise = 0.0 if rank else 0.05
    hidden = rng.normal(size=(groups, 3 * fan_in, mixing.shape[2])) + 0.3
    inputs = hidden @ mixing.transpose(0, 2, 1)
    inputs += noise * rng.normal(size=inputs.shape)
    hessian = inputs.transpose(0, 2, 1) @ inputs / inputs.shape[1]
    weights = rng.normal(size=(num_rows, fan_in))
    around = weights if corners else None
    return LayerRows.of(weights, hessian, make_grid(weights, bits), around=around)


def round_by(name: str, rows: LayerRows, *, seed: int = 1, **options: object) -> Levels:
    found: Levels = get_rounder(name)(
        rows, rng=np.random.default_rng(seed), **{**QUICK.get(name, {}), **options}
    )
    return found


def least_costs(rows: LayerRows) -> np.ndarray:
    """The least cost of each row over all levels within its bounds."""
    best = np.full(rows.num_rows, np.inf)
    for index in range(rows.num_rows):
        problem = rows.row(index)
        spans = [range(a, b + 1) for a, b in zip(problem.lower, problem.upper, strict=True)]
        best[index] = min(problem.cost(np.array(levels)) for levels in itertools.product(*spans))
    return best


@pytest.mark.parametrize("name", ROUNDERS)
@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("kind", ["plain", "groups", "low rank", "dead inputs", "one weight"])
def test_levels_are_whole_and_within_bounds(name: str, corners: bool, kind: str) -> None:
    rows = {
        "plain": lambda: make_rows(corners=corners),
        "groups": lambda: make_rows(groups=3, corners=corners),
        "low rank": lambda: make_rows(fan_in=9, rank=3, corners=corners),
        "dead inputs": lambda: with_dead_inputs(make_rows(corners=corners)),
        "one weight": lambda: make_rows(fan_in=1, corners=corners),
    }[kind]()
    levels = round_by(name, rows)
    assert levels.dtype == np.int64
    assert np.isfinite(rows.costs(levels)).all()  # It raises for levels out of bounds.


def with_dead_inputs(rows: LayerRows) -> LayerRows:
    hessian = rows.hessian.copy()
    hessian[:, [0, 3]] = 0
    hessian[:, :, [0, 3]] = 0
    return LayerRows(rows.target, hessian, rows.lower, rows.upper, rows.weight, rows.constant)


@pytest.mark.parametrize("name", ROUNDERS)
def test_a_seed_settles_everything_and_threads_nothing(name: str) -> None:
    rows = make_rows(num_rows=40, fan_in=20, groups=2)
    options = {"num_steps": 3} if name.startswith("relax") else {}
    found = [round_by(name, rows, num_threads=num, **options) for num in (1, 1, 3)]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


@pytest.mark.parametrize("name", ROUNDERS)
def test_the_problem_is_not_changed(name: str) -> None:
    rows = make_rows()
    start = rows.nearest()
    before = [array.copy() for array in (rows.target, rows.hessian, rows.lower, rows.upper, start)]
    round_by(name, rows, start=start)
    after = rows.target, rows.hessian, rows.lower, rows.upper, start
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("rank", [None, 4])
def test_a_search_never_ends_worse_than_it_began(name: str, rank: int | None) -> None:
    rows = make_rows(num_rows=10, fan_in=24, rank=rank)
    start = round_by("stochastic", rows)
    assert (rows.costs(round_by(name, rows, start=start)) <= rows.costs(start) + 1e-12).all()


@pytest.mark.parametrize("name", ["exact", "lns"])
@pytest.mark.parametrize("corners", [True, False])
def test_small_rows_are_solved(name: str, corners: bool) -> None:
    rows = make_rows(fan_in=5 if not corners else 9, corners=corners, groups=2)
    assert rows.costs(round_by(name, rows)) == pytest.approx(least_costs(rows), rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), fan_in=st.integers(2, 40), order=st.sampled_from(ORDERS))
def test_gptq_is_the_nearest_plane(seed: int, fan_in: int, order: str) -> None:
    rows = make_rows(fan_in=fan_in, groups=2, seed=seed)
    found = [round_by(name, rows, order=order) for name in ("gptq", "babai")]
    assert np.array_equal(*found)


def test_a_beam_of_everything_is_exact() -> None:
    rows = make_rows(fan_in=4, bits=2, corners=True)
    found = round_by("beam", rows, width=16, damping=0.0)
    assert rows.costs(found) == pytest.approx(least_costs(rows), rel=1e-9)


@pytest.mark.parametrize("width", [0, 4, 12])
def test_a_width_that_lanes_do_not_divide_is_refused(width: int) -> None:
    with pytest.raises(InputError, match="width must be a multiple of 8"):
        round_by("beam", make_rows(), width=width)


def test_a_wider_beam_costs_less_as_a_whole() -> None:
    rows = make_rows(num_rows=60, fan_in=50)
    costs = [rows.costs(round_by("beam", rows, width=width)).sum() for width in (8, 64)]
    plane = rows.costs(round_by("babai", rows)).sum()
    assert costs[1] < costs[0] < plane


@pytest.mark.parametrize("order", ORDERS)
def test_factors_make_the_hessian(order: str) -> None:
    hessian = make_rows(fan_in=9, groups=3).damped(0.01).hessian
    factors = factorise(hessian, order=order)
    for matrix, taken, triangle, pivots in zip(hessian, *factors, strict=True):
        assert sorted(taken) == list(range(9))
        assert np.allclose(np.diag(triangle), 1) and np.allclose(np.triu(triangle, 1), 0)
        made = triangle.T @ np.diag(pivots) @ triangle
        assert np.allclose(made, matrix[np.ix_(taken, taken)])


@pytest.mark.parametrize("solver", ["beam", "exact", "neal", "tabu", "dimod:ExactSolver"])
def test_neighbourhoods_of_everything_are_the_problem(solver: str) -> None:
    """By other rounders, solvers of ours and any dimod sampler, one without a seed too."""
    rows = make_rows(3, 6, bits=2)
    found = round_by("lns", rows, start=rows.nearest(), num_sweeps=1, sub_solver=solver)
    assert rows.costs(found) == pytest.approx(least_costs(rows))


@pytest.mark.parametrize("solver", ["exact", "dwave-greedy"])
def test_neighbourhoods_by_any_solver_lower_the_cost(solver: str) -> None:
    rows = make_rows(4, 24, bits=3)
    begin = rows.nearest()
    found = round_by("lns", rows, start=begin, num_sweeps=1, size=6, sub_solver=solver)
    assert (rows.costs(found) < rows.costs(begin)).all()
    with pytest.raises(InputError, match="unknown solver 'sbeam'"):
        round_by("lns", rows, sub_solver="sbeam")


def test_no_move_of_two_pays_after_a_descent() -> None:
    rows = make_rows(fan_in=8)
    levels = round_by("flip", rows)
    costs = rows.costs(levels)
    for i, j in itertools.product(range(8), range(8)):
        for step, other in itertools.product((-1, 1), (-1, 0, 1)):
            moved = levels.copy()
            moved[:, i] += step
            if j != i:
                moved[:, j] += other
            inside = ((moved >= rows.lower) & (moved <= rows.upper)).all(1)
            moved = np.where(inside[:, None], moved, levels)
            assert (rows.costs(moved) >= costs * (1 - 1e-9)).all()


@pytest.mark.parametrize("max_nodes", [1, 10, 100, 10**6])
def test_bounds_hold_and_meet_the_cost_where_the_search_is_complete(max_nodes: int) -> None:
    rows = make_rows(fan_in=5, groups=2)
    least = least_costs(rows)
    found = search(rows, rows.nearest(), max_nodes=max_nodes)
    assert (found.bounds <= least * (1 + 1e-9)).all()
    assert (rows.costs(found.levels) <= rows.costs(rows.nearest())).all()
    if max_nodes == 10**6:
        assert rows.costs(found.levels) == pytest.approx(least, rel=1e-9)
        assert found.bounds == pytest.approx(least, rel=1e-4)


def test_the_relaxation_goes_to_the_minimum_of_one_weight() -> None:
    # Without others, AdaRound has to end at the nearer of the two levels (eqs. 21-25).
    rows = LayerRows(
        np.array([[0.2], [0.7], [0.45]]), np.eye(1)[None], np.zeros((3, 1), np.int64),
        np.ones((3, 1), np.int64), np.ones(3), np.zeros(3),
    )  # fmt: skip
    assert round_by("relax", rows, num_steps=2000).ravel().tolist() == [0, 1, 0]


@pytest.mark.parametrize("seed", range(4))
def test_the_relaxation_is_adaround_as_written(seed: int) -> None:
    """AdaRound's eqs. 21-25 by autograd and torch's Adam come to the same levels."""
    rows = make_rows(8, 12, groups=2, bits=3, corners=seed % 2 == 0, seed=seed)
    told = {"rng": np.random.default_rng(1), "num_steps": 400, "rate": 1e-2}
    wanted = plain_relaxation.relax(rows, regularisation=0.01, **told)
    found = round_by("relax", rows, num_steps=400, rate=1e-2, regularisation=0.01)
    assert np.mean(found == wanted) >= 0.98


def published_adaround(
    weights: np.ndarray, grid: Grid, inputs: np.ndarray, floats: np.ndarray, *, num_steps: int
) -> np.ndarray:
    """AdaRound's eq. 25 on the inputs themselves, in double precision, from the weights."""
    scale, zero = (torch.from_numpy(part)[:, None] for part in (grid.scale, grid.zero))
    w, x, f = (torch.from_numpy(part) for part in (weights, inputs, floats))
    floor = torch.floor(w / scale + zero)
    fraction = (w / scale + zero - floor).clamp(1e-4, 1 - 1e-4)
    values = torch.logit((fraction + 0.1) / 1.2).requires_grad_()
    adam = torch.optim.Adam([values], lr=1e-2)
    for step in range(1, num_steps + 1):
        height = (torch.sigmoid(values) * 1.2 - 0.1).clamp(0, 1)
        soft = scale * ((floor + height).clamp(grid.lowest, grid.highest) - zero)
        loss = (f @ w.T - x @ soft.T).square().mean(0).sum()
        share = (step / num_steps - 0.2) / 0.8
        if share > 0:
            loss = loss + 0.01 * (1 - (2 * height - 1).abs() ** (20 - 18 * share)).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
    up = torch.sigmoid(values.detach()) * 1.2 - 0.1 >= 0.5
    return (floor + up).clamp(grid.lowest, grid.highest).numpy().astype(np.int64)


@pytest.mark.parametrize("seed", range(3))
def test_the_relaxation_of_moments_is_adaround_on_the_inputs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    floats = np.maximum(rng.normal(size=(60, 10)) @ rng.normal(size=(10, 10)) * 0.4 + 0.3, 0)
    inputs = floats + 0.1 * rng.normal(size=floats.shape)
    weights = rng.normal(size=(6, 10))
    grid = make_grid(weights, 3)
    moments = InputMoments.of(inputs[None], floats[None])
    rows = Formulation(centred=False, ridge=0.0).rows(weights, moments, grid, corners=True)
    assert (rows.target < rows.lower).any() or (rows.target > rows.upper).any()
    found = round_by("relax", rows, num_steps=2000)
    wanted = published_adaround(weights, grid, inputs, floats, num_steps=2000)
    assert np.mean(found == wanted) >= 0.98


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("bits", [1, 2, 3])
def test_a_row_is_a_problem(corners: bool, bits: int) -> None:
    rows = make_rows(fan_in=4, bits=bits, corners=corners)
    for index in range(3):
        problem = rows.row(index)
        assert isinstance(problem, Problem)
        check_problem(problem, seed=index)
        assert problem.cost(rows.nearest()[index]) == pytest.approx(
            rows.costs(rows.nearest())[index]
        )


def test_one_bit_is_an_ising_model() -> None:
    rows = make_rows(fan_in=5, bits=1)
    problem = rows.row(0)
    model = problem.bqm().change_vartype(dimod.SPIN, inplace=False)
    assert model.num_variables == 5
    ground = dimod.ExactSolver().sample(problem.bqm()).first
    assert ground.energy == pytest.approx(least_costs(rows)[0])


def test_a_probabilistic_layer_becomes_a_binary_one_by_the_same_code() -> None:
    """Spin means θ to ±1, for the activations that the layer reads: closer than their signs are."""
    layer = DeformedLinear(12, 5, generator=torch.Generator().manual_seed(2))
    theta = layer.weight.spin.detach().double().numpy()
    rng = np.random.default_rng(3)
    spins = np.sign(rng.normal(size=(400, 4)) @ rng.normal(size=(4, 12)) + 0.4)
    rows = LayerRows.of(
        theta, spins.T @ spins[None] / 400, Grid(np.full(5, 2.0), np.full(5, -0.5), -1, 0)
    )
    assert np.allclose(rows.nearest() * 2 + 1, np.sign(theta))
    binary = 2 * round_by("lns", rows) + 1
    outputs, signs = ((spins @ (w - theta).T) ** 2 for w in (binary, np.sign(theta)))
    assert set(np.unique(binary)) == {-1, 1}
    assert rows.costs((binary - 1) // 2) == pytest.approx(least_costs(rows))
    assert outputs.mean() < 0.8 * signs.mean()


def test_a_constant_shifts_the_cost_alone() -> None:
    rows = make_rows()
    more = LayerRows.of(
        np.zeros((2, 7)), rows.hessian, Grid(np.ones(2), np.zeros(2), -4, 3), constant=[1.0, 2.0]
    )
    assert more.costs(np.zeros((2, 7))).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hessian": np.eye(3)[None]}, "hessian must have shape"),
        ({"target": np.full((6, 7), np.nan)}, "target must be finite"),
        ({"lower": np.full((6, 7), 100)}, "lower must not be above upper"),
    ],
)
def test_rows_that_cannot_be_are_refused(change: dict[str, np.ndarray], message: str) -> None:
    rows = make_rows()
    parts = {**vars(rows), **change}
    with pytest.raises(InputError, match=message):
        LayerRows(**parts)


def test_levels_that_cannot_be_are_refused() -> None:
    rows = make_rows()
    for levels in (rows.nearest() + 100, rows.nearest() + 0.5, rows.nearest()[:, :3]):
        with pytest.raises(InputError, match="levels must"):
            rows.costs(levels)


def test_an_unknown_rounder_is_named() -> None:
    with pytest.raises(InputError, match="did you mean 'beam'"):
        get_rounder("beem")


@settings(max_examples=60, deadline=None)
@given(
    bits=st.integers(1, 8),
    symmetric=st.booleans(),
    per_row=st.booleans(),
    method=st.sampled_from(["minmax", "mse", "hessian"]),
    seed=st.integers(0, 99),
)
def test_a_grid_holds_its_levels(
    bits: int, symmetric: bool, per_row: bool, method: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(3, 8)) * rng.choice([0.0, 1e-3, 1.0, 50.0], size=(3, 1))
    importance = rng.uniform(0.1, 2, 8) if method == "hessian" else None
    grid = make_grid(
        weights, bits, symmetric=symmetric, per_row=per_row, method=method, importance=importance
    )
    assert grid.highest - grid.lowest == 2**bits - 1
    rounded = grid.nearest(weights)
    levels = grid.levels(rounded)
    assert np.allclose(levels, np.rint(levels), atol=1e-6)
    assert len({*map(tuple, np.stack([grid.scale, grid.zero], 1))}) == 1 or per_row
    if bits > 1:
        assert np.allclose(grid.weights(np.full((3, 1), grid.zero[:, None])), 0)
    if method == "minmax" and bits > 1 and not symmetric:
        # Nothing is cut off, but for half a step where the zero point is rounded.
        assert (np.abs(rounded - weights) <= grid.scale[:, None] * 1.001).all()


def test_the_step_of_least_error_is_no_worse_than_the_range() -> None:
    weights = np.random.default_rng(0).standard_t(3, size=(20, 50))
    errors = [
        ((make_grid(weights, 4, method=method).nearest(weights) - weights) ** 2).sum(1)
        for method in ("mse", "minmax")
    ]
    assert (errors[0] <= errors[1]).all() and errors[0].sum() < 0.9 * errors[1].sum()


def test_steps_by_the_hessian_lose_less_where_it_counts() -> None:
    rng = np.random.default_rng(4)
    weights, counts = rng.standard_t(3, size=(20, 50)), rng.lognormal(0, 2, 50)
    grids = make_grid(weights, 3), make_grid(weights, 3, method="hessian", importance=counts)
    plain, counted = ((counts * (grid.nearest(weights) - weights) ** 2).sum(1) for grid in grids)
    assert (counted <= plain * (1 + 1e-9)).all() and counted.sum() < 0.9 * plain.sum()


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        ([[np.inf]], {}, "finite"),
        ([[1.0]], {"bits": 0}, "bits must be 1 … 16"),
        ([[1.0]], {"method": "best"}, "unknown method"),
        ([[1.0]], {"method": "hessian"}, "importance"),
        ([1.0], {}, "shape"),
    ],
)
def test_grids_that_cannot_be_are_refused(
    weights: list[object], options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make_grid(weights, **{"bits": 4, **options})
