"""The annealing kernels sample the Boltzmann law: a right one misses a χ² bound once in 10⁹."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2, norm

from anneal.constrained import SquaresLayout
from anneal.ising import Ising, multiplied_out
from anneal.kernels.random import NUM_QUANTILES, exponential_quantiles, logistic_quantiles
from anneal.layouts import SparseLayout, choose_layout
from anneal.squares import Squares
from tests.kernels.reference import (
    FORCED,
    LAWS,
    LAYOUTS,
    all_states,
    codes_of,
    energies_of,
    forced_layout,
    metropolis,
    random_ising,
)

RARE = 1e-9
BATCHES = 500  # of one row of lanes each; every batch has new quantiles


def probabilities(ising: Ising, temperature: float) -> Any:
    states = all_states(ising.num_spins)
    weights = -energies_of(ising.h, ising.dense(), states) / temperature
    weights = np.exp(weights - weights.max())
    return weights / weights.sum()


def counts(replicas: Any, num_spins: int, temperature: float, batches: int, sweeps: int = 8) -> Any:
    replicas.anneal(np.full(20, temperature), 2)
    found = np.zeros(2**num_spins, np.int64)
    for _ in range(batches):
        replicas.anneal(np.array([temperature]), sweeps)
        found += np.bincount(codes_of(replicas.states()), minlength=len(found))
    return found


def assert_law(observed: Any, law: Any) -> None:
    """Likelihood ratio of the best fit to the law; states expected too rarely are pooled."""
    total = observed.sum()
    common = law * total >= 5
    observed = np.append(observed[common], observed[~common].sum())
    expected = np.append(law[common], law[~common].sum()) * total
    seen = observed > 0
    ratio = 2 * float((observed[seen] * np.log(observed[seen] / expected[seen])).sum())
    assert ratio < chi2.isf(RARE, len(observed) - 1), (observed, expected)


@pytest.mark.parametrize(("family", "kind", "gibbs"), LAWS)
def test_kernels_sample_the_boltzmann_law(family: str, kind: str, gibbs: bool) -> None:
    ising = random_ising(5, seed=5)
    layout = forced_layout(ising, family, kind)
    replicas = layout.replicas(np.random.default_rng(1), gibbs=gibbs)
    batches = BATCHES * (2 if layout.lanes < 16 else 1)
    assert_law(counts(replicas, 5, 2.5, batches), probabilities(ising, 2.5))


@pytest.mark.parametrize("gibbs", [False, True], ids=["metropolis", "gibbs"])
@pytest.mark.parametrize("constraint", ["grid", "any"])
def test_flips_and_exchanges_sample_the_boltzmann_law(constraint: str, gibbs: bool) -> None:
    """Rows and columns that are crossed, of any penalties and amounts; and squares of any kind."""
    ising = random_ising(6, seed=5)
    if constraint == "grid":
        rows = np.vstack([np.kron(np.eye(2), np.ones((1, 3))), np.kron(np.ones((1, 2)), np.eye(3))])
        rows[0] *= 1.5
        squares = Squares(rows, [1.5, 1, 1, 1, 0], [1.0, 0.5, 2.0, 0.25, 1.0])
    else:
        squares = Squares([[1, 2, -1, 0, 0, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1]], 1.0, 0.5)
    layout = SquaresLayout(ising.h, ising.J, squares)
    assert bool(layout.keys.size) == (constraint == "grid")
    replicas = layout.replicas(np.random.default_rng(1), gibbs=gibbs)
    found = counts(replicas, 6, 2.5, 20 * BATCHES, sweeps=6)
    whole = multiplied_out(Ising(ising.h, ising.J, 0.0, squares))
    assert_law(found, probabilities(whole, 2.5))


@pytest.mark.parametrize("gibbs", [False, True], ids=["metropolis", "gibbs"])
def test_random_visits_sample_the_boltzmann_law(gibbs: bool) -> None:
    ising = random_ising(4, seed=8)
    layout = forced_layout(ising, "sparse", "int8")
    replicas = layout.replicas(np.random.default_rng(1), gibbs=gibbs, shuffled=True)
    assert_law(counts(replicas, 4, 3.0, BATCHES, sweeps=12), probabilities(ising, 3.0))


def test_random_visits_reach_every_spin_in_one_call() -> None:
    ising = Ising.from_arrays(np.ones(100), np.zeros((100, 100)))
    layout = forced_layout(ising, "sparse", "int8")
    start = np.ones((layout.lanes, 100), np.int8)
    replicas = layout.replicas(np.random.default_rng(1), spins=start, shuffled=True)
    replicas.anneal(np.full(40, 0.1))
    assert (replicas.states() == -1).all()


@pytest.mark.parametrize("unit", [2.0**-30, 0.1, 1e9])
def test_temperatures_are_in_the_unit_of_the_problem(unit: float) -> None:
    ising = random_ising(4, seed=2)
    scaled = Ising(ising.h * unit, ising.J * unit)
    replicas = choose_layout(scaled.h, scaled.J).replicas(np.random.default_rng(1))
    observed = counts(replicas, 4, 3.0 * unit, BATCHES)
    assert_law(observed, probabilities(ising, 3.0))


@pytest.mark.parametrize("size", [2**20, 2**26])
def test_integers_of_many_digits_can_be_hot(size: int) -> None:
    h = np.array([size + 1.0, -size, 3.0])
    ising = Ising.from_arrays(h, np.array([[0, size, 0], [size, 0, 1], [0, 1, 0.0]]))
    layout = choose_layout(ising.h, ising.J)
    assert layout.kind == np.dtype(np.int32)
    observed = counts(layout.replicas(np.random.default_rng(1)), 3, 2.0 * size, BATCHES)
    assert_law(observed, probabilities(ising, 2.0 * size))


@pytest.mark.parametrize(("family", "kind"), LAYOUTS)
def test_an_infinite_temperature_accepts_every_flip(family: str, kind: str) -> None:
    ising = random_ising(7, seed=3)
    replicas = forced_layout(ising, family, kind).replicas(np.random.default_rng(1))
    before = replicas.states()
    flips = replicas.anneal(np.array([np.inf]), 1)
    assert flips == before.size
    assert (replicas.states() == -before).all()


@pytest.mark.parametrize(("family", "kind"), LAYOUTS)
@pytest.mark.parametrize("temperature", [2.0, 4.0])
def test_mean_energy_agrees_with_a_plain_loop(family: str, kind: str, temperature: float) -> None:
    ising = random_ising(72, seed=4, density=0.06)
    plain = metropolis(ising, temperature, replicas=64, sweeps=60, seed=1)[20:].mean(axis=0)
    layout = forced_layout(ising, family, kind)
    means = []
    for seed in range(-(-64 // layout.lanes)):
        replicas = layout.replicas(np.random.default_rng(seed))
        replicas.anneal(np.full(20, temperature))
        energies = []
        for _ in range(40):
            replicas.anneal(np.array([temperature]))
            energies.append(replicas.energies())
        means.extend(np.mean(energies, axis=0))
    error = np.hypot(
        plain.std(ddof=1) / len(plain) ** 0.5, np.std(means, ddof=1) / len(means) ** 0.5
    )
    assert abs(plain.mean() - np.mean(means)) < norm.isf(RARE / 2) * error


@pytest.mark.parametrize(("family", "kind"), LAYOUTS)
def test_lanes_are_independent(family: str, kind: str) -> None:
    """Correlations of the lanes' energies scatter around zero as those of independent ones do."""
    ising = random_ising(32, seed=5, density=0.15)
    replicas = forced_layout(ising, family, kind).replicas(np.random.default_rng(1))
    replicas.anneal(np.full(50, 4.0))
    series = []
    for _ in range(400):
        replicas.anneal(np.array([4.0]), 6)
        series.append(replicas.energies())
    lanes = len(series[0])
    pairs = np.corrcoef(np.array(series).T)[np.triu_indices(lanes, 1)] * len(series) ** 0.5
    assert abs(pairs.mean()) < norm.isf(RARE / 2) / len(pairs) ** 0.5
    assert (
        np.abs(pairs).max() < norm.isf(RARE / 2 / len(pairs)) * 1.2
    )  # the tail of r is not normal
    assert (pairs**2).sum() < chi2.isf(RARE, len(pairs)) * 1.1


@pytest.mark.parametrize(
    ("quantiles", "law"),
    [
        (exponential_quantiles, lambda q: -np.expm1(-q)),
        (logistic_quantiles, lambda q: 1 / (1 + np.exp(q))),
    ],
)
def test_quantiles_are_one_of_each_and_repeat_a_row(quantiles: Any, law: Any) -> None:
    """Sorted by rank, one number lies in each of the equally likely intervals."""
    found = quantiles(np.random.default_rng(3))
    assert (found[NUM_QUANTILES:] == found[:64]).all()
    ranks = np.sort(law(found[:NUM_QUANTILES].astype(np.float64))) * NUM_QUANTILES
    assert np.abs(ranks - np.arange(NUM_QUANTILES) - 0.5).max() < 0.51
    other = quantiles(np.random.default_rng(4))
    assert abs(np.corrcoef(found, other)[0, 1]) < 7 / NUM_QUANTILES**0.5


def test_a_spin_on_its_own_obeys_its_field() -> None:
    """P(s = 1) of one spin per lane with a bias of its own: many problems in one row of lanes."""
    layout = SparseLayout(np.zeros(1), np.zeros((1, 1)), FORCED["int8"])
    biases = np.arange(-16, 16).repeat(2)[np.newaxis].astype(layout.kind)
    replicas = layout.replicas(np.random.default_rng(1), biases=biases)
    ups = np.zeros(64)
    for _ in range(2000):
        replicas.anneal(np.array([16.0]), 3)
        ups += replicas.states()[:, 0] > 0
    p = 1 / (1 + np.exp(2 * biases[0] / 16.0))
    assert (np.abs(ups - 2000 * p) < norm.isf(RARE / 128) * (2000 * p * (1 - p)) ** 0.5).all()
