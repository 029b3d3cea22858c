"""Constraints that stay squares: Σ_r P_r (a_r·x − b_r)², never multiplied out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dimod
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from anneal.errors import InputError
from anneal.penalties import add_equalities

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Squares:
    """The energy Σ_r P_r (Σ_k a_rk x_k − b_r)² of x ∈ {0, 1}ⁿ.

    coefficients: (squares, n), dense or sparse, columns in the order of a model's variables; right:
    (squares,) or a number; penalty: the same, not negative. x is binary whatever the model is: of
    spins, x = (1 + s)/2. Multiplied out, a square of m variables couples m(m − 1)/2 pairs; kept, a
    flip costs as much as there are squares on its variable. Raises
    :class:`~anneal.errors.InputError` for other shapes and for numbers that are not finite.

    >>> one_of_three = Squares([[1, 1, 1]], right=1, penalty=2)
    >>> one_of_three.energies([[1, -1, -1], [1, 1, 1]]).tolist()
    [0.0, 8.0]
    """

    coefficients: sparse.csr_array
    right: Floats
    penalty: Floats

    def __init__(self, coefficients: Any, right: ArrayLike = 0.0, penalty: ArrayLike = 1.0) -> None:
        matrix = sparse.csr_array(coefficients, dtype=np.float64)
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        matrix.sort_indices()
        object.__setattr__(self, "coefficients", matrix)
        for name, values in (("right", right), ("penalty", penalty)):
            array = np.array(values, np.float64)
            if array.ndim and array.shape != matrix.shape[:1]:
                raise InputError(
                    f"{name} must be a number or of shape {matrix.shape[:1]}, not {array.shape}"
                )
            object.__setattr__(self, name, np.array(np.broadcast_to(array, matrix.shape[0])))
        if not all(np.isfinite(a).all() for a in (matrix.data, self.right, self.penalty)):
            raise InputError("a coefficient of the squares is NaN or infinite")
        if (self.penalty < 0).any():
            raise InputError("a penalty must not be negative")
        reach = np.abs(matrix).sum(axis=1) + np.abs(self.right)
        if not math.isfinite(float(self.penalty @ reach**2)):
            raise InputError("the squares are too large to add up")

    @property
    def num_spins(self) -> int:
        """n."""
        return int(self.coefficients.shape[1])

    @cached_property
    def amounts(self) -> sparse.csr_array:
        """a/2 (squares, n): with :attr:`constants`, the values of spins are c + a/2·s."""
        return sparse.csr_array(self.coefficients / 2)

    @cached_property
    def constants(self) -> Floats:
        """c = Σ_k a_rk/2 − b_r, (squares,)."""
        return np.asarray(self.amounts.sum(axis=1)).ravel() - self.right

    def values(self, states: ArrayLike) -> Floats:
        """Return what is squared, (reads, squares), of spins ±1 (reads, n)."""
        spins = np.atleast_2d(np.asarray(states, np.float64))
        return np.ascontiguousarray((self.amounts @ spins.T).T + self.constants)

    def energies(self, states: ArrayLike) -> Floats:
        """Return the energy of each of the spins ±1 (reads, n)."""
        return np.asarray(self.values(states) ** 2 @ self.penalty)

    def add_to(self, bqm: dimod.BinaryQuadraticModel) -> None:
        """Multiply out into ``bqm``, in place: every pair of variables of a square is coupled."""
        counted = np.flatnonzero(self.penalty)
        rows = self.coefficients[counted]
        add_equalities(bqm, rows, self.right[counted], penalty=self.penalty[counted])

    def field_spread(self) -> tuple[Floats, Floats]:
        """Return the bias and the mean square of the couplings' sum of each spin, both (n,)."""
        slope = 2 * self.amounts.multiply(self.penalty[:, np.newaxis]).T
        bias = np.asarray(slope @ self.constants).ravel()
        squares = self.amounts.multiply(self.amounts)
        total = np.asarray(squares.sum(axis=1)).ravel()
        steep = slope.multiply(slope)
        spread = steep @ total - np.asarray(steep.multiply(squares.T).sum(axis=1)).ravel()
        return bias, np.maximum(np.asarray(spread).ravel(), 0.0)


def joined(
    model: dimod.BinaryQuadraticModel, squares: Squares | None
) -> dimod.BinaryQuadraticModel:
    """Return ``model`` itself, with the squares multiplied out into it.

    >>> model = dimod.BinaryQuadraticModel({"a": 0, "b": 0}, {}, "BINARY")
    >>> float(joined(model, Squares([[1, 1]], right=1)).energy({"a": 1, "b": 1}))
    1.0
    """
    if squares is not None:
        squares.add_to(model)
    return model
