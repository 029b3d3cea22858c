"""Coefficients are surveyed and converted as numpy would."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal.ising import integer_scale, rows_of_matrix
from anneal.kernels.coefficients import multiples, row_squares, scale_rows, survey
from anneal.layouts import DISTINCT, sizes_of, unit_of

FLOATS = st.floats(-1e9, 1e9, allow_subnormal=True)


@given(
    st.lists(FLOATS, max_size=40), st.lists(st.sampled_from([0.0, -0.0, 1.0, -2.5]), max_size=40)
)
def test_sizes_are_those_that_numpy_finds(one: list[float], other: list[float]) -> None:
    sizes, top, least = sizes_of(np.array(one, float), np.array(other, float))
    expected = np.unique(np.abs(np.array(one + other, float)))
    expected = expected[expected > 0]
    assert sizes is not None and np.array_equal(sizes, expected)
    assert top == expected.max(initial=0.0) and least == expected.min(initial=np.inf)


@pytest.mark.parametrize("count", [DISTINCT // 2 - 1, DISTINCT // 2, DISTINCT // 2 + 1, 20_000])
@pytest.mark.parametrize("unit", [0.25, np.pi])
def test_many_sizes_are_told_where_they_have_a_unit(count: int, unit: float) -> None:
    values = unit * np.random.default_rng(1).permutation(np.arange(1.0, count + 1))
    values[::2] *= -1
    if unit == np.pi:
        values += np.random.default_rng(2).random(count)
    sizes, top, least = sizes_of(np.zeros(3), values.reshape(1, -1))
    assert (top, least) == (np.abs(values).max(), np.abs(values).min())
    if count <= DISTINCT // 2 or unit == 0.25:
        assert sizes is not None and np.array_equal(sizes, np.sort(np.abs(values)))
    else:
        assert sizes is None


def test_a_full_table_goes_on_with_the_extremes() -> None:
    slots = np.zeros(8, np.uint64)
    count, top, least = survey(np.array([3.0, 1, 4, 1, 5, 9, 2, 6, 0.5]), slots, 0)
    assert (count, top, least) == (-1, 9.0, 0.5)
    assert survey(np.array([8.0]), slots, count)[0] == -1


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.float32, np.float64])
def test_rows_are_scaled_into_their_type(kind: Any) -> None:
    J = 0.25 * np.random.default_rng(1).integers(-100, 101, (7, 5)).astype(float)
    scaled = np.full((7, 16), 3, kind)
    scale_rows(J, 0.25, True, scaled)
    assert (scaled[:, :5] == np.rint(J / 0.25)).all() and (scaled[:, 5:] == 3).all()
    if np.issubdtype(kind, np.floating):
        scale_rows(J, 0.7, False, scaled)
        assert (scaled[:, :5] == (J / 0.7).astype(kind)).all()


def test_squares_of_rows() -> None:
    J = np.random.default_rng(1).normal(size=(20, 30)) * 1e200
    assert np.allclose(row_squares(J, 1e200), ((J / 1e200) ** 2).sum(axis=1), rtol=1e-12)


@given(
    st.lists(st.integers(-40, 40), min_size=1, max_size=5000),
    st.sampled_from([1.0, 0.25, 3.0, 0.1, np.pi]),
    st.sampled_from([0.0, 0.5, 1e-3]),
)
def test_the_unit_of_many_is_that_of_all(few: list[int], unit: float, odd: float) -> None:
    """Also where but one, that no sample may have, is no multiple of it."""
    values = unit * np.resize(np.array(few, float), 3001)
    values[1717] += odd
    found, top, _ = unit_of(values[:7], values)
    assert found == integer_scale(values) or integer_scale(values) is None is found
    assert top == np.abs(values).max()


def test_a_sample_of_zeros_is_no_sample() -> None:
    values = np.zeros(5000)
    values[3] = 6.0
    assert unit_of(values) == (6.0, 6.0, 6.0)
    assert unit_of(np.zeros(3)) == (1.0, 0.0, np.inf)


def test_multiples_are_told_from_others_to_the_last() -> None:
    values = np.arange(-5000.0, 5000.0)
    assert multiples(values, 1.0) == (True, 5000.0)
    values[-1] += 1e-3
    assert not multiples(values, 1.0)[0]


def test_what_is_known_of_rows_is_what_numpy_finds_and_of_this_matrix() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.integers(-3, 4, (2, 9, 9)).astype(float)
    for J in (first, second, first, first[::2, ::2]):
        rows, sizes = rows_of_matrix(J), np.abs(J)
        assert np.array_equal(rows.strongest, sizes.max(1))
        assert np.array_equal(rows.total, sizes.sum(1))
        assert np.array_equal(rows.squares, (J * J).sum(1))
        assert np.array_equal(rows.coupled, (J != 0).sum(1))
