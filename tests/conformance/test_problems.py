"""Every registered problem against the laws; ``QBNN_PROBLEMS="module:Class,…"`` adds others."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.problems import PROBLEMS, get_problem
from anneal.testing import EXHAUSTIVE, check_problem

OTHERS = [name for name in os.environ.get("QBNN_PROBLEMS", "").split(",") if name]
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("name", [*PROBLEMS, *OTHERS])
@given(seed=seeds)
@settings(max_examples=15)
def test_small_instances_obey_the_laws(name: str, seed: int) -> None:
    found = get_problem(name)
    problem = found.generate(seed=seed, **found.small)
    assert problem.bqm().num_variables <= EXHAUSTIVE or not found.small
    check_problem(problem, seed=seed)


@pytest.mark.parametrize("name", [*PROBLEMS, *OTHERS])
def test_default_instances_obey_the_laws(name: str) -> None:
    check_problem(get_problem(name).generate(seed=1), seed=1)


@pytest.mark.parametrize("name", [*PROBLEMS, *OTHERS])
@given(seed=seeds)
@settings(max_examples=5)
def test_a_seed_makes_one_instance(name: str, seed: int) -> None:
    found = get_problem(name)
    first, again = (found.generate(seed=seed, **found.small) for _ in range(2))
    from_generator = found.generate(seed=np.random.default_rng(seed), **found.small)
    assert first.bqm() == again.bqm() == from_generator.bqm()


@pytest.mark.parametrize("name", [*PROBLEMS, *OTHERS])
def test_seeds_make_different_instances(name: str) -> None:
    found = get_problem(name)
    assert found.generate(seed=1).bqm() != found.generate(seed=2).bqm()


@pytest.mark.parametrize("name", [*PROBLEMS, *OTHERS])
def test_facts_are_plain_and_say_the_name(name: str) -> None:
    facts = get_problem(name).generate(seed=1).describe()
    assert facts["problem"] == get_problem(name).name
    assert all(isinstance(fact, str | int | float | None) for fact in facts.values())
