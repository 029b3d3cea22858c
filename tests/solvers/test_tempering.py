"""Parallel tempering: samples of the last temperature, frozen temperatures, what it is given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from anneal.errors import InputError
from anneal.ladders import Ladder
from anneal.problems import get_problem
from anneal.solvers.tempering import FROZEN, TemperingSampler
from tests.kernels.reference import all_states, codes_of, random_ising

ISING = random_ising(4, seed=8)


@pytest.mark.parametrize(
    "parameters",
    [
        {"beta_range": (0.05, 0.3)},
        {"beta_range": (0.3, 0.3), "proposal_acceptance_criteria": "Gibbs"},
        {"beta_range": (0.0, 0.3), "beta_schedule_type": "linear", "num_temperatures": 5},
        {"beta_schedule": [0.3, 0.0, 0.1], "randomize_order": True, "num_sweeps_per_beta": 40},
    ],
    ids=str,
)
def test_a_range_that_was_asked_for_samples_at_its_largest_beta(parameters: Any) -> None:
    reads = 8000
    found = TemperingSampler().sample(
        ISING.to_bqm(), num_reads=reads, seed=1, num_sweeps=2000, **parameters
    )
    energies = ISING.energies(all_states(4))
    law = np.exp(-0.3 * (energies - energies.min()))
    law /= law.sum()
    observed = np.bincount(codes_of(found.record.sample), minlength=16) / reads
    bound = norm.isf(1e-9 / 16) * np.sqrt(law * (1 - law) / reads) + 10 / reads
    assert (np.abs(observed - law) < bound).all(), (observed, law)
    assert found.info["betas"][-1] == 0.3


def test_temperatures_stay_once_the_warm_up_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    run = Ladder.run

    def spy(self: Ladder, num_rounds: int, num_sweeps: int, **options: Any) -> None:
        seen.append((num_rounds * num_sweeps, self.betas.tolist(), self.mixing.tolist()))
        run(self, num_rounds, num_sweeps, **options)

    monkeypatch.setattr(Ladder, "run", spy)
    model = get_problem("lattice").generate(seed=1, shape=(8, 8)).bqm()
    found = TemperingSampler().sample(model, seed=1, num_sweeps=2000)
    done = np.cumsum([0, *(sweeps for sweeps, _, _ in seen)])[:-1] / 2000
    first, last = seen[0][1], seen[-1][1]
    assert first != last == found.info["betas"]
    for begun, (_, betas, mixing) in zip(done, seen, strict=True):
        if begun >= FROZEN:
            assert betas == last and mixing == seen[-1][2]


def test_info_tells_of_the_ladder() -> None:
    problem = get_problem("planted").generate(seed=2, length=12)
    info = TemperingSampler().sample(problem.bqm(), seed=1).info
    assert len(info["betas"]) == len(info["mean_energies"]) == len(info["acceptance"]) + 1
    assert (np.diff(info["betas"]) > 0).all()
    assert (np.diff(info["mean_energies"]) < 0).all()
    assert set(info["cluster_betas"]) <= set(info["betas"])
    assert min(info["acceptance"]) > 0.2


def test_the_ground_state_of_a_planted_lattice_is_found() -> None:
    problem = get_problem("planted").generate(seed=3, length=16)
    found = TemperingSampler().sample(problem.bqm(), seed=1, num_reads=5)
    assert found.first.energy == problem.best_known
    assert len(found) == 5


def test_the_best_of_the_initial_states_is_kept() -> None:
    problem = get_problem("planted").generate(seed=3, length=20)
    found = TemperingSampler().sample(
        problem.bqm(), initial_states=problem.encode(problem.ground_state), num_sweeps=1, seed=1
    )
    assert found.first.energy == problem.best_known


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_temperatures": 0},
        {"num_sweeps_per_beta": 1.5},
        {"proposal_acceptance_criteria": "gibbs"},
    ],
    ids=str,
)
def test_wrong_keywords_are_refused(wrong: Any) -> None:
    with pytest.raises(InputError):
        TemperingSampler().sample_ising({0: 1.0}, {}, **wrong)
