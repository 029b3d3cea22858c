"""The coarsest hypergraph as an Ising problem, parted by any sampler."""

from __future__ import annotations

from typing import Any

import dimod
import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from anneal.partition.multilevel import Floats, Initial, Level, Sides, shares
from anneal.solvers import get_solver

BALANCE = 8.0  # nets that it costs to use up the tolerance
NUM_READS = 8
NUM_SWEEPS = 200
MOST_SPINS = 1000  # the balance couples every pair, so time and memory grow with the square


def spin_model(level: Level, limit: Floats, *, unit: float) -> dimod.BinaryQuadraticModel:
    """Return the cut with a square for the balance; spin +1 is side 1, variables the free vertices.

    E(s) = Σ_e w_e/(m_e − 1) Σ_{i<j ∈ e} (1 − s_i s_j)/2 + λ (a·s − d)², where d is the difference
    of the sides' shares of the area, and λ = 8 u / r²: at the difference r that the limits still
    allow (at least a vertex's area, which nothing can avoid) it costs 8 nets of the mean weight
    u = ``unit``. The first sum is a net's cut for 2 and 3 vertices, and more than it beyond. Fixed
    vertices act as biases.

    >>> import numpy as np
    >>> from anneal.partition.multilevel import make_level
    >>> pair = make_level(np.array([0, 2]), np.array([0, 1], np.int32), weight=np.ones(1),
    ...                   area=np.ones(2))
    >>> float(spin_model(pair, np.array([1.5, 1.5]), unit=1.0).energy({0: 1, 1: -1}))
    1.0
    """
    free = np.flatnonzero(level.fixed < 0)
    tied = np.flatnonzero(level.fixed >= 0)
    total = float(level.area.sum())
    share = shares(level, limit)
    room = max(2 * float((limit - share).min()), float(level.area[free].max()), 1e-12 * total)
    strength = BALANCE * unit / room**2 if total > 0 else 0.0
    couplings = _cliques(level)
    couplings += 2 * strength * np.outer(level.area, level.area)
    bias = -2 * strength * (share[1] - share[0]) * level.area
    bias += couplings[:, tied] @ (2.0 * level.fixed[tied] - 1)
    i, j = np.triu_indices(len(free), 1)
    pairs = couplings[np.ix_(free, free)][i, j]
    model = dimod.BinaryQuadraticModel.from_numpy_vectors(
        bias[free], (i, j, pairs), 0.0, dimod.SPIN
    )
    # At all spins equal the biases and couplings are known, and so is what they leave out.
    alike = np.where(level.fixed >= 0, level.fixed, 1).astype(np.int8)
    model.offset = _energy(level, alike, strength, share) - float(bias[free].sum() + pairs.sum())
    return model


def sampled(solver: str, *, unit: float) -> Initial:
    """Return what parts a level by a solver of :mod:`anneal.solvers` (or ``"module:Class"``).

    Raises :class:`~anneal.errors.InputError` for an unknown name.
    """
    sampler = get_solver(solver)()

    def initial(level: Level, limit: Floats, rng: np.random.Generator) -> list[Sides]:
        free = np.flatnonzero(level.fixed < 0)
        if len(free) > MOST_SPINS:
            return []
        model = spin_model(level, limit, unit=unit)
        given: dict[str, Any] = {
            "num_reads": NUM_READS,
            "num_sweeps": NUM_SWEEPS,
            "seed": int(rng.integers(2**31)),
            "num_threads": 1,
        }
        known = {name: value for name, value in given.items() if name in sampler.parameters}
        found = sampler.sample(model, **known)
        states = found.record.sample[:, [found.variables.index(v) for v in range(len(free))]]
        many = np.repeat(level.fixed[None], len(states), axis=0)
        many[:, free] = (states + 1) // 2
        return list(many)

    return initial


def _cliques(level: Level) -> NDArray[np.float64]:
    """Return the couplings −w / 2(m − 1) of every pair in a net, dense; the diagonal means
    nothing.
    """
    wide = np.diff(level.start)
    share = np.sqrt(level.weight / (2 * np.maximum(wide - 1, 1)))
    nets = scipy.sparse.csr_array(
        (np.repeat(share, wide), level.pins, level.start), shape=(len(wide), level.size)
    )
    pairs: NDArray[np.float64] = (nets.T @ nets).toarray()
    return -pairs


def _energy(level: Level, parts: Sides, strength: float, share: Floats) -> float:
    """Return E of the sides."""
    wide = np.diff(level.start)
    ones = np.concatenate([[0], np.cumsum(parts[level.pins])])
    ones = ones[level.start[1:]] - ones[level.start[:-1]]
    cut = float(np.sum(level.weight * ones * (wide - ones) / np.maximum(wide - 1, 1)))
    spins = 2.0 * parts - 1
    return cut + strength * float(level.area @ spins - share[1] + share[0]) ** 2
