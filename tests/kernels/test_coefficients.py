"""Coefficients are surveyed and converted as numpy would."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal.kernels.coefficients import row_squares, scale_rows, survey
from anneal.layouts import DISTINCT, sizes_of

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
