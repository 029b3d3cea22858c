"""The laws that a plug-in inherits: call them from its tests."""

from __future__ import annotations

from typing import Any

import dimod
import numpy as np
from numpy.typing import NDArray

from anneal.problem import Problem, Values, as_sample

# Beyond this many variables, ground states are not looked for.
EXHAUSTIVE = 16


def check_problem(problem: Problem, *, seed: int) -> None:
    """Raise AssertionError where ``problem`` breaks a law of :class:`~anneal.problem.Problem`.

    Random solutions and random samples are drawn with ``seed``; a problem of at most 16 variables
    is also searched exhaustively. Energies must agree exactly where every bias is a multiple of
    1/4, and to rounding otherwise.

    >>> from anneal.problems.maxcut import MaxCut
    >>> check_problem(MaxCut.generate(seed=1, num_vertices=5), seed=1)
    """
    rng = np.random.default_rng(seed)
    model = problem.bqm()
    assert model.num_variables, "bqm() has no variables"
    tolerance = _tolerance(model)
    for _ in range(4):
        _check_solution(problem, problem.random_solution(rng), model, tolerance)
    states = _random_states(model, 8, rng)
    for state, energy in zip(states, _energies(model, states), strict=True):
        _check_sample(problem, state, energy, model, tolerance)
    if model.num_variables <= EXHAUSTIVE:
        _check_ground_states(problem, model, tolerance)


def _check_solution(
    problem: Problem, solution: Any, model: dimod.BinaryQuadraticModel, tolerance: float
) -> None:
    sample, cost = problem.encode(solution), problem.cost(solution)
    assert set(sample) == set(model.variables), "encode() must give every variable of bqm() a value"
    energy = model.energy(sample)
    assert abs(energy - cost) <= tolerance, (
        f"encode(solution) has energy {energy} but the solution costs {cost}: a missing offset?"
    )
    assert problem.feasible(sample), "encode() gave a sample that feasible() refuses"
    decoded = problem.decode(sample)
    assert _same(decoded, solution), f"decode(encode(solution)) is {decoded}, not {solution}"


def _check_sample(
    problem: Problem,
    state: Values,
    energy: float,
    model: dimod.BinaryQuadraticModel,
    tolerance: float,
) -> None:
    sample = as_sample(state, model.variables)
    solution = problem.decode(sample)
    assert _same(solution, problem.decode(sample)), "decode() gave two solutions for one sample"
    assert _same(solution, problem.decode(state)), "decode() reads an array unlike a mapping"
    cost = problem.cost(solution)
    assert np.isfinite(cost), f"decode() gave a solution of cost {cost} for a random sample"
    if problem.feasible(sample):
        assert abs(energy - cost) <= tolerance, (
            f"a feasible sample has energy {energy} but its solution costs {cost}"
        )
    _check_solution(problem, solution, model, tolerance)


def _check_ground_states(
    problem: Problem, model: dimod.BinaryQuadraticModel, tolerance: float
) -> None:
    """As every solution's energy is its cost, a ground state of that cost is a best solution."""
    states = _all_states(model)
    energies = _energies(model, states)
    ground = float(energies.min())
    for state in states[energies <= ground + tolerance][:16]:
        sample = as_sample(state, model.variables)
        assert problem.feasible(sample), (
            f"a ground state of energy {ground} is not feasible: the penalty is too small"
        )
        cost = problem.cost(problem.decode(sample))
        assert abs(cost - ground) <= 2 * tolerance, (
            f"a ground state of energy {ground} decodes to a solution of cost {cost}"
        )
    best = problem.best_known
    assert best is None or best >= ground - tolerance, (
        f"best_known is {best}, but no solution costs less than {ground}"
    )


def _tolerance(model: dimod.BinaryQuadraticModel) -> float:
    vectors = model.to_numpy_vectors()
    biases = np.concatenate(
        [vectors.linear_biases, vectors.quadratic.biases, [float(model.offset)]]
    )
    total = float(np.abs(biases).sum())
    exact = bool(np.all(4 * biases == np.floor(4 * biases))) and total < 2.0**50
    return 0.0 if exact else 1e-12 * total


def _energies(model: dimod.BinaryQuadraticModel, states: Values) -> NDArray[np.float64]:
    return np.asarray(model.energies((states, list(model.variables))), dtype=np.float64)


def _random_states(
    model: dimod.BinaryQuadraticModel, count: int, rng: np.random.Generator
) -> Values:
    return _from_bits(model, rng.integers(2, size=(count, model.num_variables)))


def _all_states(model: dimod.BinaryQuadraticModel) -> Values:
    numbers = np.arange(2**model.num_variables)[:, np.newaxis]
    return _from_bits(model, numbers >> np.arange(model.num_variables) & 1)


def _from_bits(model: dimod.BinaryQuadraticModel, bits: NDArray[np.int64]) -> Values:
    return (2 * bits - 1 if model.vartype is dimod.SPIN else bits).astype(np.int8)


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        return np.array_equal(left, right)
    return bool(left == right)
