"""Penalties against exhaustive search."""

from __future__ import annotations

import itertools
from typing import Any

import dimod
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anneal.errors import InputError
from anneal.penalties import (
    above,
    add_equalities,
    assignment_penalty,
    measured_assignment_penalty,
    sufficient_penalty,
)
from anneal.problems.assignment import Assignment
from anneal.testing import check_problem

small = st.integers(-4, 4).map(float)


def bits(size: int) -> np.ndarray:
    return np.array(list(itertools.product([0, 1], repeat=size)), dtype=np.int8)


def random_model(rng: np.random.Generator, size: int, vartype: str) -> dimod.BinaryQuadraticModel:
    labels = [f"v{k}" for k in range(size)]
    linear = dict(zip(labels, rng.integers(-5, 6, size).tolist(), strict=True))
    pairs = {pair: float(rng.integers(-5, 6)) for pair in itertools.combinations(labels, 2)}
    return dimod.BinaryQuadraticModel(linear, pairs, 1.5, vartype)


@given(
    rows=arrays(float, st.tuples(st.integers(1, 3), st.just(4)), elements=small),
    right=small,
    penalty=st.integers(1, 9),
    vartype=st.sampled_from(["SPIN", "BINARY"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_equalities_add_their_square(
    rows: np.ndarray, right: float, penalty: float, vartype: str, seed: int
) -> None:
    model = random_model(np.random.default_rng(seed), 4, vartype)
    before, labels, x = model.copy(), list(model.variables), bits(4)
    add_equalities(model, rows, np.full(len(rows), right), penalty=penalty)
    states = 2 * x - 1 if vartype == "SPIN" else x
    added = penalty * ((x @ rows.T - right) ** 2).sum(axis=1)
    assert list(model.variables) == labels
    np.testing.assert_array_equal(
        model.energies((states, labels)), before.energies((states, labels)) + added
    )


@given(
    row=arrays(float, 5, elements=small),
    right=small,
    vartype=st.sampled_from(["SPIN", "BINARY"]),
    seed=st.integers(0, 999),
)
@settings(max_examples=100)
def test_sufficient_penalty_makes_ground_states_feasible(
    row: np.ndarray, right: float, vartype: str, seed: int
) -> None:
    model = random_model(np.random.default_rng(seed), 5, vartype)
    x = bits(5)
    states, feasible = (2 * x - 1 if vartype == "SPIN" else x), x @ row == right
    assume(feasible.any())
    objective = model.energies((states, list(model.variables)))
    penalty = sufficient_penalty(model, feasible_energy=objective[feasible].max())
    add_equalities(model, [row], [right], penalty=penalty)
    energies = model.energies((states, list(model.variables)))
    assert feasible[energies == energies.min()].all()
    assert energies.min() == objective[feasible].min()


matrices = st.sampled_from([0.0, 0.0, 1.0, 3.0, 50.0, -2.0, 0.5])


@given(
    size=st.integers(1, 3),
    data=st.data(),
    sign=st.booleans(),
)
@settings(max_examples=150)
def test_assignment_penalty_is_sufficient(size: int, data: Any, sign: bool) -> None:
    """Asymmetric matrices, diagonals, negative and lopsided entries: every ground state is one."""
    flow, distance = (data.draw(arrays(float, (size, size), elements=matrices)) for _ in "FD")
    if sign:
        flow = -flow
    check_problem(Assignment(flow, distance), seed=0)


@given(seed=st.integers(0, 999), kind=st.sampled_from(["star", "grid", "float", "signed"]))
@settings(max_examples=25)
def test_assignment_penalty_is_sufficient_for_four(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    flow, distance = rng.integers(0, 9, (2, 4, 4)).astype(float)
    if kind == "star":
        flow[1:, 1:] = 0
    elif kind == "grid":
        distance = np.abs(np.subtract.outer(np.arange(4), np.arange(4))) ** 3
    elif kind == "float":
        flow, distance = rng.lognormal(sigma=3, size=(2, 4, 4))
    else:
        flow -= 4
    check_problem(Assignment(flow, distance), seed=seed)


def test_measured_penalty_is_the_mean_cost_of_all_permutations() -> None:
    rng = np.random.default_rng(5)
    flow, distance = rng.integers(0, 9, (2, 4, 4)).astype(float)
    problem = Assignment(flow, distance)
    mean = np.mean([problem.cost(order) for order in itertools.permutations(range(4))])
    assert measured_assignment_penalty(flow, distance) == above(1.75 * mean / 4, whole=False)


def test_assignment_penalty_is_tight_to_a_factor() -> None:
    """With half the sufficient penalty, leaving a facility out pays."""
    flow = np.ones((3, 3)) - np.eye(3)
    penalty = assignment_penalty(flow, flow)
    assert penalty == 3
    with pytest.raises(AssertionError, match="too small"):
        check_problem(Assignment(flow, flow, penalty=penalty / 2), seed=0)


@given(st.floats(1e-300, 1e290), st.booleans())
def test_above_is_above_by_little(bound: float, whole: bool) -> None:
    found = above(bound, whole=whole)
    assert bound < found <= (bound + 1 if whole and bound < 2**52 else bound * 1.01)


@pytest.mark.parametrize(
    ("coefficients", "right", "penalty"),
    [
        ([[1.0]], [1], 1.0),
        ([[1.0, 1.0]], [1, 1], 1.0),
        ([[1.0, float("nan")]], [1], 1.0),
        ([[1.0, 1.0]], [float("inf")], 1.0),
        ([[1e200, 1e200]], [1], 1.0),
        ([[1.0, 1.0]], [1], 0.0),
        ([[1.0, 1.0]], [1], float("inf")),
    ],
)
def test_bad_constraints_are_refused(coefficients: Any, right: Any, penalty: float) -> None:
    model = dimod.BinaryQuadraticModel({"a": 1, "b": 1}, {}, "BINARY")
    with pytest.raises(InputError):
        add_equalities(model, coefficients, right, penalty=penalty)
    assert model == dimod.BinaryQuadraticModel({"a": 1, "b": 1}, {}, "BINARY")
