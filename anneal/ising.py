"""Ising arrays: h·s + ½ sᵀJs + offset over s ∈ {−1, +1}ⁿ, to and from dimod, and their exact
energies.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import dimod
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from anneal.errors import InputError
from anneal.kernels.coefficients import fill_symmetric, row_sums
from anneal.kernels.energy import sparse_energies
from anneal.squares import Squares, joined

Couplings: TypeAlias = sparse.csr_array | NDArray[np.float64]
LARGEST_TOTAL = 1e300  # beyond this, sums on the way to an energy overflow
LARGEST_MULTIPLE = 2.0**30  # of a unit, to count as an integer
DENSE_ABOVE = 0.25  # stored as a matrix where more of the pairs than this are coupled


@dataclass(frozen=True, eq=False)
class Ising:
    """The arrays every kernel works on.

    h: (n,) float64. J: (n, n) float64, symmetric, zero diagonal, scipy CSR with sorted indices or a
    dense array. offset: float. squares: constraints whose energy is added. No array is changed once
    it is here: what is known of a matrix is kept.

    >>> ising = Ising.from_arrays([0.0, 0.0], [[0.0, 1.0], [1.0, 0.0]])
    >>> ising.energies([[1, 1], [1, -1]]).tolist()
    [1.0, -1.0]
    """

    h: NDArray[np.float64]
    J: Couplings
    offset: float = 0.0
    squares: Squares | None = None

    @property
    def num_spins(self) -> int:
        return len(self.h)

    @property
    def num_couplings(self) -> int:
        """Number of coupled pairs."""
        if isinstance(self.J, sparse.csr_array):
            return int(self.J.nnz) // 2
        return int(rows_of_matrix(self.J).coupled.sum()) // 2

    @property
    def density(self) -> float:
        """Fraction of the pairs that are coupled."""
        n = self.num_spins
        return 2.0 * self.num_couplings / (n * (n - 1)) if n > 1 else 0.0

    @classmethod
    def from_arrays(cls, h: Any, J: Any, offset: float = 0.0) -> Ising:
        """Check and take (n,) biases and (n, n) symmetric couplings, dense or scipy sparse.

        A diagonal J_ii s_i² = J_ii goes to the offset (half of it: the form is ½ sᵀJs).
        Raises InputError for shapes that do not fit, asymmetry, NaN and infinity.
        """
        h = np.array(h, dtype=np.float64)
        J = sparse.csr_array(J, dtype=np.float64) if sparse.issparse(J) else np.array(J, np.float64)
        if h.ndim != 1 or J.shape != (len(h), len(h)):
            raise InputError(
                f"h must have shape (n,) and J (n, n), but have {h.shape} and {J.shape}"
            )
        _refuse_not_finite(h, J.data if sparse.issparse(J) else J, np.array(offset))
        if abs(J - J.T).max() > 0 if len(h) else False:
            raise InputError("J must be symmetric: the energy is h·s + ½ sᵀJs")
        diagonal = J.diagonal()
        if diagonal.any():
            offset += float(diagonal.sum()) / 2
            J = J - sparse.diags_array(diagonal) if sparse.issparse(J) else J - np.diag(diagonal)
        if sparse.issparse(J):
            J = sparse.csr_array(J)
            J.eliminate_zeros()
            J.sort_indices()
        return cls(h, J, float(offset))

    @classmethod
    def from_pairs(
        cls, h: NDArray[Any], i: NDArray[Any], j: NDArray[Any], value: NDArray[Any], offset: float
    ) -> Ising:
        """Biases (n,) and distinct pairs i ≠ j, each once, with the coefficient of s_i·s_j."""
        n = len(h)
        if n and len(value) > DENSE_ABOVE * n * (n - 1) / 2:
            J = np.zeros((n, n))
            fill_symmetric(J, *map(np.ascontiguousarray, (i, j, value)))
            return cls(h, J, offset)
        ends = (np.concatenate([i, j]), np.concatenate([j, i]))
        both = sparse.coo_array((np.concatenate([value, value]), ends), shape=(n, n))
        matrix = sparse.csr_array(both)
        matrix.eliminate_zeros()
        matrix.sort_indices()
        return cls(h, matrix, offset)

    @classmethod
    def from_bqm(cls, bqm: dimod.BinaryQuadraticModel) -> Ising:
        """The same energies in spins, in the order of ``bqm.variables``; x = (1 + s)/2 for binary
        ones.

        a·x = a/2 + a/2·s and q·x·y = q/4·(1 + s + t + s·t), so integer coefficients stay exact
        (quarters). Raises InputError where a bias is NaN or infinite.
        """
        vectors: Any = bqm.to_numpy_vectors(bqm.variables)  # in this order: dimod sorts otherwise
        row, column, value = vectors.quadratic
        linear: NDArray[np.float64] = np.asarray(vectors.linear_biases, dtype=np.float64)
        value = np.asarray(value, dtype=np.float64)
        offset = float(vectors.offset)
        _refuse_not_finite(linear, value, np.array(offset))
        if bqm.vartype is dimod.BINARY:
            n = len(linear)
            ends = np.bincount(row, value, n) + np.bincount(column, value, n)
            offset += float(linear.sum()) / 2 + float(value.sum()) / 4
            linear, value = linear / 2 + ends / 4, value / 4
        return cls.from_pairs(linear, row, column, value, offset)

    def to_bqm(self, labels: Any = None) -> dimod.BinaryQuadraticModel:
        """A spin BQM in one vectorised step; variables are 0…n−1 or ``labels``."""
        i, j, value = self.pairs()
        return dimod.BinaryQuadraticModel.from_numpy_vectors(
            self.h, (i, j, value), self.offset, dimod.SPIN, variable_order=labels
        )

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Each coupled pair once: i < j and the coefficient of s_i·s_j."""
        upper = sparse.coo_array(sparse.triu(sparse.coo_array(self.J), k=1))
        return upper.row.astype(np.int64), upper.col.astype(np.int64), upper.data

    def csr(self) -> sparse.csr_array:
        """J in CSR form, whichever way it is stored."""
        return self.J if isinstance(self.J, sparse.csr_array) else sparse.csr_array(self.J)

    def dense(self) -> NDArray[np.float64]:
        """J as a matrix, whichever way it is stored."""
        dense: Any = self.J.toarray() if isinstance(self.J, sparse.csr_array) else self.J
        return np.asarray(dense, dtype=np.float64)

    def energies(self, samples: Any) -> NDArray[np.float64]:
        """The one evaluator: energies of samples (reads, n) of ±1, in float64, exact for integers
        below 2⁵³.
        """
        states = np.ascontiguousarray(np.atleast_2d(samples), dtype=np.int8)
        if states.shape[1] != self.num_spins:
            raise InputError(
                f"samples must have shape (reads, {self.num_spins}), have {states.shape}"
            )
        found = [self._energies(states[k : k + 64]) for k in range(0, len(states), 64)]
        if self.squares is not None and len(states):
            found = [np.concatenate(found) + self.squares.energies(states)]
        return np.concatenate([np.empty(0), *found]) + self.offset

    def _energies(self, states: NDArray[np.int8]) -> NDArray[np.float64]:
        if isinstance(self.J, sparse.csr_array):
            columns = np.ascontiguousarray(states.T)
            J = self.J
            return np.asarray(sparse_energies(J.indptr, J.indices, J.data, self.h, columns))
        spins = states.astype(np.float64)
        return np.asarray(np.einsum("ri,ri->r", spins, spins @ self.J / 2 + self.h))

    def largest_field(self) -> float:
        """``max_i |h_i| + Σ_j |J_ij|``: no local field is larger in absolute value."""
        if not self.num_spins:
            return 0.0
        if isinstance(self.J, sparse.csr_array):
            total = np.asarray(abs(self.J).sum(axis=1)).ravel()
        else:
            total = rows_of_matrix(self.J).total
        return float((np.abs(self.h) + total).max())


class MatrixRows(NamedTuple):
    """Of each row of a matrix: max |J_ij|, Σ_j |J_ij|, Σ_j J_ij² and how many are not 0."""

    strongest: NDArray[np.float64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]
    coupled: NDArray[np.float64]


_last_rows: tuple[weakref.ref[NDArray[np.float64]], MatrixRows] | None = None


def rows_of_matrix(J: NDArray[np.float64]) -> MatrixRows:
    """Return what is known of a matrix by one pass, which is not made twice for the last one.

    A matrix of 5,000 spins is 200 MB, and takes as long to read as a hundred thousand flips.
    """
    global _last_rows
    known = _last_rows
    if known is not None and known[0]() is J:
        return known[1]
    found = MatrixRows(*row_sums(np.ascontiguousarray(J)))
    _last_rows = weakref.ref(J), found
    return found


def multiplied_out(ising: Ising) -> Ising:
    """Return the same energies without squares."""
    if ising.squares is None:
        return ising
    return Ising.from_bqm(joined(ising.to_bqm(), ising.squares))


def integer_scale(*arrays: NDArray[np.float64], largest: float = LARGEST_MULTIPLE) -> float | None:
    """The largest c such that every entry divided by c is an integer, or None where none is found.

    Entries may be multiples of a common power of two or ten (0.25, 0.1, 1e6). The greatest common
    divisor is taken out. None where that gives integers above ``largest``, or none within nine
    decimals.

    >>> integer_scale(np.array([0.5, -1.5]))
    0.5
    >>> integer_scale(np.array([1.0, np.pi])) is None
    True
    """
    values = np.unique(np.concatenate([np.abs(a).ravel() for a in map(np.unique, arrays)]))
    values = values[values > 0]
    if not len(values):
        return 1.0
    for unit in [1.0, *(2.0**-k for k in range(1, 11)), *(10.0**-k for k in range(1, 10))]:
        multiples = values / unit
        whole = np.rint(multiples)
        if np.all(np.abs(multiples - whole) <= 1e-12 * np.maximum(whole, 1)) and whole[0] >= 1:
            if whole[-1] >= 2.0**53:
                return None
            divisor = int(np.gcd.reduce(whole.astype(np.int64)))
            return float(unit * divisor) if whole[-1] / divisor <= largest else None
    return None


def _refuse_not_finite(*arrays: NDArray[np.float64]) -> None:
    for array in arrays:
        if not np.isfinite(array).all():
            raise InputError("a coefficient is NaN or infinite")
        with np.errstate(over="ignore"):
            total = np.abs(array).sum()
        if total > LARGEST_TOTAL:
            raise InputError(f"the coefficients add up to more than {LARGEST_TOTAL:.0e}")
