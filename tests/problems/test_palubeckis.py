"""The generator of p3000 … p7000: against its definition, number by number, and its optimum."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.errors import InputError
from anneal.problems.qubo import Qubo
from anneal.solvers.tabu import TabuSampler


def lehmer(seed: int) -> Iterator[float]:
    """Yield the numbers of 0 … 1 in their order."""
    while True:
        seed = seed * 16807 % (2**31 - 1)
        yield seed / 2**31


@given(
    size=st.integers(1, 30),
    percent=st.sampled_from([0, 3, 50, 80, 97, 100]),
    seed=st.integers(1, 2**31 - 2),
)
@settings(max_examples=60)
def test_numbers_come_in_their_order(size: int, percent: int, seed: int) -> None:
    model = Qubo.generate(
        seed=seed, family="palubeckis", num_variables=size, density=percent / 100
    ).bqm()
    numbers = lehmer(seed)
    couplings = 0
    for i in range(size):
        assert model.linear[i] == -math.floor(next(numbers) * 201 - 100)
        for j in range(i + 1, size):
            if next(numbers) * 100 <= percent:
                assert model.quadratic[i, j] == -2 * math.floor(next(numbers) * 201 - 100)
                couplings += 1
    assert model.num_interactions == couplings


def test_p3000_1_has_its_published_optimum() -> None:
    problem = Qubo.generate(seed=31000, family="palubeckis", num_variables=3000, density=0.5)
    assert problem.best_known == -3931583
    found = TabuSampler().sample(
        problem.bqm(), seed=1, num_reads=16, num_sweeps=500, target_energy=problem.best_known
    )
    assert found.first.energy == problem.best_known


def test_other_instances_have_no_published_value() -> None:
    for parameters in ({"seed": 31001}, {"density": 0.5000001}, {"num_variables": 100}):
        given = {"seed": 31000, "num_variables": 3000, "density": 0.5, **parameters}
        assert Qubo.generate(family="palubeckis", **given).best_known is None
    assert Qubo.generate(seed=None, family="palubeckis", num_variables=5).best_known is None


@pytest.mark.parametrize("seed", [0, -1, 2**31 - 1])
def test_seeds_that_the_generator_has_not_are_refused(seed: int) -> None:
    with pytest.raises(InputError, match="the seed of family palubeckis"):
        Qubo.generate(seed=seed, family="palubeckis")


def test_families_are_named() -> None:
    with pytest.raises(InputError, match="beasley or palubeckis"):
        Qubo.generate(seed=1, family="palubecki")
