"""Engines for quadratic assignment against exhaustive search, and the laws that all obey."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anneal.assignment import ENGINES, get_engine, keywords, tables
from anneal.assignment.memetic import Members, crossover
from anneal.assignment.solving import solve_assignment
from anneal.control import Control
from anneal.errors import InputError
from anneal.problems import read_problem
from anneal.problems.assignment import Assignment

SHORT: dict[str, dict[str, Any]] = {
    "memetic": {"num_generations": 2, "child_swaps": 40},
    "tabu": {"num_swaps": 300},
    "anneal": {"num_sweeps": 60},
    "swaps": {"num_rounds": 8},
}


def random_problem(size: int, seed: int, *, symmetric: bool = False) -> Assignment:
    rng = np.random.default_rng(seed)
    flow, distance = rng.integers(-9, 10, (2, size, size)).astype(float)
    if symmetric:
        flow, distance = flow + flow.T, distance + distance.T
    if seed % 3 == 0:
        flow *= np.pi
    return Assignment(flow, distance)


def brute_force(problem: Assignment) -> float:
    return min(problem.cost(order) for order in itertools.permutations(range(len(problem.flow))))


def test_every_engine_is_short_somewhere() -> None:
    assert set(SHORT) == set(ENGINES)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("engine", ["memetic", "tabu", "anneal"])
def test_small_problems_are_solved(engine: str, size: int) -> None:
    for seed in range(4):
        problem = random_problem(size, seed, symmetric=seed % 2 == 0)
        found = solve_assignment(problem, engine=engine, seed=seed)
        assert found.cost == problem.cost(found.permutation) == found.trace[-1][1]
        assert found.cost == pytest.approx(brute_force(problem), rel=1e-12, abs=1e-9)


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_chosen_swaps_solve_small_problems(size: int) -> None:
    problem = random_problem(size, seed=1)
    found = solve_assignment(problem, engine="swaps", seed=1, num_rounds=200 if size > 1 else 1)
    assert found.cost == brute_force(problem)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_seed_gives_one_result_for_any_number_of_threads(engine: str) -> None:
    problem = Assignment.generate(seed=2, num_facilities=12)
    first, again = (
        solve_assignment(problem, engine=engine, seed=3, num_threads=threads, **SHORT[engine])
        for threads in (1, 3)
    )
    assert (first.permutation == again.permutation).all()
    assert first.info == again.info
    assert [cost for _, cost in first.trace][-1] == again.cost
    other = solve_assignment(problem, engine=engine, seed=4, **SHORT[engine])
    assert (first.permutation != other.permutation).any() or first.cost == other.cost


@pytest.mark.parametrize("engine", ENGINES)
def test_the_result_is_no_worse_than_the_start(engine: str) -> None:
    problem = Assignment.generate(seed=5, num_facilities=14)
    good = solve_assignment(problem, engine="tabu", seed=1)
    given = good.permutation.copy()
    for limit in ({"time_limit": 0.0}, SHORT[engine]):
        found = solve_assignment(problem, engine=engine, seed=1, start=good.permutation, **limit)
        assert found.cost <= good.cost
    assert (good.permutation == given).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_every_way_to_stop(engine: str) -> None:
    problem = Assignment.generate(seed=6, num_facilities=20)
    told: list[tuple[float, float]] = []
    late = solve_assignment(
        problem,
        engine=engine,
        seed=1,
        time_limit=0.3,
        num_threads=2,
        progress=lambda *now: told.append(now),
    )
    assert not late.interrupted
    assert told and all(0 <= fraction <= 1 for fraction, _ in told)
    costs = [cost for _, cost in late.trace]
    assert costs == sorted(costs, reverse=True) and costs[-1] == late.cost
    interrupted = solve_assignment(
        problem, engine=engine, seed=1, time_limit=1000, interrupt_function=lambda: True
    )
    assert interrupted.interrupted
    target = problem.cost(np.random.default_rng(9).permutation(20))
    reached = solve_assignment(problem, engine=engine, seed=1, time_limit=1000, target_cost=target)
    assert reached.cost <= target


@pytest.mark.parametrize("engine", ENGINES)
def test_what_reached_the_target_is_returned(engine: str) -> None:
    for seed in range(6):
        problem = Assignment.generate(seed=seed, num_facilities=8)
        least = solve_assignment(problem, engine="tabu", seed=seed).cost
        found = solve_assignment(
            problem, engine=engine, seed=seed, time_limit=30, target_cost=least
        )
        assert found.cost == least == found.trace[-1][1]


def test_counting_starts_again_before_it_gets_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LATEST", 500)
    monkeypatch.setattr(tables, "CHUNK_WORK", 1000)
    problem = Assignment.generate(seed=7, num_facilities=9)
    walk = tables.TabuWalk(tables.QapTables.of(problem), np.random.default_rng(1))
    start = np.random.default_rng(2).permutation(9)
    walk.begin(start, Control())
    walk.run(5000, Control())
    assert walk.made == 5000
    assert walk.walk[2] < 600
    assert walk.until.min() >= -500
    assert walk.cost == problem.cost(walk.best) == problem.cost(start) + walk.walk[1]
    assert problem.cost(walk.arrays[3]) == problem.cost(start) + walk.walk[0]


def test_a_child_keeps_what_its_parents_agree_on() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        first, second = rng.permutation(12), rng.permutation(12)
        second[np.argsort(second)[first[:5]]] = second[:5]  # five sites alike
        second[:5] = first[:5]
        child = crossover(first, second, rng)
        assert (np.sort(child) == np.arange(12)).all()
        assert (child[first == second] == first[first == second]).all()


def test_members_stay_distinct_and_the_best_stays() -> None:
    rng = np.random.default_rng(1)
    members = Members(4)
    orders = [rng.permutation(40) for _ in range(5)]
    for order, cost in zip(orders, [5.0, 4.0, 3.0, 2.0, 9.0], strict=True):
        members.add(order, cost)
    assert members.costs == [5.0, 4.0, 3.0, 2.0]
    twin = orders[2].copy()
    twin[:2] = twin[1::-1]
    members.add(twin, 2.5)
    assert members.costs == [5.0, 4.0, 2.5, 2.0]
    members.renew()
    assert len(members.orders) == 4
    members.orders = [members.orders[3]] * 4
    members.renew()
    assert (members.costs, len(members.orders)) == ([2.0], 1)


def test_a_short_limit_makes_short_searches() -> None:
    problem = Assignment.generate(seed=8, num_facilities=60)
    hasty = solve_assignment(problem, seed=1, time_limit=0.2)
    assert 20 * 60 <= hasty.info["child_swaps"] < 9000
    assert solve_assignment(problem, seed=1, num_generations=0).info["child_swaps"] == 9000


@pytest.mark.parametrize("name", ["nug12", "nug20", "had20", "kra30a", "ste36a", "tai20a"])
def test_best_known_of_qaplib(data_folder: Path, name: str) -> None:
    known = {"nug12": 578, "nug20": 2570, "had20": 6922}
    known |= {"kra30a": 88900, "ste36a": 9526, "tai20a": 703482}
    problem = read_problem(data_folder / "qaplib" / f"{name}.dat")
    assert isinstance(problem, Assignment)
    found = solve_assignment(problem, seed=1, time_limit=20, target_cost=known[name])
    assert found.cost == known[name]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "tabbu"}, "did you mean 'tabu'"),
        ({"engine": "tabu", "num_swap": 3}, "did you mean 'num_swaps'"),
        ({"start": [0, 0, 1, 2]}, "permutation of 0 … 3"),
        ({"time_limit": -1}, "time_limit"),
        ({"target_cost": float("nan")}, "target_cost"),
        ({"num_threads": 0}, "num_threads"),
        ({"engine": "tabu", "num_swaps": 0}, "num_swaps"),
        ({"engine": "anneal", "num_sweeps": 0}, "num_sweeps"),
        ({"engine": "anneal", "temperature_range": (1, 2)}, "last temperature"),
        ({"engine": "memetic", "population_size": 1}, "population_size"),
        ({"engine": "swaps", "num_pairs": 3}, "num_pairs"),
        ({"engine": "swaps", "sampler": 3}, "dimod sampler"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        solve_assignment(Assignment.generate(seed=1, num_facilities=4), **options)


def test_engines_by_name() -> None:
    assert get_engine("anneal.assignment.tabu:tabu") is get_engine("tabu")
    assert "sampler" in keywords("swaps")
