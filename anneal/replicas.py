"""Replicas: many copies of one Ising problem, annealed together in the layout of their kernel.

Energies are in the problem's unit, approximately: :meth:`anneal.ising.Ising.energies` has the last
word.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anneal.control import Control
from anneal.kernels.dense import dense_anneal, dense_fields
from anneal.kernels.random import (
    NUM_QUANTILES,
    exponential_quantiles,
    logistic_quantiles,
    new_state,
)
from anneal.kernels.sparse import lane_energies, sparse_anneal, subtract_down

if TYPE_CHECKING:
    from anneal.constrained import SquaresLayout
    from anneal.layouts import DenseLayout, Layout, SparseLayout
    from anneal.multispin import BitLayout

BLOCK = 4096  # spins of all lanes turned over at once
HOTTEST = 2.0**24  # accepts every move: times the largest integer; of floats, below a row's pad


class Replicas(abc.ABC):
    """What all kinds of replicas share: random numbers, temperatures and the descent."""

    def __init__(
        self,
        layout: Layout | SquaresLayout | BitLayout,
        rng: np.random.Generator,
        gibbs: bool,
        shuffled: bool = False,
    ) -> None:
        self.layout: Any = layout
        self.scale = layout.numbers.scale
        numbers = layout.numbers  # a little is added, as thresholds are computed in float32
        self.largest = 1 + int(numbers.largest_field * (1 + 2.0**-20)) if numbers.whole else 0
        self.state = new_state(rng)
        self.rng = rng
        self.kind = layout.kind
        self.quantiles: Any = logistic_quantiles if gibbs else exponential_quantiles
        self.in_turn = np.arange(layout.num_spins, dtype=np.int32)
        self.order = self.in_turn[:0] if shuffled else self.in_turn
        # float32 has no coefficient below 2⁻²⁰ of the largest field
        bits = -22 if self.kind == np.float32 else -50
        self.rounding = 2.0**bits * numbers.largest_field

    @abc.abstractmethod
    def set_states(self, states: NDArray[np.int8]) -> None:
        """Take (lanes, n) states; fields follow."""

    @abc.abstractmethod
    def states(self) -> NDArray[np.int8]:
        """(lanes, n) int8."""

    @abc.abstractmethod
    def energies(self) -> NDArray[np.float64]:
        """(lanes,), in the problem's unit, without its offset."""

    @abc.abstractmethod
    def local_fields(self) -> NDArray[np.float64]:
        """In the problem's unit, in the order in which the replicas keep them."""

    @abc.abstractmethod
    def _sweeps(self, quantiles: Any, temperatures: Any, num_sweeps: int, order: Any) -> int:
        """Run the kernel; the number of flips."""

    def descend(self, control: Control | None = None, most: int = 200) -> None:
        """Sweeps that flip only what lowers the energy, until nothing does or the time is up.

        Quantiles of one and a negative temperature make a positive threshold: 1 for integers, or
        just above the rounding of the fields.
        """
        step = 2.0 if self.largest else self.rounding
        ones = np.ones(NUM_QUANTILES + 64, np.float32)
        idle = 0
        for _ in range(most):
            idle = 0 if self._sweeps(ones, np.array([-step]), 1, self.in_turn) else idle + 1
            if idle == self.layout.idle_sweeps:
                break
            if control is not None and control.remaining() <= 0:
                break

    def anneal(self, temperatures: NDArray[np.float64], num_sweeps: int = 1) -> int:
        """Metropolis sweeps at each temperature (problem's unit); returns the number of flips."""
        with np.errstate(over="ignore"):
            scaled = np.minimum(temperatures / self.scale, HOTTEST * max(1, self.largest))
        return self._sweeps(self.quantiles(self.rng), scaled, num_sweeps, self.order)


class SparseReplicas(Replicas):
    """``layout.lanes`` states of one problem; ``biases`` (n, lanes) may give each lane its own
    linear terms.
    """

    def __init__(
        self,
        layout: SparseLayout,
        rng: np.random.Generator,
        *,
        spins: NDArray[np.int8] | None = None,
        biases: NDArray[Any] | None = None,
        gibbs: bool = False,
        shuffled: bool = False,
    ) -> None:
        super().__init__(layout, rng, gibbs, shuffled)
        shape = (layout.num_spins, layout.lanes)
        own = layout.biases[:, None] if biases is None else biases
        self.biases = np.broadcast_to(own, shape)
        self.table = np.empty((2, NUM_QUANTILES + 64), layout.kind)
        self.spins = np.empty(shape, layout.kind)
        self.halves = np.empty(shape, layout.kind)
        together = layout.row_sums[:, None] + own
        self.start = (together // 2 if layout.numbers.whole else together / 2).astype(layout.kind)
        self.set_states(
            random_states(rng, layout.lanes, layout.num_spins) if spins is None else spins
        )

    def set_states(self, states: NDArray[np.int8]) -> None:
        """Take (lanes, n) states; fields follow."""
        for start in range(0, self.layout.num_spins, BLOCK):
            block = slice(start, start + BLOCK)
            self.spins[block] = states[:, block].T
        self.refresh()

    def refresh(self) -> None:
        """Fields from scratch."""
        layout = self.layout
        self.halves[:] = self.start
        subtract_down(layout.indptr, layout.indices, layout.weights, self.spins, self.halves)

    def states(self) -> NDArray[np.int8]:
        """(lanes, n) int8."""
        states = np.empty(self.spins.shape[::-1], np.int8)
        for start in range(0, self.layout.num_spins, BLOCK):  # blocks that stay in the cache
            block = slice(start, start + BLOCK)
            states[:, block] = self.spins[block].T
        return states

    def energies(self) -> NDArray[np.float64]:
        """(lanes,), in the problem's unit, without its offset."""
        found = lane_energies(self.biases, self.layout.parity, self.spins, self.halves)
        return np.asarray(found) * self.scale

    def local_fields(self) -> NDArray[np.float64]:
        """(n, lanes) in the problem's unit."""
        fields = 2 * self.halves.astype(np.float64) + self.layout.parity[:, None]
        return np.asarray(fields * self.scale)

    def _sweeps(self, quantiles: Any, temperatures: Any, num_sweeps: int, order: Any) -> int:
        layout = self.layout
        flips = sparse_anneal(
            layout.indptr, layout.indices, layout.weights, layout.parity, self.spins, self.halves,
            order, quantiles, temperatures, num_sweeps, self.largest, self.table, self.state,
        )  # fmt: skip
        if self.largest == 0:
            self.refresh()
        return int(flips)


class DenseReplicas(Replicas):
    """``layout.lanes`` states of one dense problem; ``biases`` (lanes, n) may give each its own
    linear terms.
    """

    def __init__(
        self,
        layout: DenseLayout,
        rng: np.random.Generator,
        *,
        spins: NDArray[np.int8] | None = None,
        biases: NDArray[Any] | None = None,
        gibbs: bool = False,
        shuffled: bool = False,
    ) -> None:
        super().__init__(layout, rng, gibbs)
        shape = (layout.lanes, layout.width)
        self.biases = np.tile(layout.biases, (layout.lanes, 1))
        if biases is not None:
            self.biases[:, : layout.num_spins] = biases
        self.table = np.empty(NUM_QUANTILES + 64, layout.kind)
        self.spins = np.ones(shape, layout.kind)
        self.fields = np.empty(shape, layout.kind)
        self.set_states(
            random_states(rng, layout.lanes, layout.num_spins) if spins is None else spins
        )

    def set_states(self, states: NDArray[np.int8]) -> None:
        """Take (lanes, n) states; fields follow."""
        self.spins[:, : self.layout.num_spins] = states
        self.refresh()

    def refresh(self) -> None:
        """Fields from scratch."""
        self.fields[:] = self.biases
        dense_fields(self.layout.matrix, self.spins, self.fields)

    def states(self) -> NDArray[np.int8]:
        """(lanes, n) int8."""
        return self.spins[:, : self.layout.num_spins].astype(np.int8)

    def energies(self) -> NDArray[np.float64]:
        """(lanes,), in the problem's unit, without its offset."""
        n = self.layout.num_spins
        fields = self.fields[:, :n].astype(np.float64) + self.biases[:, :n]
        found = np.einsum("ri,ri->r", self.spins[:, :n].astype(np.float64), fields)
        return np.asarray(found / 2 * self.scale)

    def local_fields(self) -> NDArray[np.float64]:
        """(lanes, n) in the problem's unit."""
        return self.fields[:, : self.layout.num_spins].astype(np.float64) * self.scale

    def _sweeps(self, quantiles: Any, temperatures: Any, num_sweeps: int, order: Any) -> int:
        flips = dense_anneal(
            self.layout.matrix, self.spins, self.fields, quantiles, temperatures, num_sweeps,
            self.largest, self.table, self.state,
        )  # fmt: skip
        if self.largest == 0:
            self.refresh()
        return int(flips)


def random_states(rng: np.random.Generator, num_reads: int, num_spins: int) -> NDArray[np.int8]:
    """(num_reads, num_spins) of ±1."""
    states = rng.integers(0, 2, (num_reads, num_spins), dtype=np.int8)
    states *= 2
    states -= 1
    return states
