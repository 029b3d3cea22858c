"""Proven ground states: each method against all states, and bounds that hold when time is up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.control import Control
from anneal.errors import InputError
from anneal.ising import Ising
from anneal.problems import read_problem
from anneal.semidefinite import bound
from anneal.solvers import get_solver
from anneal.solvers.branching import branch_and_bound
from anneal.solvers.exact import enumerate_states, method
from anneal.treewidth import cheapest_order, ground_state
from tests.kernels.reference import all_states, random_ising


def least_of(ising: Ising) -> float:
    return float(ising.energies(all_states(ising.num_spins)).min())


def real(ising: Ising, seed: int) -> Ising:
    """The same couplings times random numbers."""
    rng = np.random.default_rng(seed)
    i, j, value = ising.pairs()
    return Ising.from_pairs(
        ising.h * rng.normal(size=len(ising.h)), i, j, value * rng.normal(size=len(value)), 0.0
    )


def least_in_parts(ising: Ising) -> float:
    """The least energy by Gray codes."""
    states, _ = enumerate_states(ising, control=Control())
    return float(ising.energies(states)[0])


def torus(side: int, seed: int) -> Ising:
    spins = np.arange(side * side).reshape(side, side)
    i = np.concatenate([spins.ravel()] * 2)
    j = np.concatenate([np.roll(spins, 1, axis).ravel() for axis in (0, 1)])
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], len(i))
    return Ising.from_pairs(np.zeros(side * side), i, j, signs, 0.0)


@given(
    n=st.integers(1, 11), seed=st.integers(0, 999), density=st.sampled_from([0.1, 0.3, 1.0]),
    biased=st.booleans(), whole=st.booleans(), threads=st.integers(1, 2),
)  # fmt: skip
@settings(max_examples=150)
def test_elimination_finds_the_least_energy(
    n: int, seed: int, density: float, biased: bool, whole: bool, threads: int
) -> None:
    ising = random_ising(n, seed=seed, density=density, biased=biased)
    ising = ising if whole else real(ising, seed)
    order = cheapest_order(ising, most=20)
    assert order is not None and sorted(order.spins) == list(range(n))
    state = ground_state(ising, order, control=Control(), num_threads=threads)
    assert state is not None
    assert ising.energies(state)[0] == pytest.approx(least_of(ising), abs=0 if whole else 1e-12)


def test_an_order_of_a_tree_a_ring_and_a_clique() -> None:
    star = Ising.from_pairs(np.zeros(9), np.zeros(8, int), np.arange(1, 9), np.ones(8), 0.0)
    order = cheapest_order(star, most=20)
    assert order is not None and max(map(len, order.bags)) == 1
    clique = random_ising(12, seed=1, largest=1)
    assert cheapest_order(clique, most=8) is None


def test_blocks_and_threads_give_one_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anneal.treewidth.BLOCK", 64)
    ising = torus(5, 1)
    order = cheapest_order(ising, most=30)
    assert order is not None and max(map(len, order.bags)) > 6
    one = ground_state(ising, order, control=Control(), num_threads=1)
    assert one is not None and ising.energies(one)[0] == least_in_parts(ising)
    two = ground_state(ising, order, control=Control(), num_threads=2)
    assert one is not None and two is not None and (one == two).all()
    stopped = Control()
    stopped.interrupt()
    assert ground_state(ising, order, control=stopped) is None


@given(n=st.integers(2, 13), seed=st.integers(0, 999), whole=st.booleans())
@settings(max_examples=25)
def test_the_semidefinite_bound_is_one(n: int, seed: int, whole: bool) -> None:
    ising = random_ising(n, seed=seed, biased=False)
    ising = ising if whole else real(ising, seed)
    least = least_of(ising)
    total = np.abs(ising.dense()).sum()
    found = bound(ising.dense())
    assert least - 0.2 * (total + n) <= found.value <= least + 1e-9 * total
    again = bound(ising.dense(), start=found)
    assert again.value <= least + 1e-9 * total


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("density", [0.5, 1.0])
def test_branch_and_bound_finds_the_least_energy(seed: int, density: float) -> None:
    ising = random_ising(17, seed=seed, density=density, biased=seed % 2 > 0)
    ising = ising if seed % 4 < 2 else real(ising, seed)
    state, lower = branch_and_bound(ising, np.ones(17, np.int8), control=Control())
    least = least_of(ising)
    total = np.abs(ising.dense()).sum()
    assert ising.energies(state)[0] == pytest.approx(least, abs=1e-8 * total)
    assert least - 1e-8 * total <= lower <= least


def test_a_stop_leaves_a_bound_that_holds() -> None:
    ising = random_ising(40, seed=3)
    control = Control()
    control.interrupt()
    state, lower = branch_and_bound(ising, np.ones(40, np.int8), control=control)
    assert lower <= ising.energies(state)[0]
    found = get_solver("exact")().sample(ising.to_bqm(), time_limit=0.0, seed=1)
    assert not found.info["proven"]
    best = get_solver("tabu")().sample(ising.to_bqm(), seed=1).first.energy
    assert found.info["lower_bound"] <= best <= found.first.energy


def test_the_method_follows_the_structure() -> None:
    assert method(random_ising(20, seed=1))[0] == "states"
    assert method(torus(6, 1))[0] == "elimination"
    assert method(random_ising(40, seed=1))[0] == "branching"


def test_parts_are_proven_apart() -> None:
    """Two dense halves beyond what is enumerated, and a leaf."""
    halves = [random_ising(26, seed=seed, largest=1) for seed in (1, 2)]
    J = np.zeros((53, 53))
    J[:26, :26], J[26:52, 26:52] = halves[0].dense(), halves[1].dense()
    J[52, 0] = J[0, 52] = 0.5
    h = np.concatenate([halves[0].h, halves[1].h, [0.0]])
    ising = Ising.from_arrays(h, J, 0.25)
    found = get_solver("exact")().sample(ising.to_bqm(), seed=1, num_reads=3)
    assert found.info["proven"] and len(found) == 3
    assert found.info["lower_bound"] == found.first.energy
    alone = [get_solver("exact")().sample(half.to_bqm(), seed=1).first.energy for half in halves]
    assert found.first.energy == sum(alone) + 0.25 - 0.5


def test_large_parts_of_high_treewidth_are_refused() -> None:
    with pytest.raises(InputError, match="low treewidth"):
        get_solver("exact")().sample(random_ising(260, seed=1, largest=1).to_bqm())
    ring = {(k, (k + 1) % 5000): 1.0 for k in range(5000)}
    found = get_solver("exact")().sample_ising({}, ring)
    assert found.info["proven"] and found.first.energy == -5000


@pytest.mark.parametrize(("name", "best"), [("bqp50_1", -2098), ("bqp50_2", -3702)])
@pytest.mark.parametrize("solver", ["exact", "highs"])
def test_published_optima_are_proven(data_folder: Path, name: str, best: int, solver: str) -> None:
    model = read_problem(data_folder / "orlib" / f"{name}.qubo").bqm()
    found = get_solver(solver)().sample(model, seed=1)
    assert found.info["proven"] and found.first.energy == best
    assert found.info["lower_bound"] == best


@pytest.mark.parametrize("biased", [False, True])
def test_highs_agrees_with_all_states(biased: bool) -> None:
    for seed in range(6):
        ising = random_ising(10, seed=seed, density=0.5, biased=biased)
        model: Any = (ising if seed % 2 else real(ising, seed)).to_bqm()
        found = get_solver("highs")().sample(model, num_reads=2)
        assert found.info["proven"] and len(found) == 2
        best = get_solver("exact")().sample(model).first.energy
        assert found.first.energy == pytest.approx(best, abs=1e-9)
    late = get_solver("highs")().sample(model, time_limit=0.0)
    assert late.info["lower_bound"] <= late.first.energy
