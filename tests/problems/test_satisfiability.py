"""Clauses, equations and heaps of numbers against their definitions and exhaustive search."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.errors import InputError
from anneal.problems.number_partition import NumberPartition
from anneal.problems.satisfiability import MaxSat, XorSat
from anneal.testing import check_problem

seeds = st.integers(0, 9999)


@st.composite
def clauses(draw: st.DrawFn) -> list[list[int]]:
    """Draw clauses of one to three of four variables."""
    variables = st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True)
    drawn = draw(st.lists(variables, max_size=8))
    return [[k * draw(st.sampled_from([-1, 1])) for k in clause] for clause in drawn]


def energies_by_bits(problem: Any, size: int) -> dict[tuple[int, ...], float]:
    """Return the least energy over the other variables for each value of the first ``size``."""
    model = problem.bqm()
    count = model.num_variables
    states = (np.arange(2**count)[:, np.newaxis] >> np.arange(count) & 1).astype(np.int8)
    energies = model.energies((states, list(model.variables)))
    least: dict[tuple[int, ...], float] = {}
    for bits, energy in zip(map(tuple, states[:, :size].tolist()), energies.tolist(), strict=True):
        least[bits] = min(energy, least.get(bits, np.inf))
    return least


@given(found=clauses(), seed=seeds)
@settings(max_examples=40)
def test_least_energies_are_clauses_not_satisfied(found: list[list[int]], seed: int) -> None:
    problem = MaxSat(4, found)
    check_problem(problem, seed=seed)
    for bits, energy in energies_by_bits(problem, 4).items():
        broken = sum(all((bits[abs(k) - 1] == 1) != (k > 0) for k in clause) for clause in found)
        assert energy == broken == problem.cost(np.array(bits))


@given(seed=seeds, right=st.lists(st.integers(0, 1), min_size=2, max_size=2))
@settings(max_examples=20)
def test_least_energies_are_equations_that_do_not_hold(seed: int, right: list[int]) -> None:
    rng = np.random.default_rng(seed)
    equations = np.stack([rng.permutation(5)[:3] for _ in right])
    problem = XorSat(5, equations, right)
    check_problem(problem, seed=seed)
    for bits, energy in energies_by_bits(problem, 5).items():
        pairs = zip(equations, right, strict=True)
        broken = sum((sum(bits[k] for k in one) - b) % 2 for one, b in pairs)
        assert energy == broken == problem.cost(np.array(bits))


def solve_parities(problem: XorSat) -> np.ndarray:
    """Return a solution of all equations by Gaussian elimination over two elements."""
    size = problem.num_variables
    rows = np.zeros((len(problem.equations), size + 1), np.int8)
    rows[np.arange(len(rows))[:, np.newaxis], problem.equations] = 1
    rows[:, size] = problem.right
    solved, bits = 0, np.zeros(size, np.int8)
    pivots = []
    for column in range(size):
        found = solved + np.flatnonzero(rows[solved:, column])
        if not found.size:
            continue
        rows[[solved, found[0]]] = rows[[found[0], solved]]
        others = np.flatnonzero(rows[:, column])
        rows[others[others != solved]] ^= rows[solved]
        pivots.append(column)
        solved += 1
    bits[pivots] = rows[: len(pivots), size]
    assert not rows[len(pivots) :, size].any()
    return bits


@pytest.mark.parametrize("size", [3, 4, 5, 20, 300])
def test_planted_equations_are_regular_and_hold(size: int) -> None:
    problem = XorSat.generate(seed=size, num_variables=size)
    assert np.all(np.bincount(problem.equations.ravel()) == 3)
    assert problem.best_known == 0 == problem.cost(solve_parities(problem))


@pytest.mark.parametrize("width", [1, 2, 3])
def test_clauses_are_as_wide_as_asked(width: int) -> None:
    problem = MaxSat.generate(seed=1, num_variables=9, num_clauses=30, width=width)
    assert np.all((np.asarray(problem.clauses) != 0).sum(axis=1) == width)
    assert problem.best_known is None


@pytest.mark.parametrize("width", [2, 3])
def test_planted_clauses_are_satisfiable_and_give_no_majority(width: int) -> None:
    small = MaxSat.generate(seed=1, num_variables=8, num_clauses=40, width=width, planted=True)
    every = itertools.product([0, 1], repeat=8)
    assert min(small.cost(np.array(bits)) for bits in every) == small.best_known == 0
    large = np.asarray(MaxSat.generate(seed=1, num_clauses=20_000, planted=True).clauses)
    signs = np.bincount(np.abs(large).ravel() - 1, np.sign(large).ravel(), 50)
    assert np.abs(signs).max() < 6 * np.sqrt(3 * 20_000 / 50)


def test_arrays_and_lists_of_clauses_are_one() -> None:
    table = np.array([[0, 3, -1], [2, 0, 0]])
    assert MaxSat(3, table).bqm() == MaxSat(3, [[3, -1], [2]]).bqm()


@given(values=st.lists(st.integers(-50, 50), min_size=1, max_size=10))
@settings(max_examples=30)
def test_heaps_obey_the_laws_and_are_exact(values: list[int]) -> None:
    problem = NumberPartition(np.array(values, float))
    check_problem(problem, seed=0)
    signs = np.array(list(itertools.product([-1, 1], repeat=len(values))))
    model = problem.bqm()
    assert model.energies((signs, list(model.variables))).min() == ((signs @ values) ** 2).min()


def test_numbers_that_are_not_whole_make_heaps() -> None:
    check_problem(NumberPartition(np.random.default_rng(0).lognormal(sigma=5, size=12)), seed=0)
    facts = NumberPartition.generate(seed=1, num_values=10, num_bits=30).describe()
    assert 2.5 < facts["bits_per_number"] <= 3.0 + 1e-9


@pytest.mark.parametrize(
    "make",
    [
        lambda: MaxSat(0, []),
        lambda: MaxSat(3, [[]]),
        lambda: MaxSat(3, [[1, 2, 3, 1]]),
        lambda: MaxSat(3, [[1, -1]]),
        lambda: MaxSat(3, [[1, 4]]),
        lambda: MaxSat(3, [[1, 0.5]]),
        lambda: MaxSat(3, [["a"]]),
        lambda: MaxSat(3, np.ones((2, 4), int)),
        lambda: MaxSat(3, np.ones((2, 3))),
        lambda: MaxSat(3, np.zeros((2, 3), int)),
        lambda: MaxSat.generate(seed=1, width=4),
        lambda: MaxSat.generate(seed=1, num_variables=2),
        lambda: MaxSat.generate(seed=1, width=1, planted=True),
        lambda: XorSat(3, [[0, 1]], [0]),
        lambda: XorSat(3, [[0, 1, 1]], [0]),
        lambda: XorSat(3, [[0, 1, 3]], [0]),
        lambda: XorSat(3, [[0.0, 1.0, 2.0]], [0]),
        lambda: XorSat(3, [[0, 1, 2]], [2]),
        lambda: XorSat(3, [[0, 1, 2]], [0, 1]),
        lambda: XorSat.generate(seed=1, num_variables=2),
        lambda: NumberPartition([]),
        lambda: NumberPartition([1e200]),
        lambda: NumberPartition([float("nan")]),
        lambda: NumberPartition([[1, 2]]),
        lambda: NumberPartition.generate(seed=1, num_bits=60),
    ],
)
def test_bad_formulas_are_refused(make: Any) -> None:
    with pytest.raises(InputError):
        make()
