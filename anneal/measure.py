"""Measures of a solver's quality: pure functions on numbers and arrays, no clock and no file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anneal.errors import InputError

Floats = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """A number with its confidence interval."""

    value: float
    low: float
    high: float


def reached(energy: npt.ArrayLike, target: float) -> npt.NDArray[np.bool_]:
    """Return where ``energy`` is at most ``target``, forgiving 10⁻⁹ of rounding in a float sum.

    >>> bool(reached(0.1 + 0.2, 0.3))
    True
    """
    return np.asarray(energy, float) <= target + 1e-9 * max(1.0, abs(target))


def gap(energy: npt.ArrayLike, best_known: float) -> Floats:
    """Return the relative distance to the best known energy, ``(E − E*) / |E*|``.

    Shaped like ``energy``; negative where ``energy`` beats the best known. Where E* = 0 nothing
    relative can be said: the gap is 0 at E = 0 and an infinity of the right sign elsewhere.

    >>> gap([-9.0, -10.0], -10.0).tolist()
    [0.1, 0.0]
    """
    distance = np.asarray(energy, float) - best_known
    if best_known == 0:
        return np.where(distance == 0, 0.0, np.copysign(np.inf, distance))
    return np.asarray(distance / abs(best_known))


def success_probability(successes: int, reads: int, *, confidence: float = 0.95) -> Estimate:
    """Return ``successes / reads`` with Wilson's score interval.

    Wilson (1927), J. Am. Stat. Assoc. 22; recommended for few reads by Brown, Cai, DasGupta
    (2001), Stat. Sci. 16. Raises :class:`~anneal.errors.InputError` unless
    0 ≤ successes ≤ reads and reads ≥ 1.

    >>> success_probability(9, 10).value
    0.9
    """
    if not (reads >= 1 and 0 <= successes <= reads):
        raise InputError(f"{successes} successes of {reads} reads is not a proportion")
    z = _normal_quantile(confidence)
    p, shrink = successes / reads, 1 + z * z / reads
    middle = (p + z * z / (2 * reads)) / shrink
    half = z / shrink * math.sqrt(p * (1 - p) / reads + (z / (2 * reads)) ** 2)
    low = 0.0 if successes == 0 else middle - half
    high = 1.0 if successes == reads else middle + half
    return Estimate(p, low, high)


def time_to_solution(seconds: float, probability: float) -> float:
    """Return the time to succeed once with 99 %, ``t · ln 0.01 / ln(1 − p)``.

    Rønnow et al. (2014), Science 345, 420. Infinite at p = 0; one read, ``seconds``, from p = 0.99.

    >>> round(time_to_solution(1.0, 0.5), 3)
    6.644
    """
    if not (0 <= probability <= 1 and seconds >= 0):
        raise InputError(f"a read of {seconds} s that succeeds with probability {probability}")
    if probability == 0:
        return math.inf
    if probability >= 0.99:
        return seconds
    return seconds * math.log(0.01) / math.log1p(-probability)


def tts99(seconds: float, successes: int, reads: int, *, confidence: float = 0.95) -> Estimate:
    """Return the time to solution of reads of ``seconds`` each, with the interval of their success.

    >>> tts99(2.0, 0, 10).value
    inf
    """
    p = success_probability(successes, reads, confidence=confidence)
    return Estimate(*(time_to_solution(seconds, q) for q in (p.value, p.high, p.low)))


def time_to_target(trace: Sequence[Sequence[float]], target: float) -> float:
    """Return the first second of a trace of ``(seconds, energy)`` at which ``target`` is reached.

    Infinite where it never is.

    >>> time_to_target([(0.1, -5.0), (0.4, -8.0)], -7.0)
    0.4
    """
    return min((s for s, energy in trace if reached(energy, target)), default=math.inf)


def running_best(
    seconds: Sequence[float] | Floats, energies: Sequence[float] | Floats
) -> list[tuple[float, float]]:
    """Return the improvements among energies found one after another, as a trace.

    >>> running_best([0.1, 0.2, 0.3], [-5.0, -4.0, -8.0])
    [(0.1, -5.0), (0.3, -8.0)]
    """
    trace: list[tuple[float, float]] = []
    for second, energy in zip(seconds, energies, strict=True):
        if not trace or energy < trace[-1][1]:
            trace.append((float(second), float(energy)))
    return trace


def median(
    values: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int | np.random.Generator | None = 0,
) -> Estimate:
    """Return the median of ``values`` with its percentile bootstrap interval.

    Efron and Tibshirani (1993), §13.3. Values may be infinite (a target never reached), not NaN.
    Raises :class:`~anneal.errors.InputError` where there is no value.

    >>> median([3.0, 1.0, 2.0]).value
    2.0
    """
    rng = np.random.default_rng(seed)
    data = _numbers(values)
    return _percentiles(np.median(data), _medians(data, resamples, rng), confidence)


def median_difference(
    values: npt.ArrayLike,
    others: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int | np.random.Generator | None = 0,
) -> Estimate:
    """Return the median of ``values`` less that of ``others`` with its percentile bootstrap
    interval.

    The two are resampled independently (Efron and Tibshirani 1993, §8.3). Values are finite. Raises
    :class:`~anneal.errors.InputError` where there is no value.

    >>> median_difference([3.0, 1.0, 2.0], [1.0]).value
    1.0
    """
    rng = np.random.default_rng(seed)
    ours, theirs = _numbers(values), _numbers(others)
    differences = _medians(ours, resamples, rng) - _medians(theirs, resamples, rng)
    return _percentiles(np.median(ours) - np.median(theirs), differences, confidence)


def _numbers(values: npt.ArrayLike) -> Floats:
    data = np.asarray(values, float).ravel()
    if data.size == 0 or np.isnan(data).any():
        raise InputError("a median needs at least one value, and no NaN")
    return data


def _medians(data: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    return np.asarray(np.median(rng.choice(data, (resamples, data.size)), axis=1), float)


def _percentiles(value: float | np.floating[Any], found: Floats, confidence: float) -> Estimate:
    tail = (1 - confidence) / 2
    # Quantiles that are members: interpolating between two infinities would give NaN.
    low, high = np.quantile(found, [tail, 1 - tail], method="inverted_cdf")
    return Estimate(float(value), float(low), float(high))


def profile(gaps: npt.ArrayLike, levels: npt.ArrayLike) -> Floats:
    """Return for every level the share of runs whose gap is at most that level.

    A data profile of Moré and Wild (2009), SIAM J. Optim. 20, with quality in the place of time.

    >>> profile([0.0, 0.01, 0.2], [0.0, 0.1]).round(2).tolist()
    [0.33, 0.67]
    """
    sorted_gaps = np.sort(np.asarray(gaps, float).ravel())
    if sorted_gaps.size == 0:
        raise InputError("a profile needs at least one gap")
    below = np.searchsorted(sorted_gaps, np.asarray(levels, float), side="right")
    return np.asarray(below / sorted_gaps.size, float)


def _normal_quantile(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise InputError(f"a confidence is between 0 and 1, not {confidence}")
    return NormalDist().inv_cdf((1 + confidence) / 2)
