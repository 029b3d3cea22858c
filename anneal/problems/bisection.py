"""Graph bisection: two halves of a graph with as little weight between them as can be."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import dimod
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from anneal.errors import InputError
from anneal.penalties import above
from anneal.problem import Problem, Sample, Seed, Solution, Values, as_sample, sample_values
from anneal.problems import edges
from anneal.problems.maxcut import MaxCut
from anneal.squares import Squares, joined


@dataclass(frozen=True, eq=False)
class GraphBisection(Problem):
    """Two halves of a weighted graph; a solution is the half of each vertex, int8 0 or 1.

    cost = Σ_ij w_ij [x_i ≠ x_j]; as many vertices are in one half as in the other, or one more.
    Without a ``penalty`` P for the balance a sufficient one is taken: bringing one vertex over from
    the larger half changes the cut by its Σ|w| at most, and lowers (Σ x − n/2)² by 1 at least, as d
    more than n/2 becomes d − 1 more (Lucas 2014, section 2.2). Raises
    :class:`~anneal.errors.InputError` as :class:`~anneal.problems.maxcut.MaxCut` does.

    >>> path = GraphBisection(4, [0, 1, 2], [1, 2, 3], [1, 1, 1])
    >>> path.cost([0, 0, 1, 1])
    1.0
    """

    num_vertices: int
    i: NDArray[np.integer[Any]]
    j: NDArray[np.integer[Any]]
    weight: NDArray[np.float64]
    penalty: float | None = None
    best_known: float | None = None

    name: ClassVar[str] = "bisection"
    small: ClassVar[Mapping[str, Any]] = {"num_vertices": 9, "density": 0.5}

    def __post_init__(self) -> None:
        edges.whole("num_vertices", self.num_vertices, least=1)
        i, j, weight = edges.check_edges(self.num_vertices, self.i, self.j, self.weight)
        given = self._sufficient_penalty(i, j, weight) if self.penalty is None else self.penalty
        penalty = edges.positive("penalty", given)
        for name, value in (("i", i), ("j", j), ("weight", weight), ("penalty", penalty)):
            object.__setattr__(self, name, value)

    def bqm(self) -> dimod.BinaryQuadraticModel:
        """Return the cut, and the penalty P (Σ x − n/2)², less the P/4 that an odd n pays anyway.

        Variables: x_v of the vertices 0 … n−1. The square couples every pair.
        """
        return joined(*self.split())

    def split(self) -> tuple[dimod.BinaryQuadraticModel, Squares]:
        """Return the cut and the square of the balance."""
        linear = np.bincount(self.i, self.weight, self.num_vertices)
        linear += np.bincount(self.j, self.weight, self.num_vertices)
        penalty = float(self.penalty or 0)
        model = dimod.BinaryQuadraticModel.from_numpy_vectors(
            linear,
            (self.i, self.j, -2 * self.weight),
            -penalty / 4 * (self.num_vertices % 2),
            dimod.BINARY,
        )
        return model, Squares(np.ones((1, self.num_vertices)), self.num_vertices / 2, penalty)

    def encode(self, solution: Solution) -> dict[Hashable, int]:
        """Return vertex → half."""
        return as_sample(self._halves(solution), range(self.num_vertices))

    def decode(self, sample: Sample) -> Values:
        """Return the halves; where they are not equal, vertices come over that cut the least.

        They come one by one, the first of those that cut as little.
        """
        halves = sample_values(sample, range(self.num_vertices), vartype=dimod.BINARY)
        spins = 2 * halves.astype(np.int64) - 1
        if abs(excess := int(spins.sum())) <= 1:
            return halves
        side = 1 if excess > 0 else -1
        size = self.num_vertices
        upper = sparse.csr_array((self.weight, (self.i, self.j)), shape=(size, size))
        graph = sparse.csr_array(upper + upper.T)
        # What the cut grows by when a vertex comes over: its weight within less that across.
        growth = np.where(spins == side, spins * (graph @ spins), np.inf)
        for _ in range(abs(excess) // 2):
            vertex = int(np.argmin(growth))
            halves[vertex] ^= 1
            growth[vertex] = np.inf
            near = slice(graph.indptr[vertex], graph.indptr[vertex + 1])
            growth[graph.indices[near]] -= 2 * graph.data[near]
        return halves

    def cost(self, solution: Solution) -> float:
        """Return the weight between the halves."""
        halves = self._halves(solution)
        return float(self.weight[halves[self.i] != halves[self.j]].sum())

    def feasible(self, sample: Sample) -> bool:
        """Return whether the halves are equal, or differ by the odd vertex."""
        halves = sample_values(sample, range(self.num_vertices), vartype=dimod.BINARY)
        return self._balanced(halves)

    def describe(self) -> dict[str, Any]:
        """Return the facts of any problem and the penalty."""
        return super().describe() | {"penalty": self.penalty}

    @classmethod
    def generate(
        cls,
        *,
        seed: Seed,
        family: str = "random",
        num_vertices: int = 200,
        density: float = 0.05,
        degree: int = 3,
        penalty: float | None = None,
    ) -> GraphBisection:
        """Return a random graph of a family of :meth:`MaxCut.generate`, all weights 1 or, on a
        torus, ±1.

        >>> GraphBisection.generate(seed=1, family="regular", num_vertices=8).weight.size
        12
        """
        graph = MaxCut.generate(
            seed=seed, family=family, num_vertices=num_vertices, density=density, degree=degree
        )
        return cls(graph.num_vertices, graph.i, graph.j, graph.weight, penalty)

    def _sufficient_penalty(
        self, i: NDArray[np.integer[Any]], j: NDArray[np.integer[Any]], weight: NDArray[np.float64]
    ) -> float:
        size = np.abs(weight)
        degree = np.bincount(i, size, self.num_vertices) + np.bincount(j, size, self.num_vertices)
        return above(float(degree.max()), whole=bool(np.all(weight == np.floor(weight))))

    def _balanced(self, halves: Values) -> bool:
        return abs(2 * int(halves.sum()) - len(halves)) <= 1

    def _halves(self, solution: ArrayLike) -> Values:
        halves = sample_values(solution, range(self.num_vertices), vartype=dimod.BINARY)
        if not self._balanced(halves):
            raise InputError(
                f"a solution must have halves of one size, but {int(halves.sum())} of "
                f"{self.num_vertices} vertices are in the second"
            )
        return halves
