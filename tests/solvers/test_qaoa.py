"""QAOA: the circuit against its formula, angles that help, and what it refuses."""

from __future__ import annotations

import dimod
import numpy as np
import pennylane as qml
import pytest

from anneal.assignment.solving import solve_assignment
from anneal.errors import InputError
from anneal.ising import Ising
from anneal.problems.assignment import Assignment
from anneal.schedules import field_spread
from anneal.solvers.qaoa import QaoaSampler, _all_spins, probabilities, ramps


def random_ising(num_spins: int, seed: int) -> Ising:
    rng = np.random.default_rng(seed)
    J = np.triu(rng.integers(-4, 5, (num_spins, num_spins)), 1) * 1.5
    return Ising.from_arrays(rng.integers(-3, 4, num_spins) * 1.0, J + J.T)


@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit", "default.mixed"])
def test_the_circuit_is_the_formula(device: str) -> None:
    """exp(−iβ Σ X) exp(−iγE) on the uniform state, in plain numpy."""
    ising, spins = random_ising(4, seed=1), _all_spins(4)
    gammas, betas = ramps((0.7, 0.9), 3)
    energies = ising.energies(spins) / field_spread(ising).mean()
    flips = np.array([[0, 1], [1, 0]])
    state = np.full(16, 0.25, complex)
    for gamma, beta in zip(gammas, betas, strict=True):
        turn = np.cos(beta) * np.eye(2) - 1j * np.sin(beta) * flips
        mixer = np.kron(np.kron(turn, turn), np.kron(turn, turn))
        state = mixer @ (np.exp(-1j * gamma * energies) * state)
    found = probabilities(ising, qml.device(device, wires=4))(gammas, betas)
    assert np.allclose(found, np.abs(state) ** 2, atol=1e-6)
    assert np.allclose(probabilities(ising, device)(gammas, betas), found, atol=1e-6)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_depth_and_angles_lower_the_mean_energy(seed: int) -> None:
    ising = random_ising(7, seed)
    model, means = ising.to_bqm(), []
    uniform = ising.energies(_all_spins(7)).mean()
    for depth, evaluations in ((1, 1), (1, 40), (5, 40)):
        found = QaoaSampler().sample(
            model, seed=seed, num_reads=2000, depth=depth, num_evaluations=evaluations
        )
        means.append(found.record.energy.mean())
        assert len(found.info["gammas"]) == len(found.info["betas"]) == depth
    error = ising.energies(_all_spins(7)).std() / 2000**0.5
    assert means[2] < means[1] - 5 * error < uniform - 10 * error
    assert means[1] <= means[0] + 5 * error
    assert found.first.energy == ising.energies(_all_spins(7)).min()


def test_toy_sizes_alone() -> None:
    model = dimod.BinaryQuadraticModel({k: 1.0 for k in range(21)}, {}, "SPIN")
    with pytest.raises(InputError, match="at most 20"):
        QaoaSampler().sample(model)
    for wrong in ({"depth": 0}, {"num_evaluations": 0}, {"depth": 1.5}):
        with pytest.raises(InputError):
            QaoaSampler().sample_ising({0: 1.0}, {}, **wrong)


def test_it_chooses_swaps() -> None:
    problem = Assignment.generate(seed=3, num_facilities=8)
    least = solve_assignment(problem, engine="tabu", seed=1).cost
    found = solve_assignment(
        problem,
        engine="swaps",
        seed=1,
        sampler="qaoa",
        num_rounds=40,
        target_cost=least,
        parameters={"depth": 2, "num_evaluations": 5},
    )
    assert found.cost <= 1.1 * least
