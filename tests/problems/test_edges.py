"""Graph generators against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal.errors import InputError
from anneal.problems import edges


def degrees(size: int, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    return np.bincount(np.concatenate([i, j]), minlength=size)


def assert_simple(size: int, i: np.ndarray, j: np.ndarray) -> None:
    assert np.all(i != j)
    assert np.unique(np.minimum(i, j) * np.int64(size) + np.maximum(i, j)).size == i.size


@given(
    size=st.integers(1, 40),
    density=st.sampled_from([0.0, 1e-300, 1e-3, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 999),
)
def test_random_edges_are_pairs(size: int, density: float, seed: int) -> None:
    i, j = edges.random_edges(size, density, rng=np.random.default_rng(seed))
    assert_simple(size, i, j)
    assert np.all(i < j) and np.all(i >= 0) and np.all(j < size)
    if density == 1:
        assert i.size == size * (size - 1) // 2


def test_random_edges_have_their_density_everywhere() -> None:
    """Each of the 45 pairs, over 4000 graphs, within six deviations of its share."""
    rng, counts = np.random.default_rng(7), np.zeros((10, 10))
    for _ in range(4000):
        counts[edges.random_edges(10, 0.3, rng=rng)] += 1
    pairs = counts[np.triu_indices(10, 1)]
    assert np.abs(pairs - 1200).max() < 6 * math.sqrt(4000 * 0.3 * 0.7)


def test_pair_numbers_are_exact_where_square_roots_are_not() -> None:
    j = np.array([2, 3, 10**6, 10**7 - 1], dtype=np.int64)
    first = j * (j - 1) // 2
    for pairs, i in ((first, np.zeros(4)), (first + j - 1, j - 1)):
        found = edges._unrank(pairs)
        np.testing.assert_array_equal(found[0], i)
        np.testing.assert_array_equal(found[1], j)


@given(st.data())
def test_regular_edges_are_regular_and_simple(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 30))
    degree = data.draw(st.integers(0, size - 1).filter(lambda d: size * d % 2 == 0))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    i, j = edges.regular_edges(size, degree, rng=rng)
    assert_simple(size, i, j)
    assert np.all(degrees(size, i, j) == degree)


@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    periodic=st.booleans(),
)
def test_lattice_bonds_join_neighbours(shape: list[int], periodic: bool) -> None:
    i, j = edges.lattice_edges(shape, periodic=periodic)
    assert_simple(math.prod(shape), i, j)
    here, there = np.array(np.unravel_index(i, shape)), np.array(np.unravel_index(j, shape))
    apart = np.abs(here - there)
    if periodic:
        apart = np.minimum(apart, np.array(shape)[:, np.newaxis] - apart)
    assert np.all(apart.sum(axis=0) == 1)
    closed = [n if periodic and n > 2 else n - 1 for n in shape]
    expected = sum(math.prod(shape) // n * bonds for n, bonds in zip(shape, closed, strict=True))
    assert i.size == expected


@pytest.mark.parametrize(("size", "degree"), [(5, 3), (4, 4), (0, 0)])
def test_impossible_degrees_are_refused(size: int, degree: int) -> None:
    with pytest.raises(InputError):
        edges.regular_edges(size, degree, rng=np.random.default_rng(0))


def test_absurd_sizes_are_refused_before_memory_is() -> None:
    for make in (
        lambda: edges.complete_edges(10**6),
        lambda: edges.lattice_edges((10**6, 10**6), periodic=True),
        lambda: edges.random_edges(10**6, 0.5, rng=np.random.default_rng(0)),
    ):
        with pytest.raises(InputError, match="limit"):
            make()
