"""Presolve: a smaller problem with the same minimum, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from anneal.ising import Ising
from anneal.kernels.reduce import eliminate, restore


@dataclass(frozen=True, eq=False)
class Reduction:
    """``ising`` has the spins ``kept`` of the original; its energies are those of the best
    completions.

    >>> ising = Ising.from_arrays([0.0, 1.0, 0.0], [[0, 1, 0], [1, 0, 2], [0, 2, 0.0]])
    >>> reduction = reduce(ising)
    >>> reduction.ising.num_spins, reduction.ising.offset
    (0, -4.0)
    >>> reduction.expand(np.empty((1, 0), np.int8)).tolist()
    [[1, -1, 1]]
    """

    ising: Ising
    kept: NDArray[np.int64]
    num_spins: int
    rules: tuple[NDArray[Any], ...]

    def expand(self, states: NDArray[np.int8]) -> NDArray[np.int8]:
        """(reads, n) states of the original, of least energy given (reads, kept) states of the
        reduced problem.
        """
        whole = np.ones((len(states), self.num_spins), np.int8)
        whole[:, self.kept] = states
        order, *_ = self.rules
        restore(*self.rules, len(order), whole)
        return whole

    def restrict(self, states: NDArray[np.int8]) -> NDArray[np.int8]:
        """(reads, kept) of (reads, n)."""
        return np.ascontiguousarray(states[:, self.kept])


def reduce(ising: Ising) -> Reduction:
    """Eliminate, exactly and again and again, every spin with at most two neighbours.

    Trees and cycles vanish; a sparse random graph shrinks to the kernel of its 2-core. O(n +
    couplings).
    """
    csr = ising.csr()
    n = ising.num_spins
    indices, weights = csr.indices.astype(np.int64), csr.data.copy()
    biases, rules = ising.h.copy(), _rules(n)
    count, constant, alive = eliminate(
        csr.indptr.astype(np.int64), indices, weights, biases, *rules
    )
    rules = tuple(rule[:count].copy() for rule in rules)
    gone = np.zeros(n, bool)
    gone[rules[0]] = True
    kept = np.flatnonzero(~gone)
    place = np.cumsum(~gone) - 1
    rows = np.repeat(np.arange(n), np.diff(csr.indptr))[alive]
    columns = indices[alive]
    matrix = sparse.csr_array(
        sparse.coo_array(
            (weights[alive], (place[rows], place[columns])), shape=(len(kept), len(kept))
        )
    )
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return Reduction(Ising(biases[kept], matrix, ising.offset + constant), kept, n, rules)


def untouched(ising: Ising) -> Reduction:
    """Return the problem as it is, squares and all, with nothing to restore."""
    return Reduction(ising, np.arange(ising.num_spins), ising.num_spins, _rules(0))


def _rules(count: int) -> tuple[NDArray[Any], ...]:
    """Return room for so many rules."""
    shapes: list[Any] = [
        (count, np.int64), ((count, 2), np.int64), ((count, 2), float), (count, float)
    ]  # fmt: skip
    return tuple(np.empty(shape, kind) for shape, kind in shapes)
