"""Spin glasses: random couplings on a lattice (Edwards–Anderson) or on every pair (SK)."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import dimod
import numpy as np
from numpy.typing import NDArray

from anneal.errors import InputError
from anneal.problem import Problem, Sample, Seed, Solution, Values, as_sample, sample_values
from anneal.problems import edges


@dataclass(frozen=True, eq=False)
class SpinGlass(Problem):
    """Spins without a field; a solution is an int8 array (num_spins,) of −1 and +1.

    cost = energy = Σ_ij J_ij s_i s_j, so a negative coupling is a ferromagnetic one. What differs
    between the subclasses is :meth:`generate`. Raises :class:`~anneal.errors.InputError` as
    :class:`~anneal.problems.maxcut.MaxCut` does.
    """

    num_spins: int
    i: NDArray[np.integer[Any]]
    j: NDArray[np.integer[Any]]
    coupling: NDArray[np.float64]
    best_known: float | None = None

    def __post_init__(self) -> None:
        edges.whole("num_spins", self.num_spins, least=1)
        i, j, coupling = edges.check_edges(self.num_spins, self.i, self.j, self.coupling)
        object.__setattr__(self, "i", i)
        object.__setattr__(self, "j", j)
        object.__setattr__(self, "coupling", coupling)

    def bqm(self) -> dimod.BinaryQuadraticModel:
        """Return the spin model over the spins 0 … n−1."""
        return dimod.BinaryQuadraticModel.from_numpy_vectors(
            np.zeros(self.num_spins), (self.i, self.j, self.coupling), 0.0, dimod.SPIN
        )

    def encode(self, solution: Solution) -> dict[Hashable, int]:
        """Return spin → value."""
        return as_sample(self.decode(solution), range(self.num_spins))

    def decode(self, sample: Sample) -> Values:
        """Return the spins in their order."""
        return sample_values(sample, range(self.num_spins), vartype=dimod.SPIN)

    def cost(self, solution: Solution) -> float:
        """Return the energy."""
        spin = self.decode(solution)
        return float(self.coupling @ (spin[self.i] * spin[self.j]))


@dataclass(frozen=True, eq=False)
class Lattice(SpinGlass):
    """An Edwards–Anderson spin glass.

    >>> cube = Lattice.generate(seed=1, shape=(4, 4, 4))
    >>> cube.num_spins, cube.coupling.size
    (64, 192)
    """

    name: ClassVar[str] = "lattice"
    small: ClassVar[Mapping[str, Any]] = {"shape": (3, 4)}

    @classmethod
    def generate(
        cls,
        *,
        seed: Seed,
        shape: int | Sequence[int] = (32, 32),
        periodic: bool = True,
        gaussian: bool = False,
    ) -> Lattice:
        """Return a hypercubic lattice of any dimension, its couplings ±1 or standard normal."""
        rng = np.random.default_rng(seed)
        lengths = [
            edges.whole("shape", length, least=1) for length in np.atleast_1d(shape).tolist()
        ]
        if not lengths:
            raise InputError("shape must hold at least one length")
        size = edges.whole("the number of spins", math.prod(lengths))
        i, j = edges.lattice_edges(lengths, periodic=periodic)
        return cls(size, i, j, _couplings(i.size, gaussian=gaussian, rng=rng))


@dataclass(frozen=True, eq=False)
class SherringtonKirkpatrick(SpinGlass):
    """A spin glass on the complete graph, not scaled: the paper's energy is ours over √num_spins.

    >>> SherringtonKirkpatrick.generate(seed=1, num_spins=5).coupling.size
    10
    """

    name: ClassVar[str] = "sk"
    small: ClassVar[Mapping[str, Any]] = {"num_spins": 9}

    @classmethod
    def generate(
        cls, *, seed: Seed, num_spins: int = 100, gaussian: bool = False
    ) -> SherringtonKirkpatrick:
        """Return couplings ±1 or normal on every pair (Sherrington and Kirkpatrick 1975)."""
        rng = np.random.default_rng(seed)
        size = edges.whole("num_spins", num_spins, least=1)
        i, j = edges.complete_edges(size)
        return cls(size, i, j, _couplings(i.size, gaussian=gaussian, rng=rng))


def _couplings(size: int, *, gaussian: bool, rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.standard_normal(size) if gaussian else edges.random_signs(size, rng=rng)
