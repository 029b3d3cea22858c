"""The population optimiser: what it is given is not lost."""

from __future__ import annotations

import pytest

from anneal.problems import get_problem
from anneal.solvers import get_solver


@pytest.mark.parametrize("solver", ["crossover", "auto"])
def test_the_result_is_no_worse_than_the_initial_state(solver: str) -> None:
    problem = get_problem("planted").generate(seed=3, length=20)
    options = {"num_rounds": 0} if solver == "crossover" else {}
    sampleset = get_solver(solver)().sample(
        problem.bqm(),
        initial_states=problem.encode(problem.ground_state),
        num_sweeps=1,
        seed=1,
        **options,
    )
    assert sampleset.first.energy == problem.best_known
