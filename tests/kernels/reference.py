"""What the kernels do, said again in plain Python: slow, and easy to believe."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anneal.ising import Ising
from anneal.layouts import DenseLayout, Numbers, SparseLayout
from anneal.multispin import BitLayout

Floats = NDArray[np.float64]
Spins = NDArray[np.int8]

# Numbers that force a field type: the bound on the local fields, not their size, decides.
FORCED = {
    "int8": Numbers(1.0, True, 100.0, 3.0, 1.0),
    "int16": Numbers(1.0, True, 1000.0, 3.0, 1.0),
    "int32": Numbers(1.0, True, 100000.0, 3.0, 1.0),
    "float32": Numbers(1.0, False, 50.0, 3.0, 1.0),
    "float64": Numbers(1.0, False, 50.0, 3.0, 1e-9),
}
SPARSE_KINDS = list(FORCED)
DENSE_KINDS = ["int32", "float32", "float64"]
FIELDS = [("sparse", kind) for kind in SPARSE_KINDS] + [("dense", kind) for kind in DENSE_KINDS]
FLOATS = [(family, kind) for family, kind in FIELDS if kind.startswith("float")]
LAYOUTS = [*FIELDS, ("bits", "uint8")]
LAWS = [(*layout, False) for layout in LAYOUTS] + [(*layout, True) for layout in FIELDS]  # Gibbs'


def forced_layout(ising: Ising, family: str, kind: str) -> SparseLayout | DenseLayout | BitLayout:
    """Return the layout of that family and field type, whatever the sizes of the coefficients."""
    if family == "bits":
        return BitLayout(ising.h, ising.J, Numbers.of(ising.h[np.newaxis], ising.J))
    make = SparseLayout if family == "sparse" else DenseLayout
    layout = make(ising.h, ising.J, FORCED[kind])
    assert layout.kind == np.dtype(kind)
    return layout


def random_ising(
    num_spins: int, *, seed: int, density: float = 1.0, largest: int = 3, biased: bool = True
) -> Ising:
    """Return integer couplings −largest…largest on random pairs, with biases or without."""
    rng = np.random.default_rng(seed)
    shape = (num_spins, num_spins)
    J = np.triu((rng.random(shape) < density) * rng.integers(-largest, largest + 1, shape), 1)
    h = rng.integers(-largest, largest + 1, num_spins) * biased
    return Ising.from_pairs(h.astype(float), *np.nonzero(J), J[np.nonzero(J)].astype(float), 0.0)


def all_states(num_spins: int) -> Spins:
    """Return (2ⁿ, n) of ±1; spin k is bit k of the row's number."""
    codes = np.arange(2**num_spins)[:, np.newaxis]
    return (2 * (codes >> np.arange(num_spins) & 1) - 1).astype(np.int8)


def codes_of(states: Spins) -> NDArray[np.int64]:
    """Return the row numbers of states in :func:`all_states`."""
    return (states > 0) @ (1 << np.arange(states.shape[1]))


def energies_of(h: Any, J: Any, states: Any) -> Floats:
    """Return h·s + ½ sᵀJs in float64, from a dense matrix."""
    spins = np.asarray(states, np.float64)
    return np.asarray(spins @ np.asarray(h) + np.einsum("ri,ij,rj->r", spins, J, spins) / 2)


def metropolis(
    ising: Ising, temperature: float, *, replicas: int, sweeps: int, seed: int
) -> Floats:
    """Return (sweeps, replicas) energies of sequential Metropolis sweeps, one replica a column."""
    rng = np.random.default_rng(seed)
    h, J = ising.h, ising.dense()
    spins = rng.choice([-1.0, 1.0], (ising.num_spins, replicas))
    energies = np.empty((sweeps, replicas))
    for sweep in range(sweeps):
        for i in range(ising.num_spins):
            rise = -2 * spins[i] * (h[i] + J[i] @ spins)
            accept = rng.random(replicas) < np.exp(np.minimum(-rise / temperature, 0))
            spins[i] = np.where(accept, -spins[i], spins[i])
        energies[sweep] = energies_of(h, J, spins.T)
    return energies


class Tabu(NamedTuple):
    """Where a tabu search got to."""

    spins: Spins
    best: Spins
    reached: float
    record: float
    aspired: int
    stuck: int


def tabu(h: Floats, J: Floats, spins: Spins, *, tenure: int, flips: int, lanes: int) -> Tabu:
    """Return where ``flips`` moves of one-flip tabu search lead; ties go to the first lane.

    Stops early, with ``stuck``, where every spin has to stay: there the kernel draws at random.
    """
    n = len(spins)
    spins, best = spins.copy(), spins.copy()
    until = np.zeros(n, int)
    order = sorted(range(n), key=lambda i: (i % lanes, i))
    reached = record = 0.0
    chosen, aspired = -1, 0
    for now in range(flips):
        gains = spins * (h + J @ spins)
        others = [i for i in order if i != chosen]
        free = [i for i in others if until[i] <= now]
        best_of_all = max(others, key=gains.__getitem__)
        if reached + gains[best_of_all] > record:
            aspired += until[best_of_all] > now
            chosen = best_of_all
        elif free:
            chosen = max(free, key=gains.__getitem__)
        else:
            return Tabu(spins, best, reached, record, aspired, now)
        reached += gains[chosen]
        spins[chosen] = -spins[chosen]
        until[chosen] = now + 1 + tenure
        if reached > record:
            record, best = reached, spins.copy()
    return Tabu(spins, best, reached, record, aspired, 0)


def components(J: Floats, members: NDArray[np.bool_]) -> list[list[int]]:
    """Return the connected components of the graph of J induced on ``members``."""
    left = set(np.flatnonzero(members).tolist())
    found = []
    while left:
        component, stack = [], [left.pop()]
        while stack:
            i = stack.pop()
            component.append(i)
            near = {j for j in left if J[i, j] != 0}
            left -= near
            stack.extend(near)
        found.append(component)
    return found
