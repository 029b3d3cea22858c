"""Disjoint swaps as a BQM: its energies are changes of cost, and any dimod sampler chooses."""

from __future__ import annotations

import dimod
import neal
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.assignment.solving import solve_assignment
from anneal.assignment.swaps import shaken, swap_bqm, swapped
from anneal.problems.assignment import Assignment


@given(seed=st.integers(0, 9999), size=st.integers(2, 12), symmetric=st.booleans())
@settings(max_examples=40)
def test_energies_are_changes_of_the_cost(seed: int, size: int, symmetric: bool) -> None:
    rng = np.random.default_rng(seed)
    flow, distance = rng.integers(-9, 10, (2, size, size)).astype(float)
    if symmetric:
        flow, distance = flow + flow.T, distance + distance.T
    problem, order = Assignment(flow, distance), rng.permutation(size)
    count = int(rng.integers(1, size // 2 + 1))
    pairs = rng.permutation(size)[: 2 * count].reshape(count, 2)
    model = swap_bqm(problem, order, pairs)
    states = np.arange(2**count)[:, None] >> np.arange(count) & 1
    energies = model.energies((states.astype(np.int8), range(count)))
    for state, energy in zip(states, energies, strict=True):
        changed = swapped(order, pairs[state == 1])
        assert energy == problem.cost(changed) - problem.cost(order)


SAMPLERS = [dimod.ExactSolver(), dimod.RandomSampler(), neal.SimulatedAnnealingSampler()]


@pytest.mark.parametrize("sampler", [*SAMPLERS, "greedy", "exact"])
def test_any_sampler_chooses(sampler: object) -> None:
    problem = Assignment.generate(seed=3, num_facilities=8)
    start = np.random.default_rng(1).permutation(8)
    parameters = {"num_reads": 3} if isinstance(sampler, neal.SimulatedAnnealingSampler) else {}
    found = solve_assignment(
        problem, engine="swaps", seed=1, start=start, num_rounds=12, sampler=sampler,
        parameters=parameters,
    )  # fmt: skip
    assert found.cost == problem.cost(found.permutation) <= problem.cost(start)
    assert found.info == {"rounds": 12, "num_pairs": 4}


class Worst(dimod.Sampler):  # type: ignore[misc]
    """Chooses what costs most."""

    properties: dict[str, object] = {}  # noqa: RUF012
    parameters: dict[str, object] = {}  # noqa: RUF012

    def sample(self, bqm: dimod.BinaryQuadraticModel, **_: object) -> dimod.SampleSet:
        found = dimod.ExactSolver().sample(bqm)
        return found.slice(-1, None)


def test_swaps_that_raise_the_cost_are_not_made() -> None:
    problem = Assignment.generate(seed=4, num_facilities=10)
    start = np.random.default_rng(2).permutation(10)
    found = solve_assignment(
        problem, engine="swaps", seed=1, start=start, num_rounds=5, sampler=Worst()
    )
    assert (found.permutation == start).all()


def test_a_shake_moves_few() -> None:
    rng = np.random.default_rng(1)
    order = rng.permutation(40)
    for _ in range(20):
        changed = shaken(order, rng)
        assert (np.sort(changed) == np.arange(40)).all()
        assert (changed != order).sum() <= 6
