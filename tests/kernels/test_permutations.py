"""Swaps of a permutation: every change of cost against the cost itself, and the rules of tabu."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anneal.assignment.tables import QapTables
from anneal.kernels.permutations import fill, robust_tabu
from anneal.kernels.random import exponential_quantiles
from anneal.kernels.swaps import sampled_costs, swap_anneal, swap_cost
from anneal.problems.assignment import Assignment

KINDS = ["symmetric", "flow", "distance", "neither", "floats"]


def random_problem(kind: str, size: int, seed: int) -> Assignment:
    """Matrices of any sign with diagonals; one of them, both or neither symmetric."""
    rng = np.random.default_rng(seed)
    flow, distance = rng.integers(-9, 10, (2, size, size)).astype(float)
    if kind == "floats":
        return Assignment(flow * rng.lognormal(sigma=2, size=flow.shape), distance * np.pi)
    if kind in ("symmetric", "flow"):
        flow = flow + flow.T
    if kind in ("symmetric", "distance"):
        distance = distance + distance.T
    return Assignment(flow, distance)


class Walk:
    """The kernel's arrays for one permutation."""

    def __init__(self, problem: Assignment, seed: int = 1) -> None:
        self.problem = problem
        self.tables = QapTables.of(problem)
        self.start = np.random.default_rng(seed).permutation(self.tables.size)
        self.arrays = self.tables.arrays(self.start)
        size, width = self.tables.flow.shape[1:]
        kind = self.tables.flow.dtype
        self.sums, self.deltas = np.zeros(width, kind), np.zeros((size, width), kind)
        fill(*self.arrays[:3], self.sums, self.deltas)
        self.until = np.zeros((size, width), np.int32 if kind.itemsize == 4 else np.int64)
        self.blocked = self.until.copy()
        self.best = self.start.copy()
        self.walk = np.zeros(3)
        self.state = np.array([seed + 77], np.uint64)
        exact = problem.flow.max() == np.floor(problem.flow.max())
        self.tolerance = 0.0 if exact else 1e-9 * float(np.abs(self.true_deltas()).max())

    def run(self, swaps: int, *, tenure: int = 60, aspiration: int = 10**6) -> None:
        robust_tabu(
            *self.arrays, self.sums, self.deltas, self.until, self.blocked, self.best,
            self.walk, tenure, aspiration, swaps, self.state,
        )  # fmt: skip

    def true_deltas(self) -> Any:
        order, size = self.arrays[3], self.tables.size
        cost, found = self.problem.cost(order), np.full((size, size), np.inf)
        for r in range(size):
            for s in range(r + 1, size):
                other = order.copy()
                other[[r, s]] = order[[s, r]]
                found[r, s] = self.problem.cost(other) - cost
        return found

    def check(self) -> None:
        """The order is a permutation, and every number is that of its permutation."""
        size, order = self.tables.size, self.arrays[3]
        above = np.triu_indices(size, 1)
        assert (np.sort(order) == np.arange(size)).all()
        true = self.true_deltas()
        assert np.abs(self.deltas[above] - true[above]).max() <= self.tolerance
        rest = np.ones(self.deltas.shape, bool)
        rest[above] = False
        assert np.isinf(self.deltas[rest]).all()
        first = self.problem.cost(self.start)
        assert abs(self.walk[0] - (self.problem.cost(order) - first)) <= self.tolerance
        assert abs(self.walk[1] - (self.problem.cost(self.best) - first)) <= self.tolerance
        lower = np.minimum(self.until[:, :size], self.until[:, :size].T)
        assert (self.blocked[above] == lower[above]).all()


@pytest.mark.parametrize("size", [2, 3, 8, 15, 16, 17, 33])
@pytest.mark.parametrize("kind", KINDS)
def test_deltas_stay_those_of_the_cost(kind: str, size: int) -> None:
    walk = Walk(random_problem(kind, size, seed=size))
    expected = np.float64 if kind == "floats" else np.float32
    assert walk.tables.flow.dtype == expected
    assert len(walk.tables.flow) == (2 if kind in ("neither", "floats") else 1)
    walk.check()
    for _ in range(3):
        walk.run(100)
        walk.check()
    assert walk.walk[2] == 300
    sums = walk.sums.copy()
    fill(*walk.arrays[:3], walk.sums, walk.deltas)
    assert np.abs(walk.sums - sums).max() <= walk.tolerance


@pytest.mark.parametrize("kind", ["symmetric", "neither"])
def test_each_swap_is_the_best_that_the_rules_allow(kind: str) -> None:
    walk = Walk(random_problem(kind, 9, seed=5))
    above, aspired, blocked = np.triu_indices(9, 1), 0, 0
    for made in range(400):
        reached, record = walk.walk[:2].copy()
        deltas, free = walk.deltas[above].copy(), walk.blocked[above] <= made
        before = walk.arrays[3].copy()
        walk.run(1)
        step = walk.walk[0] - reached
        assert (walk.arrays[3] != before).sum() == 2
        if reached + deltas.min() < record:
            assert step == deltas.min()
            aspired += not free[deltas == step].any()
        elif free.any():
            assert step == deltas[free].min()
            blocked += step > deltas.min()
        r, s = np.flatnonzero(walk.arrays[3] != before)
        assert made < walk.until[r, s] <= made + 61 and made < walk.until[s, r] <= made + 61
    assert blocked > 100


def test_aspiration_takes_a_forbidden_swap_to_a_new_best() -> None:
    walk = Walk(random_problem("symmetric", 9, seed=6))
    walk.until[:] = walk.blocked[:] = 1000
    least = walk.deltas.min()
    walk.run(1)
    assert walk.walk[0] == least < 0


def test_a_pair_that_was_long_free_is_swapped() -> None:
    """Nothing beats the best, two pairs are long due, and the cheaper one of them is made."""
    walk = Walk(random_problem("symmetric", 8, seed=7))
    walk.run(500)
    walk.walk[:] = [0, -1e9, 800]  # a look is due at multiples of n
    walk.until[:] = 800
    for r, s in ((1, 4), (2, 6)):
        walk.until[r, s] = walk.until[s, r] = 100
    cheaper = min(walk.deltas[1, 4], walk.deltas[2, 6])
    walk.run(1, aspiration=500)
    assert walk.walk[0] == cheaper


@pytest.mark.parametrize("size", [2, 9, 17])
@pytest.mark.parametrize("kind", KINDS)
def test_proposals_cost_what_the_matrix_says(kind: str, size: int) -> None:
    walk = Walk(random_problem(kind, size, seed=size))
    room = np.empty(64 // walk.tables.flow.itemsize, walk.tables.flow.dtype)
    true = walk.true_deltas()
    for r in range(size):
        for s in range(r + 1, size):
            for pair in ((r, s), (s, r)):
                delta = swap_cost(*walk.arrays[:3], *pair, room)
                assert abs(delta - true[r, s]) <= walk.tolerance
    sampled = sampled_costs(*walk.arrays[:3], 50, walk.state)
    gaps = np.abs(sampled[:, None] - true[np.triu_indices(size, 1)])
    assert gaps.min(axis=1).max() <= walk.tolerance


@pytest.mark.parametrize("kind", KINDS)
def test_an_anneal_keeps_its_books(kind: str) -> None:
    walk = Walk(random_problem(kind, 12, seed=3))
    quantiles = exponential_quantiles(np.random.default_rng(1))
    heat = float(np.abs(walk.true_deltas()[np.triu_indices(12, 1)]).mean())
    for temperatures in (np.full(50, heat), np.linspace(heat / 2, heat / 50, 100)):
        made = swap_anneal(
            *walk.arrays, walk.best, walk.walk, temperatures, quantiles, walk.state
        )  # fmt: skip
        assert made > 0
        fill(*walk.arrays[:3], walk.sums, walk.deltas)
        walk.check()


def test_at_temperature_zero_no_swap_raises_the_cost() -> None:
    walk = Walk(random_problem("symmetric", 12, seed=4))
    quantiles = exponential_quantiles(np.random.default_rng(1))
    swap_anneal(*walk.arrays, walk.best, walk.walk, np.zeros(50), quantiles, walk.state)
    assert walk.walk[0] == walk.walk[1]
    assert walk.true_deltas().min() >= 0


def test_single_precision_is_taken_where_it_is_exact() -> None:
    """The largest matrices that it takes have sums below 2²⁴, and a few times more are refused."""
    ones = np.ones((20, 20)) - np.eye(20)
    small, large = Assignment(30 * ones, 60 * ones), Assignment(300 * ones, 600 * ones)
    assert QapTables.of(small).flow.dtype == np.float32
    assert QapTables.of(large).flow.dtype == np.float64
    assert QapTables.of(Assignment(ones / 2, ones)).flow.dtype == np.float32  # doubled
    assert QapTables.of(Assignment(ones / 4, ones)).flow.dtype == np.float64
    assert QapTables.of(Assignment(ones + np.eye(20) * 1e6, ones + np.eye(20))).flow.itemsize == 8
