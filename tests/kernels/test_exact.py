"""Gray codes reach every state once, and the minimum they tell is the minimum."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.ising import Ising
from anneal.solvers.exact import Enumeration, ExactSampler
from tests.kernels.reference import all_states, codes_of, energies_of, random_ising


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("num_spins", range(1, 17))
def test_the_minimum_is_that_of_all_states(num_spins: int, biased: bool) -> None:
    for seed in range(3):
        ising = random_ising(num_spins, seed=seed, largest=5, biased=biased)
        energies = energies_of(ising.h, ising.dense(), all_states(num_spins))
        found = ExactSampler().sample(ising.to_bqm(), num_threads=1)
        assert found.info["proven"]
        assert found.first.energy == energies.min()


@pytest.mark.parametrize("num_spins", [1, 3, 6, 7, 8, 11])
def test_each_state_can_be_the_minimum(num_spins: int) -> None:
    """Biases that single out one state, for every state."""
    for target in all_states(num_spins)[:: max(1, 2**num_spins // 64)]:
        h = -target.astype(float)
        enumeration = Enumeration(Ising.from_arrays(h, np.zeros((num_spins, num_spins))))
        (block,) = enumeration.blocks()
        states = enumeration.minima(block)
        assert (states == target).all(axis=1).any()


@given(seed=st.integers(0, 2**32 - 1), num_spins=st.integers(7, 13), parts=st.integers(1, 7))
@settings(max_examples=30)
def test_parts_of_the_enumeration_add_up(seed: int, num_spins: int, parts: int) -> None:
    """Each lane's minimum of a range of Gray codes is that of exactly those states."""
    ising = random_ising(num_spins, seed=seed)
    energies = energies_of(ising.h, ising.dense(), all_states(num_spins))
    enumeration = Enumeration(ising)
    total = 1 << enumeration.low
    edges = np.linspace(0, total, min(parts, total) + 1).astype(int)
    for first, last in itertools.pairwise(edges):
        codes = np.arange(first, last) ^ (np.arange(first, last) >> 1)
        for state in enumeration.minima((int(first), int(last - first))):
            high = codes_of(state[np.newaxis, enumeration.low :])[0] << enumeration.low
            assert codes_of(state[np.newaxis, : enumeration.low])[0] in codes
            assert energies[codes_of(state[np.newaxis])[0]] == energies[codes + high].min()


def test_float_energies_do_not_drift_over_a_block() -> None:
    rng = np.random.default_rng(1)
    J = np.triu(rng.normal(size=(20, 20)), 1)
    ising = Ising.from_arrays(rng.normal(size=20), J + J.T)
    found = ExactSampler().sample(ising.to_bqm(), num_threads=2)
    assert abs(found.first.energy - ising.energies(all_states(20)).min()) < 1e-10
