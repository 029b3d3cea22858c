"""Partition crossover against brute force over subsets of components."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.ising import Ising
from anneal.kernels.crossover import absorb
from anneal.layouts import SparseLayout
from tests.kernels.reference import (
    SPARSE_KINDS,
    components,
    energies_of,
    forced_layout,
    random_ising,
)


def absorbed(layout: Any, elite: Any, states: Any, *, symmetric: bool, seed: int = 1) -> Any:
    """(new elite, what the energy falls by)."""
    found = elite.copy()
    falls = absorb(
        layout.indptr, layout.indices, layout.weights, layout.biases, symmetric, found, states,
        np.array([seed], np.uint64),
    )  # fmt: skip
    return found, falls


def best_offspring(ising: Ising, elite: Any, other: Any) -> float:
    """Least energy over all subsets of the components in which two states differ."""
    J = ising.dense()
    parts = components(J, elite != other)
    least = np.inf
    for taken in itertools.product([False, True], repeat=len(parts)):
        child = elite.copy()
        for part in itertools.compress(parts, taken):
            child[part] *= -1
        least = min(least, float(energies_of(ising.h, J, [child])[0]))
    return least


seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("kind", SPARSE_KINDS)
@given(seed=seeds, num_spins=st.integers(1, 40), biased=st.booleans())
@settings(max_examples=25)
def test_the_child_is_the_best_of_all_subsets(
    kind: str, seed: int, num_spins: int, biased: bool
) -> None:
    ising = random_ising(num_spins, seed=seed, density=1.5 / num_spins, biased=biased)
    layout = forced_layout(ising, "sparse", kind)
    rng = np.random.default_rng(seed)
    elite = rng.choice([-1, 1], num_spins).astype(np.int8)
    other = np.where(rng.random(num_spins) < 0.3, -elite, elite).astype(np.int8)
    child, falls = absorbed(layout, elite, other[np.newaxis], symmetric=False, seed=seed | 1)
    before, after = energies_of(ising.h, ising.dense(), [elite, child])
    assert before - after == falls >= 0
    assert after == best_offspring(ising, elite, other)
    assert (child[elite == other] == elite[elite == other]).all()


@given(seed=seeds, num_spins=st.integers(2, 40))
@settings(max_examples=25)
def test_a_mirrored_state_is_the_same_partner(seed: int, num_spins: int) -> None:
    ising = random_ising(num_spins, seed=seed, density=1.5 / num_spins, biased=False)
    layout = forced_layout(ising, "sparse", "int8")
    rng = np.random.default_rng(seed)
    elite = rng.choice([-1, 1], num_spins).astype(np.int8)
    near = elite.copy()
    near[rng.permutation(num_spins)[: num_spins // 3]] *= -1
    straight = absorbed(layout, elite, near[np.newaxis], symmetric=True)
    mirrored = absorbed(layout, elite, -near[np.newaxis], symmetric=True)
    assert straight[1] == mirrored[1]
    assert (straight[0] == mirrored[0]).all()


@given(seed=seeds, biased=st.booleans())
@settings(max_examples=20)
def test_many_partners_never_raise_the_energy(seed: int, biased: bool) -> None:
    ising = random_ising(50, seed=seed, density=0.05, biased=biased)
    layout = forced_layout(ising, "sparse", "int8")
    states = np.random.default_rng(seed).choice([-1, 1], (20, 50)).astype(np.int8)
    child, falls = absorbed(layout, states[0], states, symmetric=not biased)
    before, after = energies_of(ising.h, ising.dense(), [states[0], child])
    assert before - after == falls
    assert after <= ising.energies(states).min()


def test_float_couplings_fall_by_what_is_said() -> None:
    rng = np.random.default_rng(1)
    J = np.triu(rng.normal(size=(60, 60)) * (rng.random((60, 60)) < 0.03), 1)
    ising = Ising.from_arrays(rng.normal(size=60), J + J.T)
    layout = forced_layout(ising, "sparse", "float64")
    states = rng.choice([-1, 1], (10, 60)).astype(np.int8)
    child, falls = absorbed(layout, states[0], states, symmetric=False)
    before, after = energies_of(ising.h, ising.dense(), [states[0], child])
    assert falls > 0
    assert abs(before - after - falls) < 1e-12


def test_a_component_of_no_effect_is_taken_half_the_time() -> None:
    """Isolated spins without bias: each flip is a coin."""
    ising = Ising.from_arrays(np.zeros(4000), np.zeros((4000, 4000)))
    layout = SparseLayout(
        ising.h, ising.J, forced_layout(random_ising(2, seed=1), "sparse", "int8").numbers
    )
    elite = np.ones(4000, np.int8)
    child, falls = absorbed(layout, elite, -elite[np.newaxis], symmetric=False)
    assert falls == 0
    assert abs((child == -1).sum() - 2000) < 6.2 * 4000**0.5 / 2
