"""Bisection as a BQM: the laws of problems, sizes of nets, areas, and broken samples."""

from __future__ import annotations

import numpy as np
import pytest

from anneal.errors import InfeasibleError, InputError
from anneal.partition import Hypergraph
from anneal.problems.partition import HypergraphBisection
from anneal.testing import check_problem


def small_problem(seed: int) -> HypergraphBisection | None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 9))
    nets = [
        rng.choice(size, min(size, int(rng.integers(1, 6))), replace=False).tolist()
        for _ in range(int(rng.integers(0, 4)))
    ]
    weight = rng.choice([0, 0.5, 1, 2, 1 / 3], len(nets))
    graph = Hypergraph.from_nets(size, nets, area=rng.integers(0, 4, size), weight=weight)
    try:
        return HypergraphBisection(graph, float(rng.choice([0, 0.1, 0.3, 2])))
    except InfeasibleError:
        return None


def test_laws_of_a_problem() -> None:
    problems = [small_problem(seed) for seed in range(60)]
    checked = 0
    for seed, problem in enumerate(problems):
        if problem is not None and problem.bqm().num_variables <= 16:
            check_problem(problem, seed=seed)
            checked += 1
    assert checked > 20


def test_broken_balance_is_repaired() -> None:
    problem = HypergraphBisection.generate(seed=2, num_vertices=30, num_nets=40)
    size = problem.bqm().num_variables
    for value in (0, 1):
        parts = problem.decode(np.full(size, value))
        assert abs(2 * int(parts.sum()) - 30) <= 2 * (problem.limit - 15)
    # Moving vertices one at a time leads nowhere here, so any balanced parts are taken.
    stuck = HypergraphBisection(Hypergraph(5, [0], [], [3, 3, 2, 2, 2]), 0.0)
    parts = stuck.decode(np.array([1, 0, 1, 0, 1]))
    assert sorted(np.bincount(parts, [3, 3, 2, 2, 2])) == [6, 6]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([[0, 1]],), InputError, "hypergraph must be a Hypergraph"),
        ((Hypergraph(2, [0], [], [0.5, 1]),), InputError, "areas must be whole"),
        ((Hypergraph(2, [0], [], [1e6, 1]),), InputError, "at most 1000000 together"),
        ((Hypergraph(2, [0], []), -1), InputError, "tolerance"),
        ((Hypergraph(2, [0], []), 0, 0), InputError, "penalty must be greater than 0"),
        ((Hypergraph(2, [0], [], [3, 1]), 0), InfeasibleError, "no two parts"),
    ],
)
def test_refusals(arguments: tuple, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        HypergraphBisection(*arguments)


def test_a_solution_must_be_balanced() -> None:
    problem = HypergraphBisection(Hypergraph.from_nets(4, [[0, 1], [2, 3]]))
    for wrong in ([0, 0, 0, 0], [0, 1], [0, 1, 2, 0]):
        with pytest.raises(InputError):
            problem.cost(wrong)
