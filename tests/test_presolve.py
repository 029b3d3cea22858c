"""Presolve is exact: a reduced state has the energy of its best completion, found exhaustively."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from anneal.control import Control
from anneal.ising import Ising
from anneal.layouts import Numbers
from anneal.presolve import Reduction, reduce, reduce_for_lanes
from tests.kernels.reference import all_states, codes_of


def graph(num_spins: int, edges: Any, *, h: Any = None, weights: Any = None) -> Ising:
    J = np.zeros((num_spins, num_spins))
    for k, (i, j) in enumerate(edges):
        J[i, j] = J[j, i] = 1.0 if weights is None else weights[k]
    return Ising.from_arrays(np.zeros(num_spins) if h is None else h, sparse.csr_array(J), 0.5)


def check(ising: Ising, tolerance: float = 0.0, reduction: Reduction | None = None) -> int:
    """Hold a reduction to its laws; return how many spins are left."""
    reduction = reduction or reduce(ising)
    small, kept = reduction.ising, reduction.kept
    assert sum(reduction.counts.values()) + len(kept) == ising.num_spins
    states = all_states(ising.num_spins)
    energies = ising.energies(states)
    least = np.full(2 ** len(kept), np.inf)
    np.minimum.at(least, codes_of(states[:, kept]), energies)
    reduced = all_states(len(kept))
    found = small.energies(reduced)
    assert abs(found.min() - energies.min()) <= tolerance
    assert (found >= least - tolerance).all()
    if not reduction.counts["fixed"] + reduction.counts["merged"]:
        assert np.abs(found - least).max() <= tolerance
    whole = reduction.expand(reduced)
    assert (reduction.restrict(whole) == reduced).all()
    assert np.abs(ising.energies(whole) - found).max() <= tolerance
    ground = states[energies <= energies.min() + tolerance]
    again = ising.energies(reduction.expand(reduction.restrict(ground)))
    assert again.max() <= energies.min() + 2 * tolerance
    matrix = small.dense()
    assert (matrix == matrix.T).all()
    assert not matrix.diagonal().any()
    return len(kept)


def settled(ising: Ising) -> None:
    """No rule applies any more."""
    sizes = np.abs(ising.dense())
    assert (np.count_nonzero(sizes, axis=1) > 2).all()
    total = np.abs(ising.h) + sizes.sum(axis=1)
    strongest = np.maximum(np.abs(ising.h), sizes.max(axis=1, initial=0))
    assert (2 * strongest < total).all()


@st.composite
def sparse_isings(draw: Any, biased: bool = True, powers: bool = False) -> Ising:
    n = draw(st.integers(1, 10))
    pairs = [(i, j) for i in range(n) for j in range(i)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=2 * n)) if pairs else []
    numbers = st.integers(-3, 3).map(lambda k: float(2**k if powers else k))
    weights = draw(st.lists(numbers, min_size=len(edges), max_size=len(edges)))
    h = draw(st.lists(numbers, min_size=n, max_size=n)) if biased else None
    return graph(n, edges, h=h, weights=weights)


@given(ising=sparse_isings())
@settings(max_examples=150)
def test_random_graphs_with_biases(ising: Ising) -> None:
    check(ising)
    settled(reduce(ising).ising)


@given(ising=sparse_isings(powers=True))
@settings(max_examples=150)
def test_random_graphs_with_couplings_of_many_sizes(ising: Ising) -> None:
    check(ising)
    settled(reduce(ising).ising)


@given(ising=sparse_isings(), small=st.booleans())
@settings(max_examples=100)
def test_small_integers_keep_their_lanes(ising: Ising, small: bool) -> None:
    top = 1.0 if small else 100.0
    scaled = Ising(top * ising.h, top * ising.J, ising.offset)
    reduction = reduce_for_lanes(scaled)
    check(scaled, 0.0, reduction)
    left = reduction.ising
    if left.num_spins and left.J.nnz:
        before, after = (Numbers.of(one.h[np.newaxis], one.J) for one in (scaled, left))
        assert after.lane_type().itemsize <= before.lane_type().itemsize


@given(ising=sparse_isings(), unit=st.sampled_from([1.0, 0.5, 2.0]))
@settings(max_examples=100)
def test_a_unit_is_kept(ising: Ising, unit: float) -> None:
    scaled = Ising(unit * ising.h, unit * ising.J, ising.offset)
    reduction = reduce(scaled, unit=unit)
    check(scaled, 0.0, reduction)
    for values in (reduction.ising.h, reduction.ising.csr().data):
        assert not np.any(values % unit)


@given(ising=sparse_isings(biased=False))
@settings(max_examples=100)
def test_random_graphs_without_biases(ising: Ising) -> None:
    check(ising)


@given(ising=sparse_isings(), seed=st.integers(0, 999), unit=st.sampled_from([1.0, 1e30, 1e-30]))
@settings(max_examples=60)
def test_random_graphs_with_float_couplings(ising: Ising, seed: int, unit: float) -> None:
    rng = np.random.default_rng(seed)
    J = np.triu(ising.dense() * rng.normal(size=ising.J.shape), 1) * unit
    floats = Ising(ising.h * rng.normal(size=ising.num_spins) * unit, sparse.csr_array(J + J.T))
    check(floats, 1e-13 * unit * (1 + np.abs(floats.h).sum() / unit + np.abs(J).sum() / unit))


@pytest.mark.parametrize("biased", [False, True])
def test_trees_cycles_and_ladders_vanish(biased: bool) -> None:
    rng = np.random.default_rng(1)
    shapes = {
        "isolated": [],
        "path": [(i, i + 1) for i in range(9)],
        "cycle": [(i, (i + 1) % 10) for i in range(10)],
        "star": [(0, i) for i in range(1, 10)],
        "triangles at one spin": [
            e for i in range(1, 9, 2) for e in [(0, i), (0, i + 1), (i, i + 1)]
        ],
        "two hubs": [(hub, i) for hub in (0, 1) for i in range(2, 10)],
        "ladder": [e for i in range(0, 8, 2) for e in [(i, i + 1), (i, i + 2), (i + 1, i + 3)]],
        "two cycles": [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 5), (5, 3)],
    }
    for edges in shapes.values():
        for _ in range(5):
            weights = rng.integers(-3, 4, len(edges)) + 0.5
            h = rng.integers(-3, 4, 10) * biased
            assert check(graph(10, edges, h=h, weights=weights)) == 0


def test_what_has_three_neighbours_each_stays() -> None:
    edges = [(i, j) for i in range(4) for j in range(i)]
    assert check(graph(4, edges)) == 4


@pytest.mark.parametrize("extra", [1.0, -1.0])
def test_an_edge_that_cancels_is_gone(extra: float) -> None:
    """Spin 4 adds −1 to the edge 0–1 of a complete graph: nothing is left of it, and all unravels,
    or it is as strong as all others.
    """
    edges = [(i, j) for i in range(4) for j in range(i)]
    weights = [extra if edge == (1, 0) else 1.0 for edge in edges]
    left = check(graph(5, [*edges, (4, 0), (4, 1)], weights=[*weights, 1.0, 1.0]))
    assert left == 0


def test_nothing_of_nothing() -> None:
    reduction = reduce(Ising.from_arrays([], np.zeros((0, 0)), 1.5))
    assert reduction.ising.num_spins == 0
    assert reduction.ising.offset == 1.5
    assert reduction.expand(np.empty((2, 0), np.int8)).shape == (2, 0)


def test_a_dense_matrix_is_reduced_as_well() -> None:
    check(Ising.from_arrays([1.0, -1.0, 0.5], np.array([[0, 1, 2], [1, 0, -1], [2, -1, 0.0]])))


def test_a_stop_gives_what_was_found() -> None:
    control = Control()
    control.interrupt()
    rng = np.random.default_rng(2)
    ising = graph(
        9, [(i, j) for i in range(9) for j in range(i)], weights=2.0 ** rng.permutation(36)
    )
    assert reduce(ising, control=control).counts["merged"] == 0
    assert reduce(ising).counts["merged"] > 0


def test_strong_couplings_merge_along_a_chain() -> None:
    """Each spin has one coupling that outweighs its others, to the next but for the last."""
    n = 8
    J = np.triu(np.ones((n, n)), 1)
    for i in range(n - 1):
        J[i, i + 1] = 100.0 * 4**i
    ising = Ising.from_arrays(np.ones(n), sparse.csr_array(J + J.T))
    assert check(ising) == 0
    assert reduce(ising).counts["merged"] > 0


def test_hubs_of_many_leaves_and_long_paths_take_no_time() -> None:
    """Quadratic work would need hours here."""
    n = 400_000
    hub = np.zeros(n - 1, np.int64)
    rest = np.arange(1, n)
    star = Ising.from_pairs(np.zeros(n), hub, rest, np.ones(n - 1), 0.0)
    assert reduce(star).ising.offset == 1 - n
    path = Ising.from_pairs(np.zeros(n), rest - 1, rest, np.ones(n - 1), 0.0)
    assert reduce(path).ising.offset == 1 - n
