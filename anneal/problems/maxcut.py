"""Maximum cut: part the vertices in two so that the weight of the edges between is greatest."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import dimod
import numpy as np
from numpy.typing import NDArray

from anneal.errors import InputError
from anneal.problem import Problem, Sample, Seed, Solution, Values, as_sample, sample_values
from anneal.problems import edges


@dataclass(frozen=True, eq=False)
class MaxCut(Problem):
    """A weighted graph; a solution is the side of each vertex, int8 −1 or +1.

    cut(s) = Σ_ij w_ij (1 − s_i s_j)/2, cost = −cut = energy. Parallel edges add up. Raises
    :class:`~anneal.errors.InputError` for loops, ends out of range and weights that are not finite.

    >>> triangle = MaxCut(3, [0, 0, 1], [1, 2, 2], [1, 1, 1])
    >>> triangle.cost([1, 1, -1])
    -2.0
    """

    num_vertices: int
    i: NDArray[np.integer[Any]]
    j: NDArray[np.integer[Any]]
    weight: NDArray[np.float64]
    best_known: float | None = None

    name: ClassVar[str] = "maxcut"
    small: ClassVar[Mapping[str, Any]] = {"num_vertices": 9, "density": 0.5}

    def __post_init__(self) -> None:
        edges.whole("num_vertices", self.num_vertices, least=1)
        i, j, weight = edges.check_edges(self.num_vertices, self.i, self.j, self.weight)
        object.__setattr__(self, "i", i)
        object.__setattr__(self, "j", j)
        object.__setattr__(self, "weight", weight)

    def bqm(self) -> dimod.BinaryQuadraticModel:
        """Return the spin model Σ w_ij s_i s_j / 2 − Σ w_ij / 2 over the vertices 0 … n−1."""
        return dimod.BinaryQuadraticModel.from_numpy_vectors(
            np.zeros(self.num_vertices),
            (self.i, self.j, self.weight / 2),
            float(-self.weight.sum() / 2),
            dimod.SPIN,
        )

    def encode(self, solution: Solution) -> dict[Hashable, int]:
        """Return vertex → side."""
        return as_sample(self.decode(solution), range(self.num_vertices))

    def decode(self, sample: Sample) -> Values:
        """Return the sides in the order of the vertices."""
        return sample_values(sample, range(self.num_vertices), vartype=dimod.SPIN)

    def cost(self, solution: Solution) -> float:
        """Return −cut."""
        side = self.decode(solution)
        return -float(self.weight[side[self.i] != side[self.j]].sum()) + 0.0

    @classmethod
    def generate(
        cls,
        *,
        seed: Seed,
        family: str = "random",
        num_vertices: int = 800,
        density: float = 0.06,
        degree: int = 3,
        signed: bool = False,
    ) -> MaxCut:
        """Return a random instance; the defaults are those of G-set's G1.

        ``family`` is ``random`` (every pair with probability ``density``), ``regular`` (``degree``
        neighbours each) or ``toroidal`` (a periodic grid, as square as ``num_vertices`` allows).
        Weights are 1, or ±1 at random where ``signed`` or toroidal, as in G-set (Helmberg and Rendl
        2000).

        >>> MaxCut.generate(seed=1, family="toroidal", num_vertices=12).weight.size
        24
        """
        rng = np.random.default_rng(seed)
        size = edges.whole("num_vertices", num_vertices, least=1)
        if family == "random":
            density = edges.number("density", density, least=0, most=1)
            i, j = edges.random_edges(size, density, rng=rng)
        elif family == "regular":
            i, j = edges.regular_edges(size, edges.whole("degree", degree), rng=rng)
        elif family == "toroidal":
            shape = edges.squarest(size)
            if shape[0] < 3:
                raise InputError(f"a torus of {size} vertices has fewer than 3 rows")
            i, j = edges.lattice_edges(shape, periodic=True)
        else:
            raise InputError(f"family must be random, regular or toroidal, not {family!r}")
        signed = signed or family == "toroidal"
        weight = edges.random_signs(i.size, rng=rng) if signed else np.ones(i.size)
        return cls(size, i, j, weight)
