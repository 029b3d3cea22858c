"""Colouring a graph with k colours so that as few edges as can be join vertices of one colour."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import dimod
import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from anneal.errors import InputError
from anneal.problem import Problem, Sample, Seed, Solution, as_sample, sample_values
from anneal.problems import edges
from anneal.squares import Squares, joined

Colours = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Colouring(Problem):
    """A graph and k colours, one-hot; a solution is the colour of each vertex, 0 … k−1.

    cost = number of edges whose ends have one colour: 0 where the graph can be coloured. The
    variable of "vertex v has colour c" is the int v·k + c. Without a ``penalty`` P for a vertex's
    (Σ_c x_vc − 1)² a sufficient one is taken: taking a second colour from a vertex costs nothing
    and saves P at least; then, giving a vertex without one the rarest colour among its d neighbours
    saves P and costs ⌊d/k⌋ at most. Raises :class:`~anneal.errors.InputError` for loops and ends
    out of range.

    >>> triangle = Colouring(3, [0, 0, 1], [1, 2, 2], num_colours=2)
    >>> triangle.cost([0, 1, 1])
    1.0
    """

    num_vertices: int
    i: NDArray[np.integer[Any]]
    j: NDArray[np.integer[Any]]
    num_colours: int
    penalty: float | None = None
    best_known: float | None = None

    name: ClassVar[str] = "colouring"
    small: ClassVar[Mapping[str, Any]] = {"num_vertices": 5, "density": 0.8}

    def __post_init__(self) -> None:
        edges.whole("num_vertices", self.num_vertices, least=1)
        edges.whole("num_colours", self.num_colours, least=1)
        edges.whole("the number of variables", self.num_vertices * self.num_colours)
        i, j, _ = edges.check_edges(self.num_vertices, self.i, self.j, np.ones(np.size(self.i)))
        degrees = np.bincount(np.concatenate([i, j]), minlength=self.num_vertices)
        sufficient = int(degrees.max()) // self.num_colours + 1
        penalty = edges.positive("penalty", sufficient if self.penalty is None else self.penalty)
        for name, value in (("i", i), ("j", j), ("penalty", penalty)):
            object.__setattr__(self, name, value)

    def bqm(self) -> dimod.BinaryQuadraticModel:
        """Return Σ_edges Σ_c x_uc x_vc, and P (Σ_c x_vc − 1)² of every vertex."""
        return joined(*self.split())

    def split(self) -> tuple[dimod.BinaryQuadraticModel, Squares]:
        """Return the number of edges of one colour, and the squares of the vertices."""
        size, colours = self.num_vertices, np.arange(self.num_colours)
        ends = [
            (end[:, np.newaxis].astype(np.int64) * self.num_colours + colours).ravel()
            for end in (self.i, self.j)
        ]
        model = dimod.BinaryQuadraticModel.from_numpy_vectors(
            np.zeros(size * self.num_colours), (*ends, np.ones(len(ends[0]))), 0.0, dimod.BINARY
        )
        rows = scipy.sparse.kron(scipy.sparse.eye_array(size), np.ones((1, self.num_colours)))
        return model, Squares(rows, right=1.0, penalty=float(self.penalty or 0))

    def encode(self, solution: Solution) -> dict[Hashable, int]:
        """Return the one-hot matrix, vertex by vertex."""
        matrix = np.zeros((self.num_vertices, self.num_colours), np.int8)
        matrix[np.arange(self.num_vertices), self._colours(solution)] = 1
        return as_sample(matrix.ravel(), range(matrix.size))

    def decode(self, sample: Sample) -> Colours:
        """Return a colour of each vertex: the one it has, where it has one.

        The others follow in their order: of the colours that a vertex has, or of all where it has
        none, it gets the first of those that fewest of its coloured neighbours have.
        """
        matrix = self._matrix(sample)
        colours = np.where(matrix.sum(axis=1) == 1, matrix.argmax(axis=1), -1)
        left = np.flatnonzero(colours < 0)
        if left.size:
            start, near = self._neighbours()
        for vertex in left:
            known = colours[near[start[vertex] : start[vertex + 1]]]
            clashes = np.bincount(known[known >= 0], minlength=self.num_colours)
            allowed = np.flatnonzero(matrix[vertex] == matrix[vertex].max())
            colours[vertex] = allowed[np.argmin(clashes[allowed])]
        return colours

    def cost(self, solution: Solution) -> float:
        """Return the number of edges whose ends have one colour."""
        colours = self._colours(solution)
        return float(np.count_nonzero(colours[self.i] == colours[self.j]))

    def feasible(self, sample: Sample) -> bool:
        """Return whether every vertex has one colour."""
        return bool(np.all(self._matrix(sample).sum(axis=1) == 1))

    def describe(self) -> dict[str, Any]:
        """Return the facts of any problem, numbers of vertices and colours, and the penalty."""
        return super().describe() | {
            "num_vertices": self.num_vertices,
            "num_colours": self.num_colours,
            "penalty": self.penalty,
        }

    def random_solution(self, rng: np.random.Generator) -> Colours:
        """Return uniform colours."""
        return rng.integers(self.num_colours, size=self.num_vertices)

    @classmethod
    def generate(
        cls,
        *,
        seed: Seed,
        num_vertices: int = 100,
        num_colours: int = 3,
        density: float = 0.07,
        planted: bool = True,
        penalty: float | None = None,
    ) -> Colouring:
        """Return a random graph; where ``planted``, one that can be coloured.

        Every pair is an edge with probability ``density``; where planted, every pair of different
        colours in a hidden colouring with parts of one size (Krzakala and Zdeborová 2009). The
        default is near the mean degree 4.69 at which random graphs lose their 3-colourings.

        >>> Colouring.generate(seed=1, num_vertices=12).best_known
        0.0
        """
        rng = np.random.default_rng(seed)
        size = edges.whole("num_vertices", num_vertices, least=1)
        colours = edges.whole("num_colours", num_colours, least=1)
        density = edges.number("density", density, least=0, most=1)
        i, j = edges.random_edges(size, density, rng=rng)
        if planted:
            hidden = rng.permutation(np.arange(size) % colours)
            kept = hidden[i] != hidden[j]
            i, j = i[kept], j[kept]
        return cls(size, i, j, colours, penalty, 0.0 if planted else None)

    def _neighbours(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where the neighbours of each vertex begin, and all of them."""
        ends = np.concatenate([self.i, self.j]).astype(np.int64)
        others = np.concatenate([self.j, self.i]).astype(np.int64)
        counts = np.bincount(ends, minlength=self.num_vertices)
        return np.concatenate([[0], np.cumsum(counts)]), others[np.argsort(ends, kind="stable")]

    def _matrix(self, sample: Sample) -> NDArray[np.int8]:
        size = self.num_vertices * self.num_colours
        values = sample_values(sample, range(size), vartype=dimod.BINARY)
        return values.reshape(self.num_vertices, self.num_colours)

    def _colours(self, solution: ArrayLike) -> Colours:
        colours = np.asarray(solution)
        if (
            colours.shape != (self.num_vertices,)
            or not np.issubdtype(colours.dtype, np.integer)
            or colours.min() < 0
            or colours.max() >= self.num_colours
        ):
            raise InputError(
                f"a solution must be {self.num_vertices} colours of 0 … {self.num_colours - 1}"
            )
        return colours.astype(np.int64)
