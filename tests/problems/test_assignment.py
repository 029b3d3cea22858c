"""Quadratic assignment: QAPLIB's values, the one-hot model and the repair of samples."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.errors import InputError
from anneal.instances import sln
from anneal.problems import read_problem
from anneal.problems.assignment import Assignment
from anneal.testing import check_problem

# Stored permutations of the swapped matrices: theirs is the inverse of ours.
SWAPPED = {"kra30a", "tai60a"}
NAMES = ["chr12a", "had12", "had20", "kra30a", "nug12", "nug15", "nug20", "nug25", "nug30"]
NAMES += ["sko42", "sko49", "ste36a", "ste36b", "tai12a", "tai20a", "tai25a", "tai30a", "tai40a"]
NAMES += ["tai50a", "tai60a", "tai64c", "wil50"]


@pytest.mark.parametrize("name", NAMES)
def test_qaplib_solutions_have_their_cost(data_folder: Path, name: str) -> None:
    problem = read_problem(data_folder / "qaplib" / f"{name}.dat")
    assert isinstance(problem, Assignment)
    stored = sln.read(data_folder / "qaplib" / f"{name}.sln")
    assert stored.permutation is not None
    order = np.argsort(stored.permutation) if name in SWAPPED else stored.permutation
    assert problem.cost(order) == stored.cost


@pytest.mark.parametrize("name", ["nug12", "tai20a", "kra30a", "nug30"])
def test_qaplib_obeys_the_laws(data_folder: Path, name: str) -> None:
    check_problem(read_problem(data_folder / "qaplib" / f"{name}.dat"), seed=1)


def brute_force(problem: Assignment) -> float:
    return min(problem.cost(order) for order in itertools.permutations(range(len(problem.flow))))


@given(seed=st.integers(0, 9999))
@settings(max_examples=20)
def test_ground_energy_is_the_least_cost(seed: int) -> None:
    problem = Assignment.generate(seed=seed, num_facilities=4)
    model = problem.bqm()
    states = np.arange(2**16)[:, np.newaxis] >> np.arange(16) & 1
    assert model.energies((states.astype(np.int8), range(16))).min() == brute_force(problem)


@given(seed=st.integers(0, 9999), size=st.integers(1, 7), kind=st.sampled_from(["int", "float"]))
@settings(max_examples=40)
def test_any_matrices_obey_the_laws(seed: int, size: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    matrices = rng.integers(-9, 10, (2, size, size)).astype(float)
    if kind == "float":
        matrices *= rng.lognormal(sigma=4, size=matrices.shape)
    check_problem(Assignment(*matrices), seed=seed)


def test_terms_of_one_term_each() -> None:
    """Asymmetric entries reach the model where they belong: one flow, one distance at a time."""
    for flow, distance in itertools.product(np.eye(9).reshape(9, 3, 3), repeat=2):
        problem = Assignment(flow, distance)
        for order in itertools.permutations(range(3)):
            expected = float((flow * distance[np.ix_(order, order)]).sum())
            assert problem.cost(order) == problem.bqm().energy(problem.encode(order)) == expected


def test_repair_keeps_what_stands_alone_and_fills_cheaply() -> None:
    problem = Assignment.generate(seed=5, num_facilities=7)
    order = problem.random_solution(np.random.default_rng(0))
    broken = np.zeros((7, 7), dtype=np.int8)
    kept = [0, 2, 3, 6]
    broken[kept, order[kept]] = 1
    found = problem.decode(broken.ravel())
    assert np.array_equal(found[kept], order[kept])
    # One facility is missing: only one place is left for it.
    broken[[1, 4], order[[1, 4]]] = 1
    assert np.array_equal(problem.decode(broken.ravel()), order)


def test_repair_keeps_one_of_a_crowd() -> None:
    problem = Assignment.generate(seed=5, num_facilities=3)
    crowd = np.array([[1, 1, 1], [1, 0, 0], [1, 0, 0]], dtype=np.int8)
    found = problem.decode(crowd.ravel())
    # Two ones of different rows and columns can stay, and any two of them are kept.
    assert crowd[np.arange(3), found].sum() == 2
    assert not problem.feasible(crowd.ravel())


def test_repair_prefers_the_cheaper_of_two() -> None:
    """Facility 0 stays at site 0; 1 and 2 are free, and 0 has traffic with 1 alone."""
    flow = np.array([[0, 9, 0], [0, 0, 0], [0, 0, 0]])
    distance = np.array([[0, 5, 1], [0, 0, 0], [0, 0, 0]])
    sample = np.zeros(9, dtype=np.int8)
    sample[0] = 1
    assert Assignment(flow, distance).decode(sample).tolist() == [0, 2, 1]


def test_penalty_is_stored_described_and_replaced() -> None:
    problem = Assignment.generate(seed=1, num_facilities=5)
    facts = problem.describe()
    assert facts["penalty"] == problem.penalty == facts["sufficient_penalty"]
    other = replace(problem, penalty=7.5)
    assert other.describe()["penalty"] == 7.5
    assert other.describe()["sufficient_penalty"] == problem.penalty


@pytest.mark.parametrize(
    ("flow", "distance", "penalty"),
    [
        ([[1, 2]], [[1]], None),
        ([[1]], [[1, 2], [3, 4]], None),
        ([], [], None),
        (np.empty((0, 0)), np.empty((0, 0)), None),
        ([[float("nan")]], [[1]], None),
        ([[1]], [[float("inf")]], None),
        ([[1e200]], [[1e200]], None),
        ([["x"]], [[1]], None),
        ([[1]], [[1]], 0),
        ([[1]], [[1]], -1),
        ([[1]], [[1]], float("nan")),
        ([[1]], [[1]], float("inf")),
        ([[1]], [[1]], "much"),
    ],
)
def test_bad_instances_are_refused(flow: Any, distance: Any, penalty: Any) -> None:
    with pytest.raises(InputError):
        Assignment(flow, distance, penalty)


@pytest.mark.parametrize("solution", [[0, 0, 1], [0, 1], [1, 2, 3], [0.5, 1, 2], [[0, 1, 2]]])
def test_bad_solutions_are_refused(solution: Any) -> None:
    with pytest.raises(InputError):
        Assignment.generate(seed=1, num_facilities=3).cost(solution)
