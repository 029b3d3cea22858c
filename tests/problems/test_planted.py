"""Tile planting against exhaustive search and an exact solver."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dwave.samplers import TreeDecompositionSolver
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.errors import InputError
from anneal.problems.planted import TilePlanted, tile_corners
from anneal.testing import check_problem

mixes = st.lists(st.integers(0, 3), min_size=4, max_size=4).filter(any)


def brute_force(problem: TilePlanted) -> float:
    numbers = np.arange(2 ** (problem.num_spins - 1))[:, np.newaxis]
    spins = (2 * (numbers >> np.arange(problem.num_spins) & 1) - 1).astype(np.int8)
    energy = np.zeros(len(spins))
    for i, j, coupling in zip(problem.i, problem.j, problem.coupling, strict=True):
        energy += coupling * spins[:, i] * spins[:, j]
    return float(energy.min())


@given(seed=st.integers(0, 9999), mix=mixes)
@settings(max_examples=20)
def test_ground_energy_against_exhaustive_search(seed: int, mix: list[int]) -> None:
    problem = TilePlanted.generate(seed=seed, length=4, probabilities=mix)
    assert problem.cost(problem.ground_state) == problem.best_known == brute_force(problem)


@pytest.mark.parametrize("mix", [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)])
@pytest.mark.parametrize("length", [6, 8])
def test_ground_energy_against_tree_decomposition(length: int, mix: tuple[int, ...]) -> None:
    problem = TilePlanted.generate(seed=length, length=length, probabilities=mix)
    found = TreeDecompositionSolver().sample(problem.bqm()).first.energy
    assert problem.best_known == found


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_a_tile_of_class_k_has_k_ground_states(kind: int) -> None:
    mix = np.eye(4)[kind - 1]
    problem = TilePlanted.generate(seed=1, length=6, probabilities=mix)
    signs = np.array(np.meshgrid(*[[-1, 1]] * 4)).reshape(4, -1)
    bonds = signs * np.roll(signs, -1, axis=0)
    energies = problem.coupling.reshape(-1, 4) @ bonds
    least = energies == energies.min(axis=1, keepdims=True)
    assert np.all(least.sum(axis=1) == 2 * kind)
    magnitudes = np.abs(problem.coupling.reshape(-1, 4))
    assert np.all((magnitudes == 1).sum(axis=1) == kind)


@given(length=st.integers(2, 10).map(lambda half: 2 * half))
def test_every_bond_of_the_torus_lies_in_one_tile(length: int) -> None:
    corners = tile_corners(length)
    ends = np.sort(np.stack([corners, np.roll(corners, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
    assert len(np.unique(ends, axis=0)) == len(ends) == 2 * length**2
    assert np.all(np.bincount(ends.ravel()) == 4)


def test_the_planted_state_is_hidden() -> None:
    ground = TilePlanted.generate(seed=1, length=50).ground_state
    assert abs(int(ground.sum())) < 6 * 50


def test_a_planted_state_that_is_none_is_refused() -> None:
    problem = TilePlanted.generate(seed=1, length=4)
    wrong = problem.ground_state.copy()
    wrong[3] *= -1
    with pytest.raises(InputError, match="ground_state"):
        replace(problem, ground_state=wrong)
    with pytest.raises(InputError, match="tiles"):
        replace(problem, i=problem.j, j=problem.i)
    unsatisfied = np.where(np.arange(32) % 2, problem.coupling, -problem.coupling)
    with pytest.raises(InputError, match="ground_state"):
        replace(problem, coupling=unsatisfied)


def test_an_unfrustrated_torus_is_planted_too() -> None:
    problem = TilePlanted.generate(seed=1, length=4)
    satisfied = -problem.ground_state[problem.i] * problem.ground_state[problem.j]
    check_problem(replace(problem, coupling=3.0 * satisfied), seed=0)


@pytest.mark.parametrize(
    "parameters",
    [
        {"length": 5},
        {"length": 2},
        {"length": 0},
        {"length": 4.0},
        {"length": 10**6},
        {"probabilities": (1, 1, 1)},
        {"probabilities": (0, 0, 0, 0)},
        {"probabilities": (1, -1, 1, 1)},
        {"probabilities": (1, float("nan"), 1, 1)},
    ],
)
def test_bad_parameters_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(InputError):
        TilePlanted.generate(seed=1, **parameters)
