"""Simulated bifurcation: its equations, what it finds, and what it refuses."""

from __future__ import annotations

from typing import Any

import dimod
import numpy as np
import pytest
import torch

from anneal.control import Control
from anneal.errors import InputError
from anneal.ising import Ising
from anneal.problems import get_problem
from anneal.solvers import bifurcation
from anneal.solvers.bifurcation import BifurcationSampler, Forks
from anneal.solvers.exact import ExactSampler


def forks(ising: Ising, reads: int, *, discrete: bool) -> Forks:
    return Forks(ising, reads, discrete, "cpu", None, Control(), np.random.default_rng(1))


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("density", [0.02, 1.0])
def test_a_fork_follows_its_equations(density: float, discrete: bool) -> None:
    """Step by step in float64, oscillator by oscillator; chaos has not set in after 20 steps."""
    rng = np.random.default_rng(3)
    J = np.triu(rng.normal(size=(60, 60)) * (rng.random((60, 60)) < density), 1)
    ising = Ising.from_pairs(rng.normal(size=60), *np.nonzero(J), J[np.nonzero(J)], 0.0)
    J = J + J.T
    found = forks(ising, 3, discrete=discrete)._fork(20, np.inf)
    rng = np.random.default_rng(1)
    x, y = (bifurcation.KICK * rng.uniform(-1, 1, (60, 3)) for _ in range(2))
    c = 0.5 / np.sqrt(np.mean((J**2).sum(axis=1) + ising.h**2))
    for step in range(20):
        z = np.sign(x) if discrete else x
        y = y - bifurcation.STEP * ((1 - (step + 0.5) / 20) * x + c * (J @ z + ising.h[:, None]))
        x = x + bifurcation.STEP * y
        y[np.abs(x) > 1] = 0
        x = np.clip(x, -1, 1)
    clear = np.abs(x.T) > 1e-3
    assert clear.mean() > 0.9 and (found == np.sign(x.T))[clear].all()


@pytest.mark.parametrize("variant", ["discrete", "ballistic"])
@pytest.mark.parametrize("problem", ["sk", "lattice", "qubo"])
def test_ground_states_are_found(problem: str, variant: str) -> None:
    size: dict[str, Any] = {
        "sk": {"num_spins": 30}, "lattice": {"shape": (5, 6)}, "qubo": {"num_variables": 30},
    }  # fmt: skip
    bqm = get_problem(problem).generate(seed=2, **size[problem]).bqm()
    least = ExactSampler().sample(bqm).first.energy
    found = BifurcationSampler().sample(bqm, num_reads=40, seed=1, variant=variant)
    assert found.first.energy == pytest.approx(least)


def test_what_it_cannot_do_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bqm = dimod.BQM.from_ising({}, {("a", "b"): 1.0})
    sampler = BifurcationSampler()
    with pytest.raises(InputError, match="discrete or ballistic"):
        sampler.sample(bqm, variant="quantum")
    with pytest.raises(InputError, match="num_steps"):
        sampler.sample(bqm, num_steps=0)
    with pytest.raises(InputError, match="cpu or cuda"):
        sampler.sample(bqm, device="tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no GPU"):
        sampler.sample(bqm, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("density", [0.02, 1.0])
def test_a_gpu_finds_as_good_states(density: float) -> None:
    bqm = get_problem("maxcut").generate(seed=1, num_vertices=300, density=density).bqm()
    here = BifurcationSampler().sample(bqm, seed=1).first.energy
    there = BifurcationSampler().sample(bqm, seed=1, device="cuda").first.energy
    assert there == pytest.approx(here, rel=0.01)
