"""Programs with constraints: laws, penalties against exhaustive search, repair, bad numbers."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import dimod
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.errors import InfeasibleError, InputError
from anneal.problems import read_problem, write_problem
from anneal.problems.constrained_qubo import ConstrainedQubo
from anneal.problems.qubo import Qubo
from anneal.testing import check_problem


def random_program(seed: int, *, unit: float = 1.0) -> ConstrainedQubo | None:
    rng = np.random.default_rng(seed)
    size, count = int(rng.integers(1, 6)), int(rng.integers(0, 4))
    model = Qubo.generate(seed=rng, num_variables=size, density=0.5).model
    matrix = rng.integers(-3, 4, (count, size)) * unit
    right = rng.integers(-4, 4, count) * unit
    try:
        return ConstrainedQubo(model, matrix, right, rng.random(count) < 0.4)
    except InfeasibleError:
        every = np.array(list(itertools.product([0, 1], repeat=size)))
        assert not kept(every @ matrix.T, right, np.random.default_rng(seed), size, count).any()
        return None


def kept(left: np.ndarray, right: np.ndarray, rng: Any, size: int, count: int) -> np.ndarray:
    """Draw what the program drew once more, and tell which bits keep all constraints."""
    assert (int(rng.integers(1, 6)), int(rng.integers(0, 4))) == (size, count)
    Qubo.generate(seed=rng, num_variables=size, density=0.5)
    rng.integers(-3, 4, (count, size))
    rng.integers(-4, 4, count)
    equal = rng.random(count) < 0.4
    return np.all(np.where(equal, left == right, left >= right), axis=1)


@given(seed=st.integers(0, 99999), unit=st.sampled_from([1.0, 3.0, 0.1]))
@settings(max_examples=60)
def test_programs_obey_the_laws_and_are_exact(seed: int, unit: float) -> None:
    problem = random_program(seed, unit=unit)
    if problem is None:
        return
    check_problem(problem, seed=seed)
    model, size = problem.bqm(), problem.model.num_variables
    best = np.inf
    for bits in itertools.product([0, 1], repeat=size):
        left = problem.coefficients @ np.array(bits) - problem.right
        if np.all(np.where(problem.equal, np.abs(left) < 1e-9, left > -1e-9)):
            best = min(best, problem.cost(np.array(bits)))
    if model.num_variables <= 16:
        assert dimod.ExactSolver().sample(model).first.energy == pytest.approx(best, rel=1e-9)


def program(rows: Any, right: Any, equal: Any = None, labels: Any = None) -> ConstrainedQubo:
    size = np.shape(rows)[1]
    labels = range(size) if labels is None else labels
    model = dimod.BinaryQuadraticModel({label: -1.0 for label in labels}, {}, "BINARY")
    return ConstrainedQubo(model, rows, right, [False] * len(right) if equal is None else equal)


@pytest.mark.parametrize(
    ("row", "right", "equal", "slack"),
    [
        ([1, 1, 1], 1, True, 0),
        ([-1, -1, -1], -1, False, 0),  # one at most: a span of 1
        ([1, 1, 1], 0, False, 0),  # always kept
        ([1, 1, 1], 1, False, 2),
        ([1, 2, 4], 1, False, 3),
        ([5, 10, 20], 3, False, 3),  # divided by 5
        ([1, 1, 1], 3, False, 0),
        ([1, 1, 1], 2.5, False, 0),  # rounded up
    ],
)
def test_slack_is_as_small_as_can_be(row: Any, right: float, equal: bool, slack: int) -> None:
    problem = program([row], [right], [equal])
    assert problem.bqm().num_variables == 3 + slack == 3 + problem.describe()["num_slack"]
    check_problem(problem, seed=0)


def test_the_nearest_bits_are_taken() -> None:
    problem = program([[1, 1, 1, 1, 1]], [1], [True])
    assert problem.decode([0, 0, 1, 0, 0]).tolist() == [0, 0, 1, 0, 0]
    assert problem.decode([0, 0, 0, 0, 0]).sum() == 1
    found = problem.decode([1, 1, 0, 1, 0])
    assert found.sum() == 1 and found[[2, 4]].sum() == 0


def test_slack_has_names_beside_names() -> None:
    problem = program([[1, 2, 3]], [1], labels=["a", "b", "c"])
    names = [("slack", 0, k) for k in range(3)]
    assert list(problem.bqm().variables) == ["a", "b", "c", *names]
    assert list(program([[1, 2, 3]], [1]).bqm().variables) == list(range(6))
    check_problem(problem, seed=1)


@pytest.mark.parametrize(
    ("rows", "right", "equal"),
    [
        ([[1, 1]], [3], [False]),
        ([[1, 1]], [-1], [True]),
        ([[2, 2]], [1], [True]),
        ([[0, 0]], [1], [False]),
        ([[1, 1], [1, 1]], [1, 2], [True, True]),
        ([[1, -1], [-1, 1]], [1, 1], [False, False]),
    ],
)
def test_what_no_bits_keep_is_infeasible(rows: Any, right: Any, equal: Any) -> None:
    with pytest.raises(InfeasibleError, match="no bits keep"):
        program(rows, right, equal)


@pytest.mark.parametrize(
    ("rows", "right", "equal", "message"),
    [
        ([[1, np.pi]], [1], [False], "multiples of one number"),
        ([[1, 10**6]], [1], [False], "multiples of one number"),
        ([[1, np.nan]], [1], [False], "not finite"),
        ([[1, 1]], [np.inf], [False], "not finite"),
        ([[1, 1]], [1, 1], [False], "shape"),
        ([[1, 1]], [1], [False, True], "shape"),
    ],
)
def test_bad_constraints_are_refused(rows: Any, right: Any, equal: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        program(rows, right, equal)


def test_bad_solutions_and_models_are_refused() -> None:
    with pytest.raises(InputError, match="breaks number 1"):
        program([[1, 1], [-1, -1]], [1, -1]).cost([1, 1])
    spins = dimod.BinaryQuadraticModel({0: 1}, {}, "SPIN")
    with pytest.raises(InputError, match="bits"):
        ConstrainedQubo(spins, np.ones((1, 1)), [1], [True])
    bits = dimod.BinaryQuadraticModel({0: 1}, {}, "BINARY")
    with pytest.raises(InputError, match="penalty"):
        ConstrainedQubo(bits, np.ones((1, 1)), [1], [True], penalty=0)


def test_programs_come_back_from_files(tmp_path: Path) -> None:
    problem = ConstrainedQubo.generate(seed=1, num_variables=8, num_constraints=4)
    write_problem(problem, tmp_path / "program.opb.gz")
    again = read_problem(tmp_path / "program.opb.gz")
    assert isinstance(again, ConstrainedQubo)
    names = {f"x{k + 1}": k for k in range(8)}
    assert again.model.relabel_variables(names, inplace=False) == problem.model
    assert (again.coefficients != problem.coefficients).nnz == 0
    assert np.array_equal(again.right, problem.right)
    assert np.array_equal(again.equal, problem.equal)
    write_problem(problem, tmp_path / "whole.qubo")
    assert type(read_problem(tmp_path / "whole.qubo")) is Qubo


def test_a_model_is_a_program_without_constraints(tmp_path: Path) -> None:
    problem = Qubo.generate(seed=2, num_variables=6)
    write_problem(problem, tmp_path / "model.opb")
    again = read_problem(tmp_path / "model.opb")
    bits = np.random.default_rng(0).integers(0, 2, 6)
    assert again.cost(bits) == problem.cost(bits)
    check_problem(again, seed=1)
