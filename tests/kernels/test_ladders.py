"""Ladders sample the product of the Boltzmann laws, and their moves do what their formulas say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.stats import chi2, norm

from anneal.control import Control
from anneal.ising import Ising
from anneal.kernels.tempering import exchange, exchange_components
from anneal.ladders import DenseLadder, Ladder, SparseLadder, respaced
from anneal.layouts import choose_layout
from anneal.problems.spin_glass import Lattice
from anneal.schedules import resolve
from anneal.solvers.tempering import make_ladder
from tests.kernels.reference import (
    FIELDS,
    SPARSE_KINDS,
    all_states,
    codes_of,
    components,
    energies_of,
    forced_layout,
    random_ising,
)

RARE = 1e-9
BETAS = np.array([0.05, 0.15, 0.25, 0.35])
seeds = st.integers(0, 2**32 - 1)


def new_ladder(ising: Ising, family: str, kind: str, chains: int, betas: Any = BETAS) -> Any:
    layout: Any = forced_layout(ising, family, kind)
    make = SparseLadder if family == "sparse" else DenseLadder
    ladder = make(
        layout, np.random.default_rng(1), betas=betas, chains=chains, size=chains * len(betas),
        gibbs=False, shuffled=False,
    )  # fmt: skip
    if family == "sparse":
        ladder.mixing[:] = True
        ladder.period = 1
    return ladder


def laws(ising: Ising, betas: Any = BETAS) -> Any:
    """(betas, 2ⁿ) probabilities of all states."""
    energies = energies_of(ising.h, ising.dense(), all_states(ising.num_spins))
    weights = np.exp(-betas[:, np.newaxis] * (energies - energies.min()))
    return weights / weights.sum(axis=1, keepdims=True)


def assert_law(observed: Any, law: Any) -> None:
    """Likelihood ratio of the best fit to the law; states expected too rarely are pooled."""
    total = observed.sum()
    common = law * total >= 5
    observed = np.append(observed[common], observed[~common].sum())
    expected = np.append(law[common], law[~common].sum()) * total
    seen = observed > 0
    ratio = 2 * float((observed[seen] * np.log(observed[seen] / expected[seen])).sum())
    assert ratio < chi2.isf(RARE, len(observed) - 1), (observed, expected)


def sampled(ladder: Ladder, looks: int) -> Any:
    """(looks, temperatures, chains) numbers of the states."""
    ladder.run(20, 8)
    found = []
    for _ in range(looks):
        ladder.run(1, 8)
        found.append(codes_of(ladder.states())[ladder.slots])
    return np.array(found)


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("family", "kind"), FIELDS)
def test_each_temperature_has_its_boltzmann_law(family: str, kind: str, biased: bool) -> None:
    """With cluster moves in each round, at one temperature and between neighbours."""
    ising = random_ising(5, seed=5, density=0.6, biased=biased)
    ladder = new_ladder(ising, family, kind, chains=8)
    codes = sampled(ladder, 400)
    for t, law in enumerate(laws(ising)):
        assert_law(np.bincount(codes[:, t].ravel(), minlength=32), law)


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("apart", [0, 1])
def test_chains_are_independent(biased: bool, apart: int) -> None:
    """The joint law of two chains, at one temperature or at neighbours, is a product."""
    ising = random_ising(3, seed=4, biased=biased)
    codes = sampled(new_ladder(ising, "sparse", "int8", chains=16), 1000)
    law = laws(ising)
    for t in range(len(BETAS) - apart):
        one = codes[:, t, 0::2]
        two = codes[:, t + apart, 1::2]
        joint = np.bincount((8 * one + two).ravel(), minlength=64)
        assert_law(joint, np.outer(law[t], law[t + apart]).ravel())


@pytest.mark.parametrize(("family", "kind"), FIELDS)
def test_energies_and_fields_follow_the_moves(family: str, kind: str) -> None:
    ising = random_ising(40, seed=6, density=0.05)
    ladder = new_ladder(ising, family, kind, chains=4)
    for _ in range(3):
        ladder.run(5, 2)
        assert np.isin(ladder.states(), [-1, 1]).all()
        own = ladder.slots.ravel()
        states = ladder.states()
        assert (ladder.own_energies[own] == ising.energies(states)[own]).all()
        assert ladder.best_energy == ising.energies(ladder.best)[0]
        before = ladder.own_energies.copy()
        ladder.set_states(states)
        ladder.run(0, 1)
        assert (ladder.own_energies == before).all()
    assert (np.sort(ladder.slots.ravel()) == np.arange(16)).all()


@pytest.mark.parametrize(("family", "kind"), FIELDS)
def test_quenched_states_are_local_minima(family: str, kind: str) -> None:
    ising = random_ising(30, seed=7, density=0.2)
    ladder = new_ladder(ising, family, kind, chains=2)
    found, energies = ladder.quenched(ladder.states(), Control())
    assert len(found) == ladder.size
    assert (energies == ising.energies(found)).all()
    assert (found * (ising.h + found @ ising.dense()) <= 0).all()


def test_exchanges_have_their_probability() -> None:
    """min(1, exp(Δβ·ΔE)) for pairs of one parity, the other pairs untouched."""
    betas, energies = np.array([0.1, 0.3, 0.6, 1.0, 1.5]), np.array([-3.0, -2.0, -6.0, -5.5, -6.5])
    state, repeats = np.array([3], np.uint64), 4000
    for first in (0, 1):
        accepted, swaps = np.zeros(4), np.zeros(4)
        for _ in range(repeats):
            slots = np.arange(5).reshape(5, 1)
            exchange(betas, energies, slots, first, accepted, state)
            swaps += slots[1:, 0] < slots[:-1, 0]
            assert sorted(slots[:, 0]) == list(range(5))
        expected = np.minimum(1, np.exp(np.diff(betas) * np.diff(energies)))
        expected[1 - first :: 2] = 0
        assert np.allclose(accepted / repeats, expected)
        error = np.sqrt(expected * (1 - expected) / repeats)
        assert (np.abs(swaps / repeats - expected) <= norm.isf(RARE) * error).all()


def moved(layout: Any, one: Any, two: Any, beta: float, symmetric: bool, seed: int) -> Any:
    """Both states after the move, and what it returns; lanes 5 and 63 of two words."""
    words = np.zeros((2, layout.num_spins), np.uint64)
    words[0] = np.where(one < 0, np.uint64(1 << 5), np.uint64(0))
    words[1] = np.where(two < 0, np.uint64(1 << 63), np.uint64(0))
    told = exchange_components(
        layout.indptr, layout.indices, layout.weights, layout.biases, symmetric, beta,
        words[0], 5, words[1], 63, np.empty((3, layout.num_spins), np.int32),
        np.array([seed], np.uint64),
    )  # fmt: skip
    after = [1 - 2 * (word > 0).astype(np.int8) for word in words]
    return after[0], after[1], told


@pytest.mark.parametrize("kind", SPARSE_KINDS)
@given(seed=seeds, num_spins=st.integers(1, 40), biased=st.booleans())
@settings(max_examples=20)
def test_cluster_moves_swap_components_and_keep_the_energy(
    kind: str, seed: int, num_spins: int, biased: bool
) -> None:
    """Nothing else changes, so the way back has the same components: the move is reversible."""
    ising = random_ising(num_spins, seed=seed, density=1.5 / num_spins, biased=biased)
    layout, J = forced_layout(ising, "sparse", kind), ising.dense()
    rng = np.random.default_rng(seed)
    one, two = rng.choice([-1, 1], (2, num_spins)).astype(np.int8)
    symmetric = not ising.h.any()
    differ = one != two
    if symmetric and 2 * differ.sum() > num_spins:
        differ = ~differ
    first, second, (risen, largest, total, _) = moved(layout, one, two, 0.0, symmetric, seed | 1)
    before, after = energies_of(ising.h, J, [one, two]), energies_of(ising.h, J, [first, second])
    assert after.sum() == before.sum()
    assert after[0] - before[0] == risen
    parts = components(J, differ)
    assert total == differ.sum() and largest == max(map(len, parts), default=0)
    for part in parts:
        assert len(set((one != first)[part])) == 1
    assert ((one != first) == (two != second)).all()
    assert not (one != first)[~differ].any()


@pytest.mark.parametrize("beta", [0.0, 0.2, -0.2])
def test_a_component_is_swapped_by_heat_bath(beta: float) -> None:
    """Isolated spins with a bias: each is swapped with probability 1/(1 + exp(beta·rise))."""
    n = 9000
    h = np.repeat([-2.0, 1.0, 3.0], n // 3)
    ising = Ising.from_arrays(h, sparse.csr_array((n, n)))
    layout = forced_layout(ising, "sparse", "int8")
    one = np.ones(n, np.int8)
    first, _, (risen, _, total, _) = moved(layout, one, -one, beta, False, 7)
    assert total == n and risen == -2 * h[first < 0].sum()
    for bias in (-2.0, 1.0, 3.0):
        p = 1 / (1 + np.exp(-2 * bias * beta))
        taken = (first[h == bias] < 0).sum()
        assert abs(taken - n / 3 * p) < norm.isf(RARE) * (n / 3 * p * (1 - p)) ** 0.5


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), seeds)
def test_respacing_keeps_the_ends_and_the_order(rejected: list[float], seed: int) -> None:
    steps = np.random.default_rng(seed).random(len(rejected)) + 0.01
    betas = np.concatenate([[0.1], 0.1 + np.cumsum(steps)])
    found = respaced(betas, np.array(rejected))
    assert found[0] == betas[0] and abs(found[-1] - betas[-1]) < 1e-12
    assert (np.diff(found) > 0).all()


def test_adapted_temperatures_exchange_evenly() -> None:
    ising = Ising.from_bqm(Lattice.generate(seed=1, shape=(6, 6, 6)).bqm())
    layout, rng = choose_layout(ising.h, ising.J), np.random.default_rng(1)
    schedule = resolve(ising, layout, Control(), rng, beta_range=(0.05, 2.0), num_sweeps=100)
    ladder = make_ladder(layout, schedule, rng, 1, 16, gibbs=False, shuffled=False)
    ladder.run(50, 10)
    before = np.ptp(ladder.acceptance())
    for _ in range(4):
        ladder.run(200, 10)
        ladder.respace()
    ladder.run(400, 10)
    assert np.ptp(ladder.acceptance()) < min(0.15, before / 3)
