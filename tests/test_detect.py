"""Squares found among couplings: an identity always, and found where they were planted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dimod
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from anneal.detect import described, find_squares
from anneal.ising import Ising
from anneal.problems import get_problem
from anneal.solvers.auto import AutoSampler, plan
from anneal.squares import Squares
from tests.kernels.reference import all_states, random_ising

Floats = NDArray[np.float64]


def expanded(ising: Ising) -> tuple[Floats, Floats, float]:
    """h, J and offset with the squares multiplied out by hand."""
    squares = ising.squares
    if squares is None:
        return ising.h, ising.dense(), ising.offset
    amounts, constants = squares.amounts.toarray(), squares.constants
    weighted = squares.penalty[:, np.newaxis] * amounts
    couplings = 2 * weighted.T @ amounts
    offset = float(squares.penalty @ constants**2) + float(np.trace(couplings)) / 2
    np.fill_diagonal(couplings, 0)
    h = ising.h + 2 * constants @ weighted
    return h, ising.dense() + couplings, ising.offset + offset


def check_identity(ising: Ising, *, whole: bool = True) -> Ising:
    """What is found adds up to the problem: to the last bit where numbers are whole."""
    found = find_squares(ising)
    h, J, offset = expanded(found)
    if whole:
        assert np.array_equal(h, ising.h) and np.array_equal(J, ising.dense())
        assert offset == ising.offset
    else:
        size = float(np.abs(ising.dense()).max(initial=0))
        assert np.allclose(h, ising.h, rtol=1e-13) and np.allclose(
            J, ising.dense(), atol=1e-13 * size
        )
        assert offset == pytest.approx(ising.offset, abs=1e-12 * size * ising.num_spins**2)
    return found


def with_squares(objective: Ising, squares: Squares) -> dimod.BinaryQuadraticModel:
    model = objective.to_bqm().change_vartype("BINARY", inplace=False)
    squares.add_to(model)
    return model


@st.composite
def planted(draw: st.DrawFn) -> tuple[Ising, Squares, bool]:
    """A problem with random constraints: capacities, one-hot groups, near misses of both."""
    n = draw(st.integers(4, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    whole = draw(st.booleans())
    density, largest = draw(st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0])), draw(st.integers(1, 50))
    objective = random_ising(n, seed=int(rng.integers(2**31)), density=density, largest=largest)
    rows = [np.zeros(n)]
    if draw(st.booleans()):
        rows.append(rng.integers(0, draw(st.integers(1, 30)) + 1, n).astype(float))
    if draw(st.booleans()):
        size = draw(st.integers(3, 9))
        rows += list(np.kron(np.eye(-(-n // size)), np.ones(size))[:, :n])
    if draw(st.booleans()):
        step = draw(st.integers(2, 8))
        rows += [(np.arange(n) % step == k).astype(float) for k in range(step)]
    right = rng.integers(-3, 9, len(rows)).astype(float)
    penalty = np.full(len(rows), float(draw(st.integers(1, 200))))
    if not whole:
        objective = replace(objective, J=objective.J * np.pi)
        penalty *= np.e
    return objective, Squares(np.array(rows), right, penalty), whole


@given(planted())
def test_what_is_found_is_an_identity(drawn: tuple[Ising, Squares, bool]) -> None:
    objective, squares, whole = drawn
    check_identity(Ising.from_bqm(with_squares(objective, squares)), whole=whole)


@given(
    seed=st.integers(0, 10**6),
    num_spins=st.integers(0, 30),
    density=st.floats(0, 1),
    largest=st.integers(1, 3),
)
def test_of_random_problems_too(seed: int, num_spins: int, density: float, largest: int) -> None:
    check_identity(random_ising(num_spins, seed=seed, density=density, largest=largest))


def test_energies_are_the_same() -> None:
    problem = get_problem("colouring").generate(seed=1, num_vertices=4, num_colours=4, density=0.9)
    ising = Ising.from_bqm(problem.bqm())
    found = check_identity(ising)
    assert found.squares is not None
    states = all_states(16)
    assert np.array_equal(found.energies(states), ising.energies(states))


def found_in(
    name: str, **parameters: Any
) -> tuple[set[tuple[int, ...]], set[tuple[int, ...]], Any]:
    """The variables of each square: planted, and found."""
    problem = get_problem(name).generate(seed=1, **parameters)
    found = check_identity(Ising.from_bqm(problem.bqm()))
    assert found.squares is not None
    supports = []
    for squares in (problem.split()[1], found.squares):
        supports.append({tuple(np.flatnonzero(row)) for row in squares.coefficients.toarray()})
    return supports[0], supports[1], found


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("bisection", {"num_vertices": 200, "density": 0.02}),
        ("assignment", {"num_facilities": 9}),
        ("colouring", {"num_vertices": 50, "num_colours": 3}),
        ("colouring", {"num_vertices": 60, "num_colours": 8, "density": 0.3}),
        ("partition", {}),
    ],
)
def test_constraints_are_found(name: str, parameters: dict[str, Any]) -> None:
    planted, found, _ = found_in(name, **parameters)
    assert found == planted


def test_amounts_of_a_capacity_are_found() -> None:
    rng = np.random.default_rng(2)
    amounts = rng.integers(0, 30, (1, 150))
    objective = random_ising(150, seed=1, density=0.02)
    model = with_squares(objective, Squares(amounts, 500, 7))
    found = check_identity(Ising.from_bqm(model)).squares
    assert found is not None
    assert np.array_equal(found.coefficients.toarray(), amounts) and found.penalty.tolist() == [7]


def test_parts_of_one_size_and_one_part_each() -> None:
    """A group with exceptions: balance of each part beside edges, and one-hot across the parts."""
    size, parts = 60, 3
    one_part = np.kron(np.eye(size), np.ones((1, parts)))
    balance = np.kron(np.ones((1, size)), np.eye(parts))
    rows = np.vstack([one_part, balance])
    right = np.concatenate([np.ones(size), np.full(parts, size / parts)])
    penalty = np.concatenate([np.full(size, 40.0), np.full(parts, 6.0)])
    edges = random_ising(size, seed=1, density=0.1, largest=1, biased=False)
    objective = Ising(
        np.zeros(size * parts), sparse.csr_array(np.kron(edges.dense(), np.eye(parts)))
    )
    model = with_squares(objective, Squares(rows, right, penalty))
    found = check_identity(Ising.from_bqm(model))
    assert found.squares is not None
    assert found.num_couplings == objective.num_couplings
    assert described(found.squares) == "63 squares of 3 to 60 variables"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("sk", {"num_spins": 200}),
        ("sk", {"num_spins": 150, "gaussian": True}),
        ("maxcut", {}),
        ("lattice", {"shape": (12, 12)}),
        ("independent-set", {}),
        ("wishart", {}),
        ("sat", {}),
    ],
)
def test_nothing_is_found_where_nothing_is(name: str, parameters: dict[str, Any]) -> None:
    ising = Ising.from_bqm(get_problem(name).generate(seed=1, **parameters).bqm())
    before = ising.csr().copy()
    assert find_squares(ising) is ising
    assert (ising.csr() != before).nnz == 0, "looking changes nothing"


def test_a_lattice_of_triangles_has_no_constraints() -> None:
    sites = np.arange(144).reshape(12, 12)
    steps = [np.roll(sites, (-a, b), (0, 1)) for a, b in ((0, 1), (1, 0), (1, 1))]
    ends = np.concatenate([sites.ravel()] * 3), np.concatenate([step.ravel() for step in steps])
    ising = Ising.from_pairs(np.zeros(144), *ends, np.ones(432), 0.0)
    assert find_squares(ising) is ising


def test_weak_cliques_stay_couplings() -> None:
    """A clique that the other couplings break for the asking is no constraint."""
    group = np.kron(np.eye(20), np.ones((1, 6)))
    strong = random_ising(120, seed=3, density=0.2, largest=50)
    ising = Ising.from_bqm(with_squares(strong, Squares(group, 1.0, 2.0)))
    assert find_squares(ising) is ising


def test_auto_keeps_what_it_finds() -> None:
    problem = get_problem("assignment").generate(seed=2, num_facilities=8)
    found = AutoSampler().sample(problem.bqm(), seed=1, num_sweeps=500, num_reads=8)
    assert problem.feasible(found.first.sample)
    assert found.info["solver"] == "anneal"
    assert found.info["squares"] == "16 squares of 8 variables"
    assert found.first.energy == problem.bqm().energy(found.first.sample)


def test_auto_rather_proves() -> None:
    """A path of vertices with colours has a low treewidth: its cliques stay what they are."""
    path = np.arange(30)
    colouring = get_problem("colouring")(31, path, path + 1, num_colours=3)
    ising = Ising.from_bqm(colouring.bqm())
    assert find_squares(ising).squares is not None
    assert [part.solver for part in plan(ising)[1]] == ["exact"]
