"""The Wishart planted ensemble against exhaustive search, and its proof against forgeries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.errors import InputError
from anneal.problems.wishart import WishartPlanted
from anneal.testing import check_problem


def least_energy(problem: WishartPlanted) -> float:
    numbers = np.arange(2 ** (problem.num_spins - 1))[:, np.newaxis]
    spins = (2 * (numbers >> np.arange(problem.num_spins) & 1) - 1).astype(np.float64)
    matrix = np.zeros((problem.num_spins, problem.num_spins))
    matrix[problem.i, problem.j] = problem.coupling
    return float(((spins @ matrix) * spins).sum(axis=1).min())


@given(
    seed=st.integers(0, 9999),
    half=st.integers(1, 6),
    ratio=st.sampled_from([0.1, 0.5, 1.0, 3.0]),
    gaussian=st.booleans(),
)
@settings(max_examples=30)
def test_the_planted_state_is_a_ground_state(
    seed: int, half: int, ratio: float, gaussian: bool
) -> None:
    problem = WishartPlanted.generate(
        seed=seed, num_spins=2 * half + gaussian, ratio=ratio, gaussian=gaussian
    )
    check_problem(problem, seed=seed)
    assert problem.best_known is not None
    assert problem.best_known == pytest.approx(least_energy(problem), rel=1e-12, abs=1e-12)
    assert problem.cost(problem.ground_state) == problem.best_known


def test_energies_are_the_paper_s() -> None:
    """−½ sum of squares of W: whole where its entries are ±1, −½ · columns · spins."""
    problem = WishartPlanted.generate(seed=1, num_spins=40, ratio=0.5)
    assert problem.best_known == -0.5 * 40 * 20
    assert np.array_equal(problem.coupling, np.round(problem.coupling))


def test_a_state_that_is_not_proven_is_refused() -> None:
    problem = WishartPlanted.generate(seed=1, num_spins=12)
    wrong = problem.ground_state.copy()
    wrong[0] *= -1
    with pytest.raises(InputError, match="not proven"):
        replace(problem, ground_state=wrong)
    with pytest.raises(InputError, match="not proven"):
        replace(problem, coupling=-problem.coupling)


@pytest.mark.parametrize(
    "parameters",
    [{"num_spins": 9}, {"num_spins": 0}, {"num_spins": 10**6}, {"ratio": -1}, {"ratio": "much"}],
)
def test_bad_ensembles_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(InputError):
        WishartPlanted.generate(seed=1, **parameters)
