"""Constraints that stay squares: the same energies as multiplied out, and moves along them."""

from __future__ import annotations

import dimod
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal.assignment.solving import solve_assignment
from anneal.constrained import SquaresLayout
from anneal.errors import InputError
from anneal.ising import Ising, multiplied_out
from anneal.partition.hypergraph import Hypergraph
from anneal.problem import models_of
from anneal.problems.assignment import Assignment
from anneal.problems.partition import HypergraphBisection
from anneal.solvers.anneal import AnnealSampler
from anneal.solvers.auto import AutoSampler
from anneal.squares import Squares
from tests.kernels.reference import all_states, random_ising


def random_squares(rng: np.random.Generator, num_spins: int, rows: int = 3) -> Squares:
    amounts = rng.integers(-2, 3, (rows, num_spins)) * (rng.random((rows, num_spins)) < 0.7)
    return Squares(amounts, rng.integers(-2, 3, rows), rng.integers(0, 9, rows) / 2)


@given(seed=st.integers(0, 10**6), num_spins=st.integers(1, 9), rows=st.integers(0, 4))
def test_squares_are_worth_what_they_are_multiplied_out(
    seed: int, num_spins: int, rows: int
) -> None:
    rng = np.random.default_rng(seed)
    squares = random_squares(rng, num_spins, rows)
    model = dimod.BinaryQuadraticModel(np.zeros((num_spins, num_spins)), dimod.SPIN)
    squares.add_to(model)
    states = all_states(num_spins)
    assert np.array_equal(squares.energies(states), model.energies((states, range(num_spins))))
    ising = random_ising(num_spins, seed=seed)
    whole = Ising(ising.h, ising.J, ising.offset, squares)
    assert np.allclose(whole.energies(states), multiplied_out(whole).energies(states), rtol=1e-12)


def test_the_spread_of_fields_is_that_of_random_states() -> None:
    squares = random_squares(np.random.default_rng(4), 9)
    layout = SquaresLayout(np.zeros(9), np.zeros((9, 9)), squares)
    slope = 2 * squares.amounts.toarray() * squares.penalty[:, None]
    # What flips half cost, without the constant that each pays of its own.
    others = all_states(9)
    fields = squares.values(others) @ slope - others * np.einsum(
        "ri,ri->i", slope, squares.amounts.toarray()
    )
    bias, spread = squares.field_spread()
    assert np.allclose(fields.mean(axis=0), bias)
    couplings = slope.T @ squares.amounts.toarray()
    np.fill_diagonal(couplings, 0)
    # Of squares that share no pair the spreads add up; of others a bound of the same size.
    assert ((couplings**2).sum(axis=1) <= 3 * spread + 1e-9).all()
    assert layout.num_spins == 9


@pytest.mark.parametrize("kept", ["matrix", "rows"])
def test_fields_and_values_follow_every_move(kept: str) -> None:
    rng = np.random.default_rng(3)
    ising = random_ising(12, seed=3) if kept == "matrix" else _ring(12)
    one = np.ones((1, 4))
    grid = np.vstack([np.kron(np.eye(3), one), np.kron(np.ones((1, 3)), np.eye(4))])
    layout = SquaresLayout(ising.h, ising.J, Squares(grid, 1.0, 2.5))
    assert bool(layout.dense.size) == (kept == "matrix") and len(layout.keys) == 12
    replicas = layout.replicas(rng)
    for temperature in (50.0, 3.0, 0.3):
        replicas.anneal(np.full(30, temperature))
        states = replicas.states()
        whole = Ising(ising.h, ising.J, 0.0, layout.squares)
        assert np.allclose(replicas.energies(), whole.energies(states))
        spins, ups = states[0], replicas.ups[0]
        for row, first in enumerate(layout.start[:-1]):
            members = replicas.members[0, first : layout.start[row + 1]]
            assert set(members) == set(np.flatnonzero(grid[row]))
            assert (spins[members] == np.where(np.arange(len(members)) < ups[row], 1, -1)).all()


def _ring(size: int) -> Ising:
    here = np.arange(size)
    return Ising.from_pairs(np.ones(size), here, (here + 1) % size, np.ones(size), 0.0)


def test_crossed_exchanges_go_from_permutation_to_permutation() -> None:
    """With a penalty that no flip ever pays, and a temperature that costs do not notice."""
    problem = Assignment.generate(seed=1, num_facilities=5, penalty=1e9)
    _, apart = models_of(problem)
    assert apart is not None
    ising = Ising.from_bqm(apart[0])
    layout = SquaresLayout(ising.h, ising.J, apart[1]["squares"])
    start = 2 * np.eye(5, dtype=np.int8).ravel()[None] - 1
    replicas = layout.replicas(np.random.default_rng(1), spins=start)
    seen = set()
    for _ in range(200):
        replicas.anneal(np.array([1e4]))
        ones = replicas.states()[0].reshape(5, 5) > 0
        assert (ones.sum(axis=0) == 1).all() and (ones.sum(axis=1) == 1).all()
        seen.add(tuple(ones.argmax(axis=1)))
    assert len(seen) > 60


def test_pairs_keep_a_balance() -> None:
    squares = Squares(np.ones((1, 8)), 4.0, 1e9)
    layout = SquaresLayout(np.zeros(8), np.zeros((8, 8)), squares)
    start = np.array([[1, 1, 1, 1, -1, -1, -1, -1]], np.int8)
    replicas = layout.replicas(np.random.default_rng(1), spins=start)
    seen = set()
    for _ in range(200):
        replicas.anneal(np.array([1.0]))
        spins = replicas.states()[0]
        assert spins.sum() == 0
        seen.add(tuple(spins))
    assert len(seen) > 50


@pytest.mark.parametrize("sampler", [AnnealSampler, AutoSampler])
def test_assignments_are_solved_with_constraints_apart(sampler: type) -> None:
    problem = Assignment.generate(seed=2, num_facilities=8)
    model, squares = problem.split()
    best = solve_assignment(problem, seed=1).cost
    found = sampler().sample(model, squares=squares, seed=1, num_sweeps=500, num_reads=8)
    assert problem.feasible(found.first.sample) and found.first.energy == best
    assert found.info.get("solver", "anneal") == "anneal"


def test_a_bisection_keeps_its_balance_apart() -> None:
    hypergraph = Hypergraph.from_nets(40, [[i, (i + 1) % 40] for i in range(40)])
    problem = HypergraphBisection(hypergraph, tolerance=0.0)
    whole, apart = models_of(problem)
    assert apart is not None and apart[0].num_interactions == 40 < whole.num_interactions
    found = AnnealSampler().sample(apart[0], **apart[1], seed=1, num_sweeps=1000, num_reads=8)
    assert (
        problem.feasible(found.first.sample)
        and problem.cost(problem.decode(found.first.sample)) == 2
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (([[1.0, np.nan]], 0, 1), "NaN"),
        (([[1.0, 1.0]], np.inf, 1), "NaN"),
        (([[1.0, 1.0]], 0, -1), "negative"),
        (([[1.0, 1.0]], [0, 1], 1), "shape"),
        (([[1e200, 1.0]], 0, 1), "too large"),
    ],
)
def test_squares_refuse_what_is_no_energy(arguments: tuple[object, ...], reason: str) -> None:
    with np.errstate(over="ignore"), pytest.raises(InputError, match=reason):
        Squares(*arguments)  # type: ignore[arg-type]
