"""Population annealing: free energies and means against enumeration, and how it resamples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import norm

from anneal.errors import InputError
from anneal.problems import get_problem
from anneal.solvers.population import CULLED, PopulationSampler, next_beta, resampled
from tests.kernels.reference import all_states, codes_of, random_ising

RARE = 1e-9
BETAS = np.linspace(0.04, 0.4, 10)


@pytest.mark.parametrize("largest", [3, 400], ids=["int8", "int16"])
@pytest.mark.parametrize("whole", [True, False])
def test_free_energy_and_means_are_those_of_all_states(largest: int, whole: bool) -> None:
    """The mean of Z over runs is Z, whatever the steps; mean energies have a bias of order 1/R."""
    ising = random_ising(8, seed=3, largest=largest)
    unit = (1.0 if whole else np.pi / 3) * 3 / largest
    model = ising.to_bqm()
    model.scale(unit)
    energies = unit * ising.energies(all_states(8))
    logs = logsumexp(-BETAS[:, None] * energies, axis=1)
    means = (np.exp(-BETAS[:, None] * energies - logs[:, None]) * energies).sum(axis=1)
    ratios, errors = [], []
    for seed in range(30):
        info = PopulationSampler().sample(model, seed=seed, beta_schedule=BETAS, num_sweeps=50).info
        assert info["betas"] == BETAS.tolist()
        ratios.append(np.exp(np.array(info["log_partition"]) - logs))
        errors.append(np.array(info["mean_energies"]) - means)
    for values, expected, bias in ((ratios, 1.0, 0.0), (errors, 0.0, 0.05)):
        spread = np.std(values, axis=0, ddof=1) / 30**0.5
        off = np.abs(np.mean(values, axis=0) - expected)
        assert (off < 8 * spread + bias).all(), (off, spread)


def test_adaptive_steps_lead_to_the_same_free_energy() -> None:
    ising = random_ising(8, seed=4)
    energies = ising.energies(all_states(8))
    info = (
        PopulationSampler()
        .sample(ising.to_bqm(), seed=1, num_replicas=20_000, beta_range=(0.1, 1.0))
        .info
    )
    exact = logsumexp(-np.array(info["betas"])[:, None] * energies, axis=1)
    assert info["betas"][-1] == 1.0 and len(info["betas"]) > 8
    assert np.abs(np.array(info["log_partition"]) - exact).max() < 0.05
    assert 1 < info["rho_t"] < 100 < info["num_families"]


def test_the_last_population_has_the_boltzmann_law() -> None:
    ising, reads = random_ising(4, seed=8), 20_000
    found = PopulationSampler().sample(
        ising.to_bqm(), num_reads=reads, seed=1, beta_range=(0.3, 0.3), num_sweeps=30
    )
    energies = ising.energies(all_states(4))
    law = np.exp(-0.3 * (energies - energies.min()))
    law /= law.sum()
    observed = np.bincount(codes_of(found.record.sample), minlength=16) / reads
    bound = norm.isf(RARE / 16) * np.sqrt(law * (1 - law) / reads) + 10 / reads
    assert (np.abs(observed - law) < bound).all(), (observed, law)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=40), st.floats(0, 3))
def test_copies_are_the_weights_rounded_up_or_down(values: list[float], step: float) -> None:
    energies = np.array(values)
    counts, gain = resampled(energies, step, np.random.default_rng(1))
    weights = np.exp(-step * (energies - energies.min()))
    expected = weights / weights.mean()
    assert counts.sum() == len(energies)
    assert (np.abs(counts - expected) < 1 + 1e-6).all()
    assert gain == pytest.approx(np.log(weights.mean()) - step * energies.min(), abs=1e-6)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=40), st.floats(1e-3, 9))
def test_a_step_loses_a_tenth_or_ends(values: list[float], end: float) -> None:
    energies = np.array(values)
    beta = next_beta(0.0, end, energies)
    weights = np.exp(-beta * (energies - energies.min()))
    lost = np.maximum(0, 1 - weights / weights.mean()).mean()
    assert 0 < beta <= end
    assert lost <= CULLED + 1e-6
    assert beta == end or lost > CULLED - 1e-6


def test_dense_problems_and_what_is_given() -> None:
    problem = get_problem("sk").generate(seed=1, num_spins=120)
    model, sampler = problem.bqm(), PopulationSampler()
    found = sampler.sample(model, seed=1, num_reads=3)
    again = sampler.sample(model, initial_states=found.first.sample, num_sweeps=1, seed=1)
    assert again.first.energy <= found.first.energy
    assert "log_partition" in found.info and "log_partition" not in again.info


@pytest.mark.parametrize("wrong", [{"num_replicas": 0}, {"num_sweeps_per_beta": -1}], ids=str)
def test_wrong_numbers_are_refused(wrong: Any) -> None:
    with pytest.raises(InputError):
        PopulationSampler().sample_ising({0: 1.0}, {}, **wrong)
