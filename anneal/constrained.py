"""Replicas of an Ising problem whose constraints are kept as squares.

They are annealed as all others (:mod:`anneal.replicas`), in one number type: float64 in units of a
power of two, which loses nothing of integers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from anneal.control import Control
from anneal.ising import DENSE_ABOVE, Couplings, Ising
from anneal.kernels.squares import move_costs, squares_anneal
from anneal.layouts import DENSE_BYTES, Numbers
from anneal.replicas import Replicas, random_states
from anneal.squares import Squares


class SquaresLayout:
    """J as a matrix or CSR, and which squares each spin is in; h: (m, n) of m problems."""

    lanes = 1
    effort = 256  # a flip and an exchange, in nanoseconds
    hand_over = 1.5e-8
    idle_sweeps = 10  # a sweep draws about half of what can be crossed, so ten miss hardly any
    kind = np.dtype(np.float64)

    def __init__(self, h: NDArray[np.float64], J: Couplings, squares: Squares) -> None:
        h = np.atleast_2d(h)
        self.num_spins = h.shape[1]
        largest = _largest_field(h, J, squares)
        unit = 2.0 ** math.floor(math.log2(largest)) if largest else 1.0
        self.numbers = Numbers(unit, False, largest / unit, 1.0, 0.0)
        self.squares = squares
        csr = sparse.csr_array(J)
        csr.sort_indices()
        self.J = csr / unit
        self.indptr, self.indices = self.J.indptr.astype(np.int64), self.J.indices.astype(np.int32)
        n = self.num_spins
        full = 2 * Ising(h[0], J).num_couplings > DENSE_ABOVE * n * n and n * n * 8 < DENSE_BYTES
        self.dense = self.J.toarray() if full else np.empty((0, 0))
        self.biases = h[0] / unit
        by_spin = sparse.csr_array(squares.amounts.T)
        by_spin.sort_indices()
        self.first, self.square = by_spin.indptr.astype(np.int64), by_spin.indices.astype(np.int32)
        self.amount = by_spin.data
        self.penalty = squares.penalty / unit
        self.start = squares.amounts.indptr.astype(np.int64)
        self.spin_of_entry = np.repeat(np.arange(n, dtype=np.int32), np.diff(self.first))
        self.keys, self.crossings = self._crossings()

    def replicas(self, rng: np.random.Generator, **options: Any) -> SquaresReplicas:
        return SquaresReplicas(self, rng, **options)

    def _crossings(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Pairs of squares as r·R + q, r < q, sorted, and the spin that each pair has alone.

        Empty where two spins have the same two squares, or none has two: nothing crosses then.
        """
        spins = np.flatnonzero(np.diff(self.first) == 2)
        first = self.first[spins]
        keys = self.square[first].astype(np.int64) * len(self.penalty) + self.square[first + 1]
        order = np.argsort(keys)
        keys = keys[order]
        if (np.diff(keys) == 0).any():
            return keys[:0], spins[:0].astype(np.int32)
        return keys, spins[order].astype(np.int32)


class SquaresReplicas(Replicas):
    """One state a lane; ``biases`` (lanes, n) may give each its own linear terms."""

    def __init__(
        self,
        layout: SquaresLayout,
        rng: np.random.Generator,
        *,
        spins: NDArray[np.int8] | None = None,
        biases: NDArray[Any] | None = None,
        gibbs: bool = False,
        shuffled: bool = False,
    ) -> None:
        super().__init__(layout, rng, gibbs, shuffled)
        shape, entries = (layout.lanes, layout.num_spins), (layout.lanes, len(layout.square))
        self.biases = np.broadcast_to(layout.biases if biases is None else biases, shape)
        self.entries, self.places, self.members = (np.empty(entries, np.int32) for _ in range(3))
        self.ups = np.empty((layout.lanes, len(layout.penalty)), np.int32)
        self.set_states(random_states(rng, *shape) if spins is None else spins)

    def set_states(self, states: NDArray[np.int8]) -> None:
        """Take (lanes, n) states; fields, values and lists follow."""
        self._take(states)
        self.best, self.least = self.spins.copy(), self._energies()

    def _take(self, states: NDArray[np.int8]) -> None:
        layout = self.layout
        self.spins = np.array(states, np.int8, order="C")
        for lane, spins in enumerate(self.spins):
            up = spins[layout.spin_of_entry] > 0
            order = np.lexsort((~up, layout.square))
            self.entries[lane], self.members[lane] = order, layout.spin_of_entry[order]
            self.places[lane, order] = np.arange(len(order))
            self.ups[lane] = np.bincount(layout.square, up, len(layout.penalty))
        self.refresh()

    def refresh(self) -> None:
        """Fields and values from scratch."""
        coupled = (self.layout.J @ self.spins.T.astype(np.float64)).T
        self.fields = np.ascontiguousarray(self.biases + coupled)
        self.values = self.layout.squares.values(self.spins)

    def states(self) -> NDArray[np.int8]:
        """(lanes, n) int8."""
        return self.spins.copy()

    def energies(self) -> NDArray[np.float64]:
        """(lanes,), in the problem's unit, without its offset."""
        return self._energies() * self.scale

    def _energies(self) -> NDArray[np.float64]:
        linear = np.einsum("ri,ri->r", self.spins, self.fields + self.biases) / 2
        return np.asarray(linear + self.values**2 @ self.layout.penalty)

    def local_fields(self) -> NDArray[np.float64]:
        """(lanes, 2, n) in the problem's unit: half of what flips and exchanges cost."""
        layout = self.layout
        costs = np.empty((layout.lanes, 2, layout.num_spins))
        move_costs(
            layout.indptr, layout.indices, layout.J.data, layout.dense, layout.first,
            layout.square, layout.amount, layout.penalty, layout.start, layout.keys,
            layout.crossings, self.members, self.ups, self.spins, self.fields, self.values, costs,
            self.state,
        )  # fmt: skip
        return costs * self.scale

    def _sweeps(self, quantiles: Any, temperatures: Any, num_sweeps: int, order: Any) -> int:
        layout = self.layout
        flips = squares_anneal(
            layout.indptr, layout.indices, layout.J.data, layout.dense, layout.first,
            layout.square, layout.amount, layout.penalty, layout.start, layout.keys,
            layout.crossings, self.entries, self.places, self.members, self.ups, self.spins,
            self.fields, self.values, self._energies(), self.least, self.best, order, quantiles,
            temperatures, num_sweeps, self.state,
        )  # fmt: skip
        self.refresh()
        return int(flips)

    def descend(self, control: Control | None = None, most: int = 200) -> None:
        """As of all others, from the best state since :meth:`set_states`: these moves pass better
        states than they end at.
        """
        self._take(self.best)
        super().descend(control, most)


def _largest_field(h: NDArray[np.float64], J: Couplings, squares: Squares) -> float:
    """A bound of half of what a flip costs."""
    steep = abs(squares.amounts).multiply(squares.penalty[:, np.newaxis]).T
    reach = np.abs(squares.constants) + np.asarray(abs(squares.amounts).sum(axis=1)).ravel()
    bound = 2 * np.asarray(steep @ reach).ravel() if squares.amounts.nnz else np.zeros(h.shape[1])
    return Ising(np.abs(h).max(axis=0) + bound, J).largest_field()
