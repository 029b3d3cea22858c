"""What `auto` chooses, and problems that fall apart."""

from __future__ import annotations

import time

import dimod
import numpy as np
import pytest

from anneal.ising import Ising
from anneal.problems import get_problem
from anneal.solvers.auto import AutoSampler, plan
from anneal.solvers.exact import ExactSampler
from tests.kernels.reference import random_ising


def together(*models: dimod.BinaryQuadraticModel) -> dimod.BinaryQuadraticModel:
    """Return the sum of models over variables of their own."""
    whole = dimod.BinaryQuadraticModel("SPIN")
    for k, model in enumerate(models):
        part = model.change_vartype("SPIN", inplace=False)
        part.relabel_variables({v: (k, v) for v in part.variables})
        whole.update(part)
    return whole


def glass(seed: int, num_spins: int = 30) -> dimod.BinaryQuadraticModel:
    return get_problem("sk").generate(seed=seed, num_spins=num_spins).bqm()


@pytest.fixture(scope="module")
def apart() -> dimod.BinaryQuadraticModel:
    """Two dense components, a torus, and a sparse one whose spins are in no order."""
    torus = get_problem("lattice").generate(seed=3, shape=(6, 6)).bqm()
    sparse = random_ising(200, seed=4, density=0.03).to_bqm()
    whole = together(glass(1), glass(2), torus, sparse)
    shuffled = np.random.default_rng(1).permutation(len(whole.variables))
    order = [list(whole.variables)[k] for k in shuffled]
    found = dimod.BinaryQuadraticModel.from_ising(
        {v: whole.get_linear(v) for v in order}, whole.quadratic, whole.offset
    )
    return found


def test_components_have_solvers_of_their_own(apart: dimod.BinaryQuadraticModel) -> None:
    _, parts = plan(Ising.from_bqm(apart))
    assert sorted(part.solver for part in parts) == ["crossover", "exact", "tabu", "tabu"]
    found = AutoSampler().sample(apart, time_limit=0.1, seed=1)
    assert set(found.info["solver"].split(" + ")) == {"crossover", "exact", "tabu"}
    assert found.info["reason"].startswith("4 parts without couplings between them")


def test_the_best_of_each_component_is_joined(apart: dimod.BinaryQuadraticModel) -> None:
    found = AutoSampler().sample(apart, num_reads=6, time_limit=1.0, seed=1).first
    for k, model in enumerate((glass(1), glass(2))):
        sample = {v: found.sample[k, v] for v in model.variables}
        assert model.energy(sample) == ExactSampler().sample(model).first.energy


def test_reads_of_components_differ_and_do_not_get_worse() -> None:
    model = together(glass(1, 40), glass(2, 40))
    start = dimod.SampleSet.from_samples_bqm(dict.fromkeys(model.variables, 1), model)
    found = AutoSampler().sample(model, num_reads=8, time_limit=0.3, seed=1, initial_states=start)
    assert len(found) == 8 and (found.record.energy <= start.first.energy).all()
    energies = found.record.energy
    assert energies[0] == energies.min(), "the first read joins the best of each"
    traced = [energy for _, energy in found.info["trace"]]
    assert traced == sorted(traced, reverse=True) and traced[-1] == energies.min()


def test_a_target_and_a_limit_hold_for_all_components_together() -> None:
    model = together(glass(1, 60), glass(2, 60), glass(3, 60))
    AutoSampler().sample(model, time_limit=0.05)  # kernels are loaded
    best = AutoSampler().sample(model, time_limit=0.5, seed=1).first.energy
    began = time.perf_counter()
    found = AutoSampler().sample(model, time_limit=60.0, target_energy=best + 40, seed=2)
    assert found.first.energy <= best + 40 and time.perf_counter() - began < 30


@pytest.mark.parametrize("seed", range(20))
def test_parts_that_can_be_proven_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    models = [
        random_ising(int(rng.integers(1, 8)), seed=int(rng.integers(2**31)), density=0.5).to_bqm()
        for _ in range(5)
    ]
    found = AutoSampler().sample(together(*models), num_reads=2, seed=1)
    least = sum(ExactSampler().sample(model).first.energy for model in models)
    assert found.info["proven"] and found.first.energy == least == found.info["lower_bound"]
