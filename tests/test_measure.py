from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from anneal import measure
from anneal.errors import InputError

finite = st.floats(-1e6, 1e6)


def test_gap_is_relative_and_signed() -> None:
    assert measure.gap([-98.0, -100.0, -101.0], -100.0).tolist() == [0.02, 0.0, -0.01]
    assert float(measure.gap(11.0, 10.0)) == pytest.approx(0.1)


def test_gap_to_zero_is_zero_or_infinite() -> None:
    assert measure.gap([0.0, 1.0, -1.0], 0.0).tolist() == [0.0, math.inf, -math.inf]


@given(finite, finite.filter(lambda x: abs(x) > 1e-3), st.floats(0.1, 100))
def test_gap_does_not_depend_on_the_unit(energy: float, best: float, unit: float) -> None:
    scaled = float(measure.gap(unit * energy, unit * best))
    assert scaled == pytest.approx(float(measure.gap(energy, best)), rel=1e-6, abs=1e-9)


def test_reached_forgives_rounding_and_no_more() -> None:
    sums = [sum([0.1] * 10), 1.0 + 1e-6]
    assert measure.reached(sums, 1.0).tolist() == [True, False]
    assert not measure.reached(-11623.0, -11624.0)


@pytest.mark.parametrize("reads", [1, 2, 7, 40])
def test_wilson_interval_solves_the_score_equation(reads: int) -> None:
    for successes in range(reads + 1):
        expected = stats.binomtest(successes, reads).proportion_ci(0.9, method="wilson")
        found = measure.success_probability(successes, reads, confidence=0.9)
        assert found.value == successes / reads
        assert found.low == pytest.approx(expected.low, abs=1e-12)
        assert found.high == pytest.approx(expected.high, abs=1e-12)


@pytest.mark.parametrize(("successes", "reads"), [(0, 0), (-1, 3), (4, 3)])
def test_no_proportion_is_an_input_error(successes: int, reads: int) -> None:
    with pytest.raises(InputError, match="not a proportion"):
        measure.success_probability(successes, reads)


def test_confidence_is_checked() -> None:
    with pytest.raises(InputError, match="confidence"):
        measure.success_probability(1, 2, confidence=95)


@given(st.floats(1e-6, 0.98), st.floats(1e-3, 1e3))
def test_time_to_solution_fails_once_in_a_hundred(p: float, seconds: float) -> None:
    reads = measure.time_to_solution(seconds, p) / seconds
    assert (1 - p) ** reads == pytest.approx(0.01, rel=1e-6)


def test_time_to_solution_at_its_edges() -> None:
    assert measure.time_to_solution(3.0, 0.0) == math.inf
    assert measure.time_to_solution(3.0, 1.0) == 3.0
    assert measure.time_to_solution(3.0, 0.995) == 3.0
    with pytest.raises(InputError):
        measure.time_to_solution(3.0, 1.5)


def test_tts99_orders_its_interval() -> None:
    found = measure.tts99(1.0, 3, 10)
    assert found.low < found.value < found.high < math.inf
    assert measure.tts99(1.0, 0, 10).low < math.inf
    assert measure.tts99(1.0, 10, 10).value == 1.0


def test_time_to_target_is_the_first_hit() -> None:
    trace = [(0.1, 5.0), (0.2, -7.0), (0.9, -8.0)]
    assert measure.time_to_target(trace, -7.0) == 0.2
    assert measure.time_to_target(trace, -9.0) == math.inf
    assert measure.time_to_target([], 0.0) == math.inf


def test_median_interval_covers_the_median_of_the_population() -> None:
    rng = np.random.default_rng(5)
    intervals = [measure.median(rng.normal(size=25), resamples=400) for _ in range(200)]
    covered = sum(found.low <= 0 <= found.high for found in intervals)
    # 95 % nominal; a percentile bootstrap of 25 values is a little off, 80 % would be broken.
    assert 170 <= covered <= 200


def test_median_of_infinities() -> None:
    assert measure.median([1.0, math.inf, math.inf]).value == math.inf
    found = measure.median([1.0, 2.0, 3.0, 4.0, math.inf])
    assert found.value == 3.0 and 1.0 <= found.low <= 3.0 <= found.high


def test_median_repeats_with_its_seed() -> None:
    values = np.arange(12.0) ** 2
    assert measure.median(values, seed=3) == measure.median(values, seed=3)


@pytest.mark.parametrize("values", [[], [1.0, math.nan]])
def test_median_needs_values(values: list[float]) -> None:
    with pytest.raises(InputError, match="median"):
        measure.median(values)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 1))
def test_profile_counts(gaps: list[float], level: float) -> None:
    share = measure.profile(gaps, [level])[0]
    assert share == sum(g <= level for g in gaps) / len(gaps)
    assert measure.profile(gaps, [max(gaps)])[0] == 1


def test_profile_needs_gaps() -> None:
    with pytest.raises(InputError, match="profile"):
        measure.profile([], [0.0])


def test_median_difference_is_zero_within_its_interval_for_equal_samples() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, 40))
    found = measure.median_difference(first, second)
    assert found.value == np.median(first) - np.median(second)
    assert found.low < 0 < found.high and found.low < found.value < found.high
    shifted = measure.median_difference(first + 10, second)
    assert shifted == pytest.approx([number + 10 for number in found])
    with pytest.raises(InputError, match="at least one value"):
        measure.median_difference([], [1.0])
