"""Ladders: replicas of one Ising problem at many temperatures, which exchange them.

``chains`` replicas are at each inverse temperature. Temperatures and energies are in the problem's
unit, energies approximately: :meth:`anneal.ising.Ising.energies` has the last word.
"""

from __future__ import annotations

import abc
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anneal.control import Control
from anneal.kernels.dense import dense_fields
from anneal.kernels.random import new_state
from anneal.kernels.sparse import subtract_down
from anneal.kernels.tempering import TABLE_ROWS, exchange_clusters, temper_lanes, temper_rows
from anneal.layouts import DenseLayout, Layout, SparseLayout
from anneal.replicas import BLOCK, HOTTEST, random_states
from anneal.schedules import COLD_ENTROPY, HOT_ENTROPY, PACE, Schedule

CHAINS = 2  # at a temperature of a sparse problem, at least: cluster moves take two
WHOLE = 0.95  # where one cluster has this share of what differs, swapping it is no news
CLUSTER_SHARE = 0.5  # of the time goes to cluster moves, about
READ = 0.3  # what a coupling costs in a cluster move, in visits of a row of lanes
LEAST_REJECTED = 1e-3  # of the exchanges of two neighbours, for the sake of the spacing


class Ladder(abc.ABC):
    """What both kinds of ladders share: temperatures, statistics, and the quench.

    betas: inverse temperatures, hottest first. ``size`` replicas, of which ``slots[t, c]`` is the
    one that is now at betas[t] as the c-th.
    """

    def __init__(
        self,
        layout: Layout,
        rng: np.random.Generator,
        *,
        betas: NDArray[np.float64],
        chains: int,
        size: int,
        gibbs: bool,
        shuffled: bool,
    ) -> None:
        self.layout: Any = layout
        self.rng = rng
        self.replicas: Any = layout.replicas(rng, gibbs=gibbs, shuffled=shuffled)
        self.state = new_state(rng)
        self.betas = betas
        self.size = size
        self.slots = np.arange(len(betas) * chains).reshape(len(betas), chains)
        self.own_energies = np.zeros(size)
        self.best = np.empty(layout.num_spins, np.int8)
        self.best_energy = math.inf
        self.turn = 0
        self.mixing = np.zeros(len(betas), np.bool_)
        self.forget()

    @abc.abstractmethod
    def set_states(self, states: NDArray[np.int8]) -> None:
        """Take (size, n) states; fields follow."""

    @abc.abstractmethod
    def states(self) -> NDArray[np.int8]:
        """(size, n) int8."""

    @abc.abstractmethod
    def _rounds(
        self, quantiles: Any, rounds: tuple[int, int, int], temperatures: Any, betas: Any, best: Any
    ) -> float:
        """Run the kernel for (rounds, sweeps, turn); the least energy, its state in ``best``."""

    def run(
        self, num_rounds: int, num_sweeps: int, *, least_temperature: float | None = None
    ) -> None:
        """Rounds of ``num_sweeps`` sweeps and exchanges.

        With ``least_temperature`` there are no exchanges, and no replica is colder than that: so a
        start from random states is an anneal.
        """
        scale = self.replicas.scale
        with np.errstate(divide="ignore", over="ignore"):
            temperatures = 1 / (self.betas * scale)
        if least_temperature is not None:
            temperatures = np.maximum(temperatures, least_temperature / scale)
        temperatures = np.minimum(temperatures, HOTTEST * max(1, self.replicas.largest))
        turn = -1 if least_temperature is not None else self.turn
        best = np.empty_like(self.best)
        found = self._rounds(
            self.replicas.quantiles(self.rng), (num_rounds, num_sweeps, turn), temperatures,
            self.betas * scale, best,
        )  # fmt: skip
        if found * scale < self.best_energy:
            self.best, self.best_energy = best, found * scale
        if turn >= 0:
            self.turn += num_rounds

    def forget(self) -> None:
        """Statistics from here on: mean energies and how often neighbours exchange."""
        self.since = self.turn
        self.energy_sums = np.zeros(len(self.betas))
        self.accepted = np.zeros(len(self.betas) - 1)

    def mean_energies(self) -> NDArray[np.float64]:
        """At each temperature, over the rounds counted."""
        return np.asarray(self.energy_sums * self.replicas.scale / max(1, self.turn - self.since))

    def acceptance(self) -> NDArray[np.float64]:
        """Of the exchanges of each two neighbours, over the rounds counted."""
        rounds = np.arange(self.since, self.turn) % 2
        tries = np.array([np.sum(rounds == t % 2) for t in range(min(2, len(self.accepted)))])
        return np.asarray(self.accepted / np.maximum(1, np.resize(tries, len(self.accepted))))

    def respace(self) -> None:
        """Temperatures between which exchanges are equally likely, by the statistics so far."""
        if self.turn - self.since >= 2:
            self.betas = respaced(self.betas, 1 - self.acceptance())
        self.forget()

    def coldest(self) -> NDArray[np.int8]:
        """(chains, n): the states at the last inverse temperature."""
        return np.asarray(self.states()[self.slots[-1]])

    def quenched(
        self, states: NDArray[np.int8], control: Control
    ) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """The local minima below (any number, n) states, and their energies."""
        found, energies, lanes = [], [], self.layout.lanes
        for start in range(0, len(states), lanes):
            part = states[start : start + lanes]
            self.replicas.set_states(part[np.minimum(np.arange(lanes), len(part) - 1)])
            self.replicas.descend(control)
            found.append(self.replicas.states()[: len(part)])
            energies.append(self.replicas.energies()[: len(part)])
        return np.concatenate(found), np.concatenate(energies)

    def mix(self, num_sweeps: int) -> None:  # noqa: B027 - dense problems have no such moves
        """Decide from the states at hand at which temperatures cluster moves pay, and how often."""


class SparseLadder(Ladder):
    """Rows of lanes, each lane at its own temperature; cluster moves between chains."""

    layout: SparseLayout

    def __init__(self, layout: SparseLayout, rng: np.random.Generator, **options: Any) -> None:
        super().__init__(layout, rng, **options)
        n, lanes, kind = layout.num_spins, layout.lanes, layout.kind
        rows = -(-self.size // lanes)
        self.size = rows * lanes
        self.own_energies = np.zeros(self.size)
        self.spins = np.empty((rows, n, lanes), kind)
        self.halves = np.empty((rows, n, lanes), kind)
        self.words = np.empty((rows, n), np.uint64)
        self.room = np.empty((3, n), np.int32)
        self.table = np.empty((2, TABLE_ROWS, lanes), kind)
        self.sums = np.empty(lanes, np.int32 if kind.itemsize < 4 else np.float64)
        self.symmetric = not layout.biases.any()
        self.period = 0
        self.set_states(random_states(rng, self.size, n))

    def set_states(self, states: NDArray[np.int8]) -> None:
        """Take (size, n) states; fields follow."""
        layout, lanes = self.layout, self.layout.lanes
        for row, (spins, halves) in enumerate(zip(self.spins, self.halves, strict=True)):
            own = states[row * lanes : (row + 1) * lanes]
            for start in range(0, layout.num_spins, BLOCK):  # blocks that stay in the cache
                spins[start : start + BLOCK] = own[:, start : start + BLOCK].T
            halves[:] = self.replicas.start
            subtract_down(layout.indptr, layout.indices, layout.weights, spins, halves)

    def states(self) -> NDArray[np.int8]:
        """(size, n) int8."""
        lanes = self.layout.lanes
        states = np.empty((self.size, self.layout.num_spins), np.int8)
        for row, spins in enumerate(self.spins):
            for start in range(0, self.layout.num_spins, BLOCK):
                block = slice(start, start + BLOCK)
                states[row * lanes : (row + 1) * lanes, block] = spins[block].T
        return states

    def mix(self, num_sweeps: int) -> None:
        """Where clusters do not percolate, as Zhu, Ochoa & Katzgraber (2015) say; CLUSTER_SHARE."""
        if self.slots.shape[1] < CHAINS:
            return
        self.mixing[:] = True
        sizes = self.clusters()
        # One pair of chains tells little of its temperature; its neighbours tell as much.
        sizes = np.array([sizes[max(0, t - 2) : t + 3].mean(axis=0) for t in range(len(sizes))])
        self.mixing = sizes[:, 0] < WHOLE * sizes[:, 1]
        both = self.mixing[:-1] & self.mixing[1:]
        work = READ * (2 * sizes[self.mixing, 2].sum() + both.sum())
        visits = len(self.spins) * self.layout.num_spins * num_sweeps
        share = CLUSTER_SHARE / (1 - CLUSTER_SHARE)
        self.period = max(1, math.ceil(work / (share * visits))) if self.mixing.any() else 0

    def clusters(self) -> NDArray[np.int64]:
        """One cluster move; (temperatures, 3): spins in the largest cluster, in all, work."""
        layout = self.layout
        sizes = np.zeros((len(self.betas), 3), np.int64)
        exchange_clusters(
            layout.indptr, layout.indices, layout.weights, layout.biases, self.symmetric,
            self.replicas.start, self.spins, self.halves, self.betas * self.replicas.scale,
            self.mixing, self.slots, self.own_energies, self.words, self.room, sizes, self.state,
        )  # fmt: skip
        return sizes

    def _rounds(
        self, quantiles: Any, rounds: tuple[int, int, int], temperatures: Any, betas: Any, best: Any
    ) -> float:
        layout, replicas = self.layout, self.replicas
        sizes = np.zeros((len(betas), 3), np.int64)
        found = temper_lanes(
            layout.indptr, layout.indices, layout.weights, layout.parity, layout.biases,
            self.symmetric, replicas.start, self.spins, self.halves, replicas.order, quantiles,
            replicas.largest, self.table, self.sums, *rounds, self.period, temperatures, betas,
            self.mixing, self.slots, self.own_energies, self.energy_sums, self.accepted, self.words,
            self.room, sizes, best, self.state,
        )  # fmt: skip
        return float(found)


class DenseLadder(Ladder):
    """Dense replicas one after the other, each at its temperature."""

    layout: DenseLayout

    def __init__(self, layout: DenseLayout, rng: np.random.Generator, **options: Any) -> None:
        super().__init__(layout, rng, **options)
        self.spins = np.ones((self.size, layout.width), layout.kind)
        self.fields = np.empty((self.size, layout.width), layout.kind)
        self.set_states(random_states(rng, self.size, layout.num_spins))

    def set_states(self, states: NDArray[np.int8]) -> None:
        """Take (size, n) states; fields follow."""
        self.spins[:, : self.layout.num_spins] = states
        self._refresh()

    def states(self) -> NDArray[np.int8]:
        """(size, n) int8."""
        return self.spins[:, : self.layout.num_spins].astype(np.int8)

    def _refresh(self) -> None:
        self.fields[:] = self.layout.biases
        dense_fields(self.layout.matrix, self.spins, self.fields)

    def _rounds(
        self, quantiles: Any, rounds: tuple[int, int, int], temperatures: Any, betas: Any, best: Any
    ) -> float:
        layout, replicas = self.layout, self.replicas
        found = temper_rows(
            layout.matrix, layout.biases, self.spins, self.fields, quantiles, replicas.largest,
            replicas.table, *rounds, temperatures, betas, self.slots, self.own_energies,
            self.energy_sums, self.accepted, best, self.state,
        )  # fmt: skip
        if replicas.largest == 0:
            self._refresh()
        return float(found)


def respaced(betas: NDArray[np.float64], rejected: NDArray[np.float64]) -> NDArray[np.float64]:
    """As many inverse temperatures between the same ends, so that exchanges are rejected evenly.

    ``rejected`` (len(betas) − 1,): shares of the exchanges of neighbours. Their sum up to β is the
    communication barrier Λ(β); the new ones are uniform in it (Syed et al. 2022, section 5).

    >>> respaced(np.array([0.0, 1.0, 2.0]), np.array([0.6, 0.2])).round(3).tolist()
    [0.0, 0.667, 2.0]
    """
    barrier = np.concatenate([[0.0], np.cumsum(np.maximum(rejected, LEAST_REJECTED))])
    return np.interp(np.linspace(0, barrier[-1], len(betas)), barrier, betas)


def fitting_temperatures(schedule: Schedule, num_spins: int) -> int:
    """1 + 2Λ temperatures, with which a replica climbs the ladder soonest (Syed et al. 2022).

    Where the energy is normal, neighbours reject erf(ℓ/2) ≈ ℓ/√π of the exchanges, ℓ² = ΔE·Δβ. The
    mean energies are those of the entropies of an automatic schedule, ΔE = T·ΔS.

    >>> fitting_temperatures(Schedule((0.25, 2.5), "cooling", automatic=True), 2000)
    48
    """
    levels = np.linspace(HOT_ENTROPY**PACE, COLD_ENTROPY**PACE, 33) ** (1 / PACE)
    betas = 1 / schedule.temperatures(np.linspace(0, 1, 33))
    middle = np.maximum((betas[:-1] + betas[1:]) / 2, np.finfo(float).tiny)
    squares = -np.diff(levels) * num_spins * math.log(2) * np.abs(np.diff(betas)) / middle
    return 1 + math.ceil(2 * float(np.sqrt(squares).sum()) / math.sqrt(math.pi))
