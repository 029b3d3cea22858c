"""Layouts: the arrays and the number type in which a problem's kernel wants it.

:func:`choose_layout` decides once, by the numbers and the density; ``layout.replicas(rng)`` makes
states that threads may anneal side by side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from anneal.ising import LARGEST_MULTIPLE, Couplings, Ising, integer_scale, rows_of_matrix
from anneal.kernels.coefficients import multiples, scale_rows, survey
from anneal.replicas import DenseReplicas, SparseReplicas

ROWS_ABOVE = 0.08  # from this density on, a row of J at a time beats replica lanes
SMALL = 96  # below this many spins the lanes win at any density
ROW_RATE = 64  # coefficients of a row in a nanosecond, a visit in two of which is a flip
DISTINCT = 2**13  # room for half as many sizes that differ
SAMPLED = 1000  # coefficients, which show whether there can be a common unit
DENSE_BYTES = 2**32  # no dense matrix beyond this


@dataclass(frozen=True, eq=False)
class Numbers:
    """A problem in units of ``scale``: integers where the coefficients have a common unit, else
    floats near 1.
    """

    scale: float
    whole: bool
    largest_field: float
    largest: float
    smallest: float

    @classmethod
    def of(cls, h: NDArray[np.float64], J: Couplings) -> Numbers:
        values = J.data if isinstance(J, sparse.csr_array) else J
        scale, top, least = unit_of(h, values)
        largest = Ising(np.abs(h).max(axis=0), J).largest_field()
        if scale is not None and largest / scale < 2**28:
            return cls(scale, True, largest / scale, top / scale, 1.0)
        return cls(top, False, largest / top, 1.0, least / top)

    def doubled(self) -> Numbers:
        """The same in half the unit."""
        return Numbers(
            self.scale / 2, self.whole, 2 * self.largest_field, 2 * self.largest, self.smallest
        )

    def lane_type(self) -> np.dtype[Any]:
        """The first type that holds every half field: int8, int16, int32, or float32, float64."""
        if not self.whole:
            return self.row_type()
        for candidate in (np.int8, np.int16):
            top = np.iinfo(candidate).max
            if self.largest <= top and self.largest_field <= 2 * (top - 1):
                return np.dtype(candidate)
        return np.dtype(np.int32)

    def row_type(self) -> np.dtype[Any]:
        """The first type that holds every field of a row: int32, float32 or float64."""
        if self.whole:
            return np.dtype(np.int32)
        wide = self.smallest * 2**20 < self.largest_field
        return np.dtype(np.float64 if wide else np.float32)

    def convert(self, values: NDArray[Any], kind: Any) -> NDArray[Any]:
        """In units of the scale."""
        scaled = values / self.scale
        return (np.rint(scaled) if self.whole else scaled).astype(kind)


class SparseLayout:
    """Rows of lanes, one spin of all replicas in 64 bytes; h: (m, n) of m problems that share J.

    Integers of m problems whose fields differ in parity are doubled: then all are even.
    """

    effort = 1  # what a visit costs, in about a nanosecond of each replica
    hand_over = 1.5e-8  # seconds a spin of a replica, to take the states out and compare them
    idle_sweeps = 1  # without a flip, of a descent: then it is at an end

    def __init__(self, h: NDArray[np.float64], J: Couplings, numbers: Numbers) -> None:
        h = np.atleast_2d(h)
        csr = sparse.csr_array(J)
        self.num_spins = h.shape[1]
        self.parity = np.zeros(self.num_spins, np.int8)
        if numbers.whole:
            sums = numbers.convert(h, np.int64) + numbers.convert(csr.sum(axis=1), np.int64)
            odd = (sums % 2).astype(np.int8)
            if (odd == odd[0]).all():
                self.parity = odd[0]
            else:
                numbers = numbers.doubled()
        self.numbers = numbers
        self.kind = numbers.lane_type()
        self.lanes = 64 // self.kind.itemsize
        self.indptr = csr.indptr.astype(np.int64)
        self.indices = csr.indices.astype(np.int32)
        self.weights = numbers.convert(csr.data, self.kind)
        self.biases = numbers.convert(h[0], self.kind)
        sums = csr.sum(axis=1) / numbers.scale
        self.row_sums = np.rint(sums).astype(np.int64) if numbers.whole else sums

    def replicas(self, rng: np.random.Generator, **options: Any) -> SparseReplicas:
        return SparseReplicas(self, rng, **options)


class DenseLayout:
    """The coupling matrix in the narrowest type, one replica after the other."""

    lanes = 4  # replicas that share one table of thresholds
    hand_over = 1.5e-8
    idle_sweeps = 1

    def __init__(self, h: NDArray[np.float64], J: Couplings, numbers: Numbers) -> None:
        h = np.atleast_2d(h)
        self.numbers = numbers
        self.kind = numbers.row_type()
        self.num_spins = h.shape[1]
        self.effort = max(1, self.num_spins // ROW_RATE)
        step = 64 // self.kind.itemsize
        self.width = -(-self.num_spins // step) * step
        dense = J.toarray() if isinstance(J, sparse.csr_array) else np.ascontiguousarray(J)
        narrow = self.kind
        if numbers.whole:
            top = rows_of_matrix(dense).strongest.max(initial=0) / numbers.scale
            narrow = np.dtype(np.int8 if top < 128 else np.int16 if top < 2**15 else np.int32)
        self.matrix = np.zeros((self.num_spins, self.width), narrow)
        scale_rows(dense, numbers.scale, numbers.whole, self.matrix)
        self.biases = np.full(self.width, -(2**30), self.kind)  # a pad that no move ever picks
        self.biases[: self.num_spins] = numbers.convert(h[0], self.kind)

    def replicas(self, rng: np.random.Generator, **options: Any) -> DenseReplicas:
        return DenseReplicas(self, rng, **options)


Layout = SparseLayout | DenseLayout


def choose_layout(
    h: NDArray[np.float64],
    J: Couplings,
    *,
    lanes_only: bool = False,
    numbers: Numbers | None = None,
) -> Layout:
    """Lanes for sparse or small problems, rows for dense ones; h: (n,) or (m, n) of m problems that
    share J. numbers: theirs, where they are known.
    """
    h = np.atleast_2d(h)
    n = h.shape[1]
    numbers = numbers or Numbers.of(h, J)
    rows = n > SMALL and Ising(h[0], J).density > ROWS_ABOVE and n * n * 4 < DENSE_BYTES
    return DenseLayout(h, J, numbers) if rows and not lanes_only else SparseLayout(h, J, numbers)


def unit_of(*arrays: NDArray[np.float64]) -> tuple[float | None, float, float]:
    """The common unit, see :func:`anneal.ising.integer_scale`, the largest size and one that none
    above 0 is below.

    Of many numbers the unit of a few is tried on all, which is quicker than looking for theirs.

    >>> unit_of(np.array([3.0, -1.5, 0.0]))
    (1.5, 3.0, 1.5)
    """
    flat = [np.ascontiguousarray(array, dtype=np.float64).ravel() for array in arrays]
    few = [values[:: max(1, values.size // SAMPLED)] for values in flat]
    unit = integer_scale(*few) if any(values.any() for values in few) else None
    if unit is not None:
        found = [multiples(values, unit) for values in flat]
        top = max((largest for _, largest in found), default=0.0)
        if all(whole for whole, _ in found) and top / unit <= LARGEST_MULTIPLE:
            return unit, top, unit
    sizes, top, least = sizes_of(*flat)
    return None if sizes is None else integer_scale(sizes), top, least


def sizes_of(*arrays: NDArray[np.float64]) -> tuple[NDArray[np.float64] | None, float, float]:
    """The sorted distinct sizes above 0, or None where they are many and have no common unit; the
    largest, and the least of them.

    >>> sizes_of(np.array([2.0, -1.0, 2.0]))
    (array([1., 2.]), 2.0, 1.0)
    """
    slots = np.zeros(DISTINCT, np.uint64)
    flat = [np.ascontiguousarray(array, dtype=np.float64).ravel() for array in arrays]
    count, top, least = 0, 0.0, math.inf
    for values in flat:
        count, largest, smallest = survey(values, slots, count)
        top, least = max(top, float(largest)), min(least, float(smallest))
    if count >= 0:
        return np.sort(slots[slots > 0].view(np.float64)), top, least
    if integer_scale(*(values[:: max(1, values.size // SAMPLED)] for values in flat)) is None:
        return None, top, least
    sizes = np.unique(np.abs(np.concatenate([np.unique(values) for values in flat])))
    return sizes[sizes > 0], top, least
