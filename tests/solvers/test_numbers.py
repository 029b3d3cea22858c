"""Numbers attacked on purpose: where a type would wrap, a sum overflow, a unit vanish."""

from __future__ import annotations

from typing import Any

import dimod
import numpy as np
import pytest

from anneal.errors import InputError
from anneal.ising import Ising
from anneal.solvers import SOLVERS, get_solver
from tests.kernels.reference import all_states

OURS = [name for name, target in SOLVERS.items() if target.startswith("anneal.")]
SEARCHING = [name for name in OURS if name not in ("random", "greedy", "qaoa")]
HEURISTIC = ["anneal", "tabu", "crossover"]


def check_minimum(name: str, ising: Ising, **parameters: Any) -> None:
    """The energies are dimod's, and the best of them is the minimum over all states."""
    model = ising.to_bqm()
    found = get_solver(name)().sample(model, seed=1, **parameters)
    states = all_states(ising.num_spins)
    size = float(np.abs(ising.h).sum() + np.abs(ising.dense()).sum())
    assert np.abs(found.record.energy - model.energies(found)).max() <= 1e-15 * size + 1e-321
    assert found.first.energy == pytest.approx(ising.energies(states).min(), rel=1e-14, abs=1e-300)


def frustrated(num_spins: int, sizes: Any, *, seed: int = 1) -> Ising:
    """Couplings and biases drawn from ± the given sizes."""
    rng = np.random.default_rng(seed)
    shape = (num_spins, num_spins)
    J = np.triu(rng.choice(sizes, shape) * rng.choice([-1, 1], shape), 1)
    return Ising.from_arrays(rng.choice(sizes, num_spins) * rng.choice([-1, 1], num_spins), J + J.T)


@pytest.mark.parametrize(
    "sizes",
    [
        [1],
        [126, 127, 128],
        [127, 1],
        [128, 1],
        [254, 3],
        [32766, 32767, 32768],
        [32767, 1],
        [65535, 2],
        [2**24 + 1, 1],
        [2**26 + 1, 3],
        [2**28, 1],
        [2**31, 2**31 - 1, 1],
        [2.0**40, 2.0**30],
        [1e30],
        [1e30, 1e29, 7e28],
        [1e-30, 3e-30],
        [1e30, 1e-30],
        [1e200, 3e199],
        [1e298, 7e297],
        [1e-200, 3e-201],
        [5e-324, 1e-323],
        [1e-310, 1.0],
        [0.1, 0.3],
        [np.pi, np.e],
        [1.0, np.pi * 1e-6],
        [-0.0, 0.0, 1.0],
        [-0.0],
    ],
    ids=str,
)
@pytest.mark.parametrize("name", SEARCHING)
def test_the_minimum_is_found_at_every_size(name: str, sizes: list[float]) -> None:
    check_minimum(name, frustrated(9, sizes))


@pytest.mark.parametrize("degree", [126, 127, 130, 252, 253, 254, 255, 300, 600])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("name", [*HEURISTIC, "greedy"])
def test_hubs_do_not_wrap(name: str, sign: float, degree: int) -> None:
    """All leaves opposed to the hub, or aligned with it: its field is the largest there is."""
    model = dimod.BinaryQuadraticModel({}, {(0, k): sign for k in range(1, degree + 1)}, "SPIN")
    found = get_solver(name)().sample(model, num_sweeps=60, num_reads=64, seed=1)
    assert (found.record.energy == model.energies(found)).all()
    assert found.first.energy == -degree
    best = np.array([found.first.sample[k] for k in range(degree + 1)])
    assert (best[1:] == -sign * best[0]).all()


@pytest.mark.parametrize("size", [126, 127, 128, 252, 253, 254, 32766, 32767, 32768, 65533, 65534])
@pytest.mark.parametrize("name", [*HEURISTIC, "greedy"])
def test_a_field_at_the_edge_of_a_type_keeps_its_sign(name: str, size: int) -> None:
    """One spin whose whole field is a bias, next to others of ±1."""
    model = dimod.BinaryQuadraticModel({0: size, 1: -size, 2: 1.0, 3: -1.0}, {(0, 1): 1.0}, "SPIN")
    found = get_solver(name)().sample(model, num_reads=64, num_sweeps=20, seed=1)
    assert found.first.sample == {0: -1, 1: 1, 2: -1, 3: 1}
    assert found.first.energy == -2 * size - 3


@pytest.mark.parametrize("top", [1, 127, 128, 32767, 32768, 2**20, 2**31, np.pi])
def test_large_dense_problems_use_rows_of_any_type(top: float) -> None:
    """Above the size at which a matrix is walked by rows: a ground state that is planted."""
    n = 112
    gauge = np.random.default_rng(1).choice([-1, 1], n)
    J = -top * np.outer(gauge, gauge).astype(float)
    J[0, 1] = J[1, 0] = -np.sign(-J[0, 1]) * top
    np.fill_diagonal(J, 0)
    ising = Ising.from_arrays(np.zeros(n), J)
    least = ising.energies(gauge)[0]
    for name in HEURISTIC:
        found = get_solver(name)().sample(ising.to_bqm(), num_sweeps=100, num_reads=2, seed=1)
        assert found.first.energy == pytest.approx(least, rel=1e-14)


@pytest.mark.parametrize("betas", [(0, 0), (1e-300, 1e-300), (1e300, 1e300), (0, 1e9), (1e-9, 1e9)])
@pytest.mark.parametrize("sizes", [[1, 3], [2**20, 1], [np.pi, 1.0], [1e30], [1e-30]])
def test_huge_and_no_temperatures(betas: tuple[float, float], sizes: list[float]) -> None:
    for ising in (frustrated(9, sizes), frustrated(100, sizes)):
        model = ising.to_bqm()
        for name in HEURISTIC:
            found = get_solver(name)().sample(
                model,
                beta_range=betas,
                beta_schedule_type="linear",
                num_sweeps=20,
                num_reads=2,
                seed=1,
            )
            size = np.abs(ising.h).sum() + np.abs(ising.dense()).sum()
            assert np.abs(found.record.energy - model.energies(found)).max() <= 1e-14 * size


@pytest.mark.parametrize("num_reads", [1, 7, 8, 63, 64, 65, 130])
@pytest.mark.parametrize("name", OURS)
def test_any_number_of_reads(name: str, num_reads: int) -> None:
    for ising in (frustrated(5, [1, 2]), frustrated(5, [np.pi, 1.0])):
        found = get_solver(name)().sample(ising.to_bqm(), num_reads=num_reads, num_sweeps=5, seed=1)
        assert len(found) == num_reads
        assert np.isin(found.record.sample, [-1, 1]).all()


@pytest.mark.parametrize("name", [name for name in OURS if name != "qaoa"])
def test_next_to_nothing(name: str) -> None:
    sample = get_solver(name)().sample
    assert sample(dimod.BinaryQuadraticModel({}, {}, 2.5, "BINARY")).first.energy == 2.5
    for n in (1, 2, 3, 150):
        none = dimod.BinaryQuadraticModel(dict.fromkeys(range(min(n, 30)), 0.0), {}, -1.0, "SPIN")
        found = sample(none, seed=1)
        assert (found.record.energy == -1.0).all()
    if name != "random":
        linear = dimod.BinaryQuadraticModel({k: (-1.0) ** k for k in range(30)}, {}, "BINARY")
        assert sample(linear, seed=1, num_sweeps=50).first.energy == -15


@pytest.mark.parametrize("name", OURS)
def test_sums_that_overflow_are_refused(name: str) -> None:
    for size in (1e301, 1.7e308):
        model = frustrated(4, [1.0]).to_bqm()
        model.set_linear(0, size)
        with pytest.raises(InputError, match="add up"):
            get_solver(name)().sample(model)


def test_a_long_way_down_in_many_sizes_at_once() -> None:
    """Independent spins whose biases span 24 decades, up to what float64 resolves in one field."""
    h = np.pi * 10.0 ** -np.arange(24.0)
    for name in (*HEURISTIC, "greedy", "auto"):
        found = get_solver(name)().sample(Ising.from_arrays(h, np.zeros((24, 24))).to_bqm(), seed=1)
        best = np.array([found.first.sample[k] for k in range(24)])
        assert (best[:14] == -1).all()
