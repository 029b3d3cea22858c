"""Bisection, colouring and independent sets: laws on any graph, penalties, repair, bad input."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.errors import InputError
from anneal.problems.bisection import GraphBisection
from anneal.problems.colouring import Colouring
from anneal.problems.independent_set import IndependentSet
from anneal.squares import joined
from anneal.testing import check_problem

seeds = st.integers(0, 9999)
CYCLE = ([0, 1, 2, 3, 4], [1, 2, 3, 4, 0])


def ground_energy(problem: Any) -> float:
    model = problem.bqm()
    states = np.arange(2**model.num_variables)[:, np.newaxis] >> np.arange(model.num_variables) & 1
    return float(model.energies((states.astype(np.int8), list(model.variables))).min())


def random_edges(rng: np.random.Generator, size: int) -> tuple[list[int], list[int]]:
    pairs = [pair for pair in itertools.combinations(range(size), 2) if rng.random() < 0.5]
    pairs += pairs[:1]  # a parallel edge
    return [i for i, _ in pairs], [j for _, j in pairs]


@given(seed=seeds, size=st.integers(1, 9), kind=st.sampled_from(["one", "signed", "float"]))
@settings(max_examples=40)
def test_bisections_obey_the_laws_and_are_exact(seed: int, size: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    i, j = random_edges(rng, size)
    weight = np.ones(len(i)) if kind == "one" else rng.integers(-5, 6, len(i)).astype(float)
    weight = weight * rng.lognormal(sigma=3, size=len(i)) if kind == "float" else weight
    problem = GraphBisection(size, i, j, weight)
    check_problem(problem, seed=seed)
    halves = [h for h in itertools.product([0, 1], repeat=size) if abs(2 * sum(h) - size) <= 1]
    best = min(problem.cost(np.array(h)) for h in halves)
    assert ground_energy(problem) == pytest.approx(best, rel=1e-9, abs=1e-9)


@given(seed=seeds, size=st.integers(1, 6), colours=st.integers(1, 3))
@settings(max_examples=40)
def test_colourings_obey_the_laws_and_are_exact(seed: int, size: int, colours: int) -> None:
    rng = np.random.default_rng(seed)
    problem = Colouring(size, *random_edges(rng, size), colours)
    check_problem(problem, seed=seed)
    if size * colours <= 12:
        every = itertools.product(range(colours), repeat=size)
        assert ground_energy(problem) == min(problem.cost(np.array(c)) for c in every)


@given(seed=seeds, size=st.integers(1, 10), kind=st.sampled_from(["one", "whole", "float"]))
@settings(max_examples=40)
def test_independent_sets_obey_the_laws_and_are_exact(seed: int, size: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    i, j = random_edges(rng, size)
    weight = {"one": None, "whole": rng.integers(0, 5, size), "float": rng.random(size) * 100}[kind]
    problem = IndependentSet(size, i, j, weight)
    check_problem(problem, seed=seed)
    best = 0.0
    for bits in itertools.product([0, 1], repeat=size):
        if not any(bits[a] and bits[b] for a, b in zip(i, j, strict=True)):
            best = min(best, problem.cost(np.array(bits)))
    assert ground_energy(problem) == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("size", [8, 9])
def test_a_balance_below_the_penalty_is_broken(size: int) -> None:
    """The bound is not idle: on a complete graph half of it leaves everything in one half."""
    i, j = np.triu_indices(size, 1)
    problem = GraphBisection(size, i, j, np.ones(i.size))
    assert problem.penalty == size
    low = replace(problem, penalty=0.5)
    assert ground_energy(low) < ground_energy(problem) == (size // 2) * ((size + 1) // 2)


def test_squares_stay_apart() -> None:
    for problem in (GraphBisection.generate(seed=1), Colouring.generate(seed=1)):
        model, squares = problem.split()
        assert model.num_interactions < problem.bqm().num_interactions
        assert joined(model, squares) == problem.bqm()


def test_vertices_come_over_that_cut_least() -> None:
    """A path whose first five vertices are in one half: the fifth comes over, cutting one edge."""
    path = GraphBisection(8, range(7), range(1, 8), np.ones(7))
    assert path.decode([1, 1, 1, 1, 1, 0, 0, 0]).tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert path.decode([1] * 8).sum() == path.decode([0] * 8).sum() == 4
    large = GraphBisection.generate(seed=2, num_vertices=2000, density=0.003)
    assert large.decode(np.ones(2000, np.int8)).sum() == 1000


def test_colours_that_clash_are_not_taken() -> None:
    cycle = Colouring(5, *CYCLE, num_colours=3)
    assert cycle.decode(np.zeros(15, np.int8)).tolist() == [0, 1, 0, 1, 2]
    assert cycle.cost(cycle.decode(np.ones(15, np.int8))) == 0
    kept = cycle.encode([0, 1, 0, 1, 1])
    assert cycle.decode(kept).tolist() == [0, 1, 0, 1, 1]
    kept[12], kept[14] = 1, 1  # the last vertex has all colours now
    assert cycle.decode(kept).tolist() == [0, 1, 0, 1, 2]


def test_planted_colourings_exist() -> None:
    problem = Colouring.generate(seed=3, num_vertices=4, num_colours=3, density=1.0)
    assert problem.best_known == 0 == ground_energy(problem)
    assert Colouring.generate(seed=3, num_vertices=4, planted=False).best_known is None


def test_the_vertex_that_clashes_most_leaves() -> None:
    star = IndependentSet(5, [0, 0, 0, 0], [1, 2, 3, 4])
    assert star.decode([1] * 5).tolist() == [0, 1, 1, 1, 1]
    heavy = IndependentSet(5, [0, 0, 0, 0], [1, 2, 3, 4], [9, 1, 1, 1, 1])
    assert heavy.decode([1] * 5).tolist() == [1, 0, 0, 0, 0]
    assert heavy.decode([0, 1, 0, 0, 0]).tolist() == [0, 1, 0, 0, 0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: GraphBisection(0, [], [], []),
        lambda: GraphBisection(2, [0], [0], [1.0]),
        lambda: GraphBisection(2, [0], [1], [1.0], penalty=0),
        lambda: GraphBisection.generate(seed=1, family="petersen"),
        lambda: GraphBisection(4, [0], [1], [1.0]).cost([1, 1, 1, 0]),
        lambda: Colouring(2, [0], [1], 0),
        lambda: Colouring(2, [0], [1], 2.5),
        lambda: Colouring(10**6, [0], [1], 10**3),
        lambda: Colouring(2, [0], [1], 2, penalty=float("nan")),
        lambda: Colouring(2, [0], [1], 2).cost([0, 2]),
        lambda: Colouring(2, [0], [1], 2).cost([0.0, 1.0]),
        lambda: Colouring.generate(seed=1, density=2),
        lambda: IndependentSet(2, [0], [1], [1.0]),
        lambda: IndependentSet(2, [0], [1], [1.0, -1.0]),
        lambda: IndependentSet(2, [0], [1], [1.0, float("nan")]),
        lambda: IndependentSet(2, [0], [2]),
        lambda: IndependentSet(2, [0], [1]).cost([1, 1]),
        lambda: IndependentSet.generate(seed=1, num_vertices=0),
    ],
)
def test_bad_graph_problems_are_refused(make: Any) -> None:
    with pytest.raises(InputError):
        make()
