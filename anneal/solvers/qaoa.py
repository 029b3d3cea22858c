"""The quantum approximate optimisation algorithm, on any PennyLane device, for toy sizes."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from anneal.control import Control
from anneal.errors import InputError
from anneal.ising import Couplings, Ising
from anneal.problems import edges
from anneal.sampler import IsingSampler
from anneal.schedules import field_spread

MOST_SPINS = 20
FIRST_ANGLES = (0.5, 0.6)  # the steepest γ, in units of the inverse spread of fields, and β

Probabilities = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


class QaoaSampler(IsingSampler):
    """QAOA: ``depth`` layers of exp(−iγE) and exp(−iβ ΣX), whose angles rise and fall linearly.

    The two slopes are optimised, by the mean energy that the device's probabilities give (Farhi,
    Goldstone and Gutmann 2014, arXiv:1411.4028; linear ramps: Montañez-Barrera and Michielsen 2024,
    arXiv:2405.09169). num_reads: drawn from the last probabilities (default 100); on a device with
    shots these are the frequencies it measured. num_evaluations: of the optimisation (default 30).
    device: a PennyLane device with wires 0 … n − 1, or its name. ``info`` tells the angles. Raises
    InputError beyond 20 spins.

    >>> found = QaoaSampler().sample_ising({0: 1.0}, {(0, 1): -1.0, (1, 2): -1.0}, seed=1)
    >>> float(found.first.energy)
    -3.0
    """

    default_reads = 100

    def search(
        self,
        h: NDArray[np.float64],
        J: Couplings,
        *,
        control: Control,
        rng: np.random.Generator,
        num_reads: int | None = None,
        initial: NDArray[np.int8] | None = None,
        depth: int = 3,
        num_evaluations: int = 30,
        device: Any = "default.qubit",
    ) -> NDArray[np.int8]:
        reads, num_spins = num_reads or self.default_reads, h.shape[1]
        edges.whole("depth", depth, least=1, most=1000)
        edges.whole("num_evaluations", num_evaluations, least=1)
        if num_spins > MOST_SPINS:
            raise InputError(f"QAOA takes at most {MOST_SPINS} spins, the problem has {num_spins}")
        spins = _all_spins(num_spins)
        found = []
        for linear in h:
            ising = Ising(linear, J)
            run = probabilities(ising, device)
            energies = ising.energies(spins)
            slopes = _optimised(run, energies, depth, num_evaluations, control)
            gammas, betas = ramps(slopes, depth)
            chances = run(gammas, betas)
            drawn = rng.choice(len(spins), reads, p=chances / chances.sum())
            drawn = drawn[np.argsort(energies[drawn], kind="stable")]
            control.improve(float(energies[drawn[0]]))
            control.info.update(gammas=gammas.tolist(), betas=betas.tolist())
            found.append(spins[drawn])
        return np.stack(found)


def ramps(slopes: Any, depth: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """γ, rising to the first slope, and β, falling from the second, each (depth,).

    >>> ramps((1.0, 2.0), 2)
    (array([0.25, 0.75]), array([1.5, 0.5]))
    """
    fractions = (np.arange(depth) + 0.5) / depth
    return slopes[0] * fractions, slopes[1] * (1 - fractions)


def probabilities(ising: Ising, device: Any) -> Probabilities:
    """Return the circuit's probabilities of all states, wire 0 first, as a function of γ and β.

    Energies are in units of the spread of a field, so that γ is of order 1 for any problem. A bit
    is (1 + s)/2, so Z = −s.
    """
    qml = importlib.import_module("pennylane")
    count = ising.num_spins
    spread = field_spread(ising)
    unit = float(spread.mean()) if len(spread) else 1.0
    h, J = ising.h / unit, ising.dense() / unit
    if isinstance(device, str):
        device = qml.device(device, wires=count)

    def circuit(gammas: NDArray[np.float64], betas: NDArray[np.float64]) -> Any:
        for i in range(count):
            qml.Hadamard(i)
        for gamma, beta in zip(gammas, betas, strict=True):
            for i in range(count):
                qml.RZ(-2 * gamma * h[i], wires=i)
                for j in range(i):
                    if J[i, j]:
                        qml.IsingZZ(2 * gamma * J[i, j], wires=[j, i])
            for i in range(count):
                qml.RX(2 * beta, wires=i)
        return qml.probs(wires=range(count))

    node = qml.QNode(circuit, device, diff_method=None)
    return lambda gammas, betas: np.asarray(node(gammas, betas), dtype=np.float64)


def _optimised(
    run: Probabilities,
    energies: NDArray[np.float64],
    depth: int,
    num_evaluations: int,
    control: Control,
) -> NDArray[np.float64]:
    """The slopes of least mean energy that a simplex finds in so many runs, or in the time."""
    size = float(np.abs(energies).max()) or 1.0
    best = np.array(FIRST_ANGLES)
    least, done = np.inf, 0

    def mean_energy(slopes: NDArray[np.float64]) -> float:
        nonlocal best, least, done
        if control.stop():
            raise StopIteration
        mean = float(run(*ramps(slopes, depth)) @ (energies / size))
        done += 1
        control.done = done / num_evaluations
        if mean < least:
            best, least = slopes.copy(), mean
        return mean

    with contextlib.suppress(StopIteration):
        minimize(mean_energy, best, method="Nelder-Mead", options={"maxfev": num_evaluations})
    return best


def _all_spins(count: int) -> NDArray[np.int8]:
    """All states, (2^n, n), the first spin the most significant bit."""
    bits = np.arange(2**count)[:, np.newaxis] >> np.arange(count)[::-1] & 1
    return (2 * bits - 1).astype(np.int8)
