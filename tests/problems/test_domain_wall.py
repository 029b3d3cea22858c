"""The domain-wall encoding: its laws with any matrices, its bits, and penalties that grow."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import dimod
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.assignment.penalised import sample_until_feasible, with_measured_penalties
from anneal.errors import InputError
from anneal.problems.assignment import Assignment
from anneal.problems.domain_wall import DomainWallAssignment
from anneal.solvers.anneal import AnnealSampler
from anneal.testing import check_problem


@given(seed=st.integers(0, 9999), size=st.integers(2, 6), floats=st.booleans())
@settings(max_examples=25)
def test_any_matrices_obey_the_laws(seed: int, size: int, floats: bool) -> None:
    rng = np.random.default_rng(seed)
    matrices = rng.integers(-9, 10, (2, size, size)).astype(float)
    if floats:
        matrices *= rng.lognormal(sigma=3, size=matrices.shape)
    check_problem(DomainWallAssignment(Assignment(*matrices)), seed=seed)


def test_energies_are_the_formula_for_every_state() -> None:
    """Cost of the sites, site penalty and rises, term by term, broken chains included."""
    rng = np.random.default_rng(1)
    flow, distance = rng.integers(-5, 6, (2, 3, 3)).astype(float)
    problem = DomainWallAssignment(Assignment(flow, distance), penalty=7, chain_strength=11)
    longest = distance[~np.eye(3, dtype=bool)].max()
    between = np.where(np.eye(3, dtype=bool), longest, distance)
    model = problem.bqm()
    for bits in itertools.product([0, 1], repeat=6):
        d = np.array(bits).reshape(3, 2)
        x = np.stack([1 - d[:, 0], d[:, 0] - d[:, 1], d[:, 1]], axis=1)
        cost = sum(flow[i, i] * np.diag(distance) @ x[i] for i in range(3))
        cost += sum(
            flow[i, j] * x[i] @ between @ x[j] for i, j in itertools.permutations(range(3), 2)
        )
        cost += 7 * ((x.sum(axis=0) - 1) ** 2).sum()
        cost += 11 * ((d[:, 0] == 0) & (d[:, 1] == 1)).sum()
        assert model.energy(dict(enumerate(bits))) == cost


def test_bits_fall_at_the_site() -> None:
    problem = DomainWallAssignment.generate(seed=1, num_facilities=3)
    sample = problem.encode([2, 0, 1])
    assert [sample[v] for v in range(6)] == [1, 1, 0, 0, 1, 0]
    sample[2], sample[3] = 0, 1  # a rise
    assert not problem.feasible(sample)
    assert sorted(problem.decode(sample)) == [0, 1, 2]


def test_penalties_are_described_and_replaced() -> None:
    problem = DomainWallAssignment.generate(seed=2, num_facilities=5)
    facts = replace(problem, penalty=3.0).describe()
    assert facts["penalty"] == 3.0 != facts["sufficient_penalty"] == problem.penalty
    assert facts["chain_strength"] == facts["sufficient_chain_strength"]
    measured = with_measured_penalties(problem).describe()
    assert measured["penalty"] == measured["measured_penalty"]
    assert measured["chain_strength"] == measured["measured_chain_strength"]


@pytest.mark.parametrize(
    "options", [{"penalty": 0}, {"penalty": -1}, {"chain_strength": 0}, {"penalty": float("nan")}]
)
def test_bad_penalties_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        DomainWallAssignment(Assignment.generate(seed=1, num_facilities=3), **options)


def test_one_site_is_refused() -> None:
    with pytest.raises(InputError, match="n ≥ 2"):
        DomainWallAssignment(Assignment([[0]], [[0]]))


@pytest.mark.parametrize("encoding", ["one-hot", "domain-wall"])
def test_penalties_grow_until_samples_are_permutations(encoding: str) -> None:
    assignment = Assignment.generate(seed=3, num_facilities=6)
    problem: Any = replace(assignment, penalty=2.0)
    if encoding == "domain-wall":
        problem = DomainWallAssignment(assignment, penalty=2.0, chain_strength=2.0)
    parameters = {"num_reads": 16, "num_sweeps": 200}
    found = sample_until_feasible(
        problem, AnnealSampler(), seed=1, growth=2, num_tries=12, parameters=parameters
    )
    penalties, fractions = zip(*found.tried, strict=True)
    assert penalties == tuple(2.0 * 2**k for k in range(len(penalties))) and len(penalties) > 2
    assert fractions[-1] == found.feasible_fraction >= 0.5 > max(fractions[:-1])
    assert found.problem.penalty == penalties[-1]
    assert found.cost == assignment.cost(found.permutation)
    again = sample_until_feasible(
        problem, AnnealSampler(), seed=1, growth=2, num_tries=12, parameters=parameters
    )
    assert again.tried == found.tried


def test_tries_end_and_samplers_of_others_will_do() -> None:
    problem = replace(Assignment.generate(seed=4, num_facilities=3), penalty=1e-3)
    found = sample_until_feasible(
        problem, dimod.RandomSampler(), least_feasible=1.0, num_tries=3, parameters={"num_reads": 5}
    )
    assert len(found.tried) == 3
    assert sorted(found.permutation) == [0, 1, 2]


@pytest.mark.parametrize("options", [{"growth": 1.0}, {"least_feasible": 2}, {"num_tries": 0}])
def test_bad_options_of_tries_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        sample_until_feasible(
            Assignment.generate(seed=1, num_facilities=3), AnnealSampler(), **options
        )
