"""Quadratic assignment, one-hot: facilities to sites so that flow times distance is least."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import dimod
import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from anneal.errors import InputError
from anneal.penalties import (
    assignment_penalty,
    measured_assignment_penalty,
    nonnegative_terms,
)
from anneal.problem import Problem, Sample, Seed, Solution, as_sample, sample_values
from anneal.problems import edges
from anneal.squares import Squares, joined

Matrix = NDArray[np.float64]
Permutation = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Assignment(Problem):
    """The QAP of Koopmans and Beckmann; a solution is a permutation p, facility i at site p_i.

    cost = Σ_ij flow_ij distance_{p_i p_j}, diagonals included, the matrices of any symmetry and
    sign. The variable of "facility i at site k" is the int i·n + k (an int, as dimod is fastest
    with those). Without a ``penalty`` the smallest that :func:`anneal.penalties.assignment_penalty`
    proves sufficient is taken; the attribute holds the one that applies. Raises
    :class:`~anneal.errors.InputError` for shapes other than (n, n), n ≥ 1, and for NaN, infinities
    and costs that overflow.

    >>> line = Assignment([[0, 3], [1, 0]], [[0, 2], [5, 0]])
    >>> line.cost([0, 1]), line.cost([1, 0])
    (11.0, 17.0)
    """

    flow: Matrix
    distance: Matrix
    penalty: float | None = None
    best_known: float | None = None

    name: ClassVar[str] = "assignment"
    small: ClassVar[Mapping[str, Any]] = {"num_facilities": 4}

    def __post_init__(self) -> None:
        for name, values in (("flow", self.flow), ("distance", self.distance)):
            matrix = edges.read_only(name, values, ndim=2)
            if matrix.shape[0] != matrix.shape[1] or not matrix.size:
                raise InputError(f"{name} must have shape (n, n), but has shape {matrix.shape}")
            object.__setattr__(self, name, matrix)
        if self.flow.shape != self.distance.shape:
            raise InputError(
                f"flow and distance must have the same shape, not {self.flow.shape} and "
                f"{self.distance.shape}"
            )
        # Every sum below is at most a few times n² of this product.
        scale = float(np.abs(self.flow).max()) * float(np.abs(self.distance).max())
        if not math.isfinite(scale * len(self.flow) ** 4):
            raise InputError("flow times distance is too large to add up")
        if self.penalty is None:
            object.__setattr__(self, "penalty", assignment_penalty(self.flow, self.distance))
        penalty = edges.number("penalty", self.penalty, least=0, most=1e300)
        if penalty == 0:
            raise InputError("penalty must be greater than 0")
        object.__setattr__(self, "penalty", penalty)

    def bqm(self) -> dimod.BinaryQuadraticModel:
        """Return the one-hot model: one site for each facility and one facility for each site.

        Products that no permutation has (one facility at two sites, two at one) carry the penalty
        alone.
        """
        return joined(*self.split())

    def split(self) -> tuple[dimod.BinaryQuadraticModel, Squares]:
        """Return the cost, and the squares of the rows and the columns."""
        flow, distance, linear, constant = nonnegative_terms(self.flow, self.distance)
        size = len(flow)
        i, j = np.nonzero(np.triu((flow != 0) | (flow.T != 0)))
        terms = flow[i, j, np.newaxis, np.newaxis] * distance
        terms += flow[j, i, np.newaxis, np.newaxis] * distance.T
        pair, k, site = np.nonzero(terms)
        model = dimod.BinaryQuadraticModel.from_numpy_vectors(
            linear.ravel(),
            (i[pair] * size + k, j[pair] * size + site, terms[pair, k, site]),
            constant,
            dimod.BINARY,
        )
        one, eye = np.ones((1, size)), scipy.sparse.eye_array(size)
        rows_and_columns = scipy.sparse.vstack(
            [scipy.sparse.kron(eye, one), scipy.sparse.kron(one, eye)]
        )
        # The constructor has replaced None.
        return model, Squares(rows_and_columns, right=1.0, penalty=cast(float, self.penalty))

    def encode(self, solution: Solution) -> dict[Hashable, int]:
        """Return the permutation matrix, row by row."""
        size = len(self.flow)
        matrix = np.zeros((size, size), dtype=np.int8)
        matrix[np.arange(size), self._permutation(solution)] = 1
        return as_sample(matrix.ravel(), range(size * size))

    def decode(self, sample: Sample) -> Permutation:
        """Return a permutation that keeps as many ones of ``sample`` as any.

        Ones alone in their row and column all stay. Among the ways to keep most of the others, and
        to fill what is empty, the one is taken that costs least beside those that stay.
        """
        ones = self._matrix(sample)
        alone = ones & (ones.sum(axis=1) == 1)[:, np.newaxis] & (ones.sum(axis=0) == 1)
        placed, where = np.nonzero(alone)
        cost = np.outer(np.diag(self.flow), np.diag(self.distance))
        cost += self.flow[:, placed] @ self.distance[:, where].T
        cost += self.flow[placed].T @ self.distance[where]
        rows, columns = np.flatnonzero(~alone.any(axis=1)), np.flatnonzero(~alone.any(axis=0))
        solution = np.empty(len(ones), dtype=np.int64)
        solution[placed] = where
        if rows.size:
            cost, ones = cost[np.ix_(rows, columns)], ones[np.ix_(rows, columns)]
            # Scaled so that all costs together weigh less than a single one kept.
            span = float(np.ptp(cost)) or 1.0
            cost = (cost - cost.min()) / span / (len(rows) + 1) - ones
            chosen, sites = linear_sum_assignment(cost)
            solution[rows[chosen]] = columns[sites]
        return solution

    def cost(self, solution: Solution) -> float:
        """Return Σ_ij flow_ij distance_{p_i p_j}."""
        order = self._permutation(solution)
        return float(np.sum(self.flow * self.distance[np.ix_(order, order)]))

    def feasible(self, sample: Sample) -> bool:
        """Return whether ``sample`` is a permutation matrix."""
        ones = self._matrix(sample)
        return bool(np.all(ones.sum(axis=0) == 1) and np.all(ones.sum(axis=1) == 1))

    def describe(self) -> dict[str, Any]:
        """Return the facts of any problem and the penalties: applied, sufficient, measured."""
        return super().describe() | {
            "num_facilities": len(self.flow),
            "penalty": self.penalty,
            "sufficient_penalty": assignment_penalty(self.flow, self.distance),
            "measured_penalty": measured_assignment_penalty(self.flow, self.distance),
        }

    def random_solution(self, rng: np.random.Generator) -> Permutation:
        """Return a uniform permutation."""
        return rng.permutation(len(self.flow))

    @classmethod
    def generate(
        cls,
        *,
        seed: Seed,
        num_facilities: int = 12,
        density: float = 0.7,
        penalty: float | None = None,
    ) -> Assignment:
        """Return an instance like Nugent's: Manhattan distances on a grid, flows 1 … 10 at random.

        Sites fill the rows of a grid ⌈√n⌉ wide; a pair of facilities has a flow with probability
        ``density``. Both matrices are symmetric.

        >>> Assignment.generate(seed=1, num_facilities=4).bqm().num_variables
        16
        """
        rng = np.random.default_rng(seed)
        size = edges.whole("num_facilities", num_facilities, least=1, most=1000)
        density = edges.number("density", density, least=0, most=1)
        row, column = np.divmod(np.arange(size), math.ceil(math.sqrt(size)))
        distance = np.abs(np.subtract.outer(row, row)) + np.abs(np.subtract.outer(column, column))
        chosen = rng.random((size, size)) < density
        flow = np.triu(chosen * rng.integers(1, 11, size=(size, size)), 1)
        return cls((flow + flow.T).astype(np.float64), distance.astype(np.float64), penalty)

    def _matrix(self, sample: Sample) -> NDArray[np.bool_]:
        size = len(self.flow)
        values = sample_values(sample, range(size * size), vartype=dimod.BINARY)
        return values.reshape(size, size).astype(np.bool_)

    def _permutation(self, solution: ArrayLike) -> Permutation:
        order, size = np.asarray(solution), len(self.flow)
        if order.shape != (size,) or not np.array_equal(np.sort(order), np.arange(size)):
            raise InputError(f"a solution must be a permutation of 0 … {size - 1}")
        return order.astype(np.int64)
