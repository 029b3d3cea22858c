"""Maximum independent set: the heaviest set of vertices of which no two are neighbours."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import dimod
import numpy as np
from numpy.typing import ArrayLike, NDArray

from anneal.errors import InputError
from anneal.problem import Problem, Sample, Seed, Solution, Values, as_sample, sample_values
from anneal.problems import edges


@dataclass(frozen=True, eq=False)
class IndependentSet(Problem):
    """A graph with weights of its vertices; a solution is which are in the set, int8 0 or 1.

    cost = −Σ_v w_v x_v. An edge whose ends are both in the set pays a little more than the lighter
    of them weighs, so leaving that one out is always better: ground states are independent, and
    the penalties are as small as that allows (Lucas 2014, section 4.2, with weights). ``weight`` is
    1 unless given. Raises :class:`~anneal.errors.InputError` for loops, ends out of range, and
    weights that are negative or not finite.

    >>> path = IndependentSet(3, [0, 1], [1, 2])
    >>> path.cost([1, 0, 1])
    -2.0
    """

    num_vertices: int
    i: NDArray[np.integer[Any]]
    j: NDArray[np.integer[Any]]
    weight: NDArray[np.float64] | None = None
    best_known: float | None = None

    name: ClassVar[str] = "independent-set"
    small: ClassVar[Mapping[str, Any]] = {"num_vertices": 9, "density": 0.4}

    def __post_init__(self) -> None:
        size = edges.whole("num_vertices", self.num_vertices, least=1)
        i, j, _ = edges.check_edges(size, self.i, self.j, np.ones(np.size(self.i)))
        weight = edges.read_only("weight", np.ones(size) if self.weight is None else self.weight)
        if weight.shape != (size,) or weight.min() < 0:
            raise InputError(f"weight must be {size} numbers, none negative")
        for name, value in (("i", i), ("j", j), ("weight", weight)):
            object.__setattr__(self, name, value)

    def bqm(self) -> dimod.BinaryQuadraticModel:
        """Return −Σ_v w_v x_v + Σ_uv P_uv x_u x_v over the vertices 0 … n−1."""
        return dimod.BinaryQuadraticModel.from_numpy_vectors(
            -self._weights, (self.i, self.j, self._penalties()), 0.0, dimod.BINARY
        )

    def encode(self, solution: Solution) -> dict[Hashable, int]:
        """Return vertex → whether it is in the set."""
        return as_sample(self._members(solution), range(self.num_vertices))

    def decode(self, sample: Sample) -> Values:
        """Return an independent set within the sample's.

        While there are neighbours in it, the vertex is left out whose leaving lowers the energy
        most; the first of equals.
        """
        inside = sample_values(sample, range(self.num_vertices), vartype=dimod.BINARY)
        penalties = self._penalties()
        while (clash := (inside[self.i] & inside[self.j]).astype(bool)).any():
            i, j, paid = self.i[clash], self.j[clash], penalties[clash]
            gain = np.bincount(i, paid, self.num_vertices)
            gain += np.bincount(j, paid, self.num_vertices)
            inside[np.argmax(np.where(gain > 0, gain - self._weights, -np.inf))] = 0
        return inside

    def cost(self, solution: Solution) -> float:
        """Return minus the weight of the set."""
        return -float(self._weights @ self._members(solution)) + 0.0

    def feasible(self, sample: Sample) -> bool:
        """Return whether no two vertices of the set are neighbours."""
        inside = sample_values(sample, range(self.num_vertices), vartype=dimod.BINARY)
        return not (inside[self.i] & inside[self.j]).any()

    @classmethod
    def generate(
        cls, *, seed: Seed, num_vertices: int = 100, density: float = 0.1, weighted: bool = False
    ) -> IndependentSet:
        """Return a graph in which every pair is an edge with probability ``density``.

        Weights are 1, or 1 … 100 at random where ``weighted``.

        >>> IndependentSet.generate(seed=1, num_vertices=5, density=1.0).i.size
        10
        """
        rng = np.random.default_rng(seed)
        size = edges.whole("num_vertices", num_vertices, least=1)
        i, j = edges.random_edges(size, edges.number("density", density, least=0, most=1), rng=rng)
        weight = rng.integers(1, 101, size=size).astype(np.float64) if weighted else None
        return cls(size, i, j, weight)

    @property
    def _weights(self) -> NDArray[np.float64]:
        assert self.weight is not None, "the constructor fills in ones"
        return self.weight

    def _penalties(self) -> NDArray[np.float64]:
        """Return the next whole number above the lighter end of each edge, or 1/1024 more."""
        lighter = np.minimum(self._weights[self.i], self._weights[self.j])
        if np.all(self._weights == np.floor(self._weights)):
            return np.asarray(lighter + 1)
        return np.where(lighter > 0, lighter * (1 + 2.0**-10), 1.0)

    def _members(self, solution: ArrayLike) -> Values:
        inside = sample_values(solution, range(self.num_vertices), vartype=dimod.BINARY)
        if not self.feasible(inside):
            raise InputError("a solution must be an independent set, but holds neighbours")
        return inside
