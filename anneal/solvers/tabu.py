"""One-flip tabu search after a short anneal, with restarts and path relinking between elites."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from anneal.control import Control
from anneal.ising import Couplings, Ising
from anneal.kernels.dense import dense_fields
from anneal.kernels.random import new_state
from anneal.kernels.tabu import perturb, relink, tabu_search
from anneal.layouts import DenseLayout, Layout, choose_layout
from anneal.replicas import random_states
from anneal.sampler import IsingSampler, in_threads
from anneal.schedules import resolve
from anneal.solvers.anneal import anneal

POOL = 8
PATIENCE = 20  # flips without improvement, per spin, after which a search ends
CHUNK_WORK = 2**23  # gains looked at between two looks at the clock, a few milliseconds
ANNEAL_SHARE = 0.1


class TabuSampler(IsingSampler):
    """Tabu search: a short anneal makes a pool of elites, each improved by tabu search; then pairs
    are relinked.

    The strongest on dense problems. num_reads: elites returned, best first (default 1). num_sweeps:
    of the first anneal (default 200); num_restarts: searches after the pool's own (default 20; by
    the clock with a ``time_limit``). tenure: flips a spin stays (default about n/100, from 10 to 20
    more).

    >>> sampleset = TabuSampler().sample_ising({0: 1.0}, {(0, 1): -1.0, (1, 2): -1.0}, seed=1)
    >>> float(sampleset.first.energy)
    -3.0
    """

    def search(
        self,
        h: NDArray[np.float64],
        J: Couplings,
        *,
        control: Control,
        rng: np.random.Generator,
        num_reads: int | None = None,
        initial: NDArray[np.int8] | None = None,
        num_threads: int = 1,
        num_sweeps: int | None = None,
        num_restarts: int = 20,
        tenure: int | None = None,
        num_populations: int | None = None,
        beta_range: Any = None,
        beta_schedule_type: str | None = None,
        beta_schedule: Any = None,
    ) -> NDArray[np.int8]:
        reads = num_reads or 1
        size = max(POOL, reads)
        found = []
        for linear in h:
            ising = Ising(linear, J)
            layout = choose_layout(linear, J)
            schedule = resolve(
                ising, layout, control, rng, num_sweeps=num_sweeps, beta_range=beta_range,
                beta_schedule_type=beta_schedule_type, beta_schedule=beta_schedule,
            )  # fmt: skip
            graph = Graph.of(layout, J)
            count = num_populations or control.side_by_side(num_threads)
            seconds = control.remaining() * min(num_threads, count) / count / len(h)
            pools = [Pool(graph, size, control, own, tenure) for own in rng.spawn(count)]

            def work(
                pool: Pool, layout: Any = layout, schedule: Any = schedule, seconds: float = seconds
            ) -> None:
                ends = control.elapsed() + seconds
                starts = initial
                if starts is None:
                    replicas = layout.replicas(pool.rng)
                    sweeps = num_sweeps
                    if sweeps is None and not math.isfinite(seconds):
                        sweeps = 200
                    anneal(
                        replicas,
                        schedule,
                        control,
                        num_sweeps=sweeps,
                        seconds=seconds * ANNEAL_SHARE,
                    )
                    starts = replicas.states()[np.argsort(replicas.energies(), kind="stable")]
                pool.fill(starts, ends)
                pool.improve(num_restarts, ends)

            in_threads(work, pools, num_threads)
            states = np.concatenate([pool.states for pool in pools])
            found.append(states[np.argsort(ising.energies(states), kind="stable")[:reads]])
            control.info.update(flips=sum(pool.flips for pool in pools))
        return np.stack(found)


@dataclass(frozen=True, eq=False)
class Graph:
    """What the tabu kernels read: a padded matrix, or CSR with an empty matrix."""

    arrays: tuple[NDArray[Any], ...]
    biases: NDArray[Any]
    num_spins: int
    scale: float

    @classmethod
    def of(cls, layout: Layout, J: Couplings) -> Graph:
        """From the layout that the anneal used; sparse ones get the pads and the field type of
        rows.
        """
        numbers, n = layout.numbers, layout.num_spins
        if isinstance(layout, DenseLayout):
            none = np.empty(0, np.int32)
            arrays = (layout.matrix, np.zeros(1, np.int64), none, np.empty(0, layout.kind))
            return cls(arrays, layout.biases, n, numbers.scale)
        kind = numbers.row_type()
        step = 64 // kind.itemsize
        biases = np.full(-(-n // step) * step, -(2**30), kind)
        biases[:n] = layout.biases
        csr = sparse.csr_array(J)
        arrays = (
            np.empty((0, 1), kind), layout.indptr, layout.indices, numbers.convert(csr.data, kind),
        )  # fmt: skip
        return cls(arrays, biases, n, numbers.scale)

    def gains(self, spins: NDArray[Any]) -> NDArray[Any]:
        """s·(h + J·s) for one padded state; the pads' stay hopeless."""
        matrix, indptr, indices, weights = self.arrays
        n, gains = self.num_spins, self.biases.copy()
        if len(matrix):
            dense_fields(matrix, spins[np.newaxis], gains[np.newaxis])
            gains[:n] *= spins[:n]
        else:
            csr = sparse.csr_array((weights, indices, indptr), shape=(n, n))
            gains[:n] = spins[:n] * (self.biases[:n] + csr @ spins[:n])
        return gains


class Pool:
    """Elite states, each a local optimum of tabu search."""

    def __init__(
        self,
        graph: Graph,
        size: int,
        control: Control,
        rng: np.random.Generator,
        tenure: int | None,
    ) -> None:
        self.graph = graph
        self.size = size
        self.control = control
        self.rng = rng
        self.state = new_state(rng)
        n = graph.num_spins
        self.tenure = tenure if tenure is not None else max(min(10, n // 4), n // 100)
        self.states = np.empty((0, n), np.int8)
        self.energies = np.empty(0)
        self.flips = 0

    def fill(self, starts: NDArray[np.int8], ends: float) -> None:
        """Improve the given states, and random ones up to the pool's size."""
        while len(self.states) < self.size and (self._on(ends) or not len(self.states)):
            k = len(self.states)
            state = (
                starts[k]
                if k < len(starts)
                else random_states(self.rng, 1, self.graph.num_spins)[0]
            )
            self._keep(*self._search(self._padded(state), ends))
        while len(self.states) < self.size:  # out of time: what is returned has to have its number
            extra = random_states(self.rng, 1, self.graph.num_spins)
            self.states = np.concatenate([self.states, extra])
            self.energies = np.append(self.energies, np.inf)

    def improve(self, num_restarts: int, ends: float) -> None:
        """Relink two elites, or shake one, search from there, and keep the result where it beats
        the worst.
        """
        done = 0
        while self._on(ends) and (math.isfinite(ends) or done < num_restarts):
            done += 1
            a, b = self.rng.permutation(len(self.states))[:2]
            spins = self._padded(self.states[a])
            gains = self.graph.gains(spins)
            distance = int((self.states[a] != self.states[b]).sum())
            if distance > 12 and self.rng.random() < 0.7:
                middle = np.empty_like(spins)
                relink(*self.graph.arrays, spins, gains, self._padded(self.states[b]), middle)
                spins = middle
            else:
                strength = int(self.rng.integers(2, max(3, self.graph.num_spins // 8)))
                perturb(
                    *self.graph.arrays, self.graph.num_spins, spins, gains, strength, self.state
                )
            self._replace(*self._search(spins, ends))

    def _on(self, ends: float) -> bool:
        return not self.control.stop() and self.control.elapsed() < ends

    def _padded(self, state: NDArray[np.int8]) -> NDArray[Any]:
        spins = np.ones(len(self.graph.biases), self.graph.biases.dtype)
        spins[: len(state)] = state
        return spins

    def _energy(self, spins: NDArray[Any], gains: NDArray[Any]) -> float:
        n = self.graph.num_spins
        fields = gains[:n].astype(np.float64) + spins[:n].astype(np.float64) * self.graph.biases[:n]
        return float(fields.sum() / 2 * self.graph.scale)

    def _search(self, spins: NDArray[Any], ends: float) -> tuple[NDArray[np.int8], float]:
        """Tabu search from ``spins``; the best state and its energy."""
        graph = self.graph
        gains = graph.gains(spins)
        first = self._energy(spins, gains)
        until = np.zeros(len(spins), np.int64 if spins.itemsize == 8 else np.int32)
        best = spins.copy()
        walk = np.zeros(4)
        patience = PATIENCE * graph.num_spins
        most = max(1, CHUNK_WORK // len(spins))
        while True:
            tabu_search(
                *graph.arrays, graph.num_spins, spins, gains, until, best, walk, self.tenure, 10,
                patience, most, self.state,
            )  # fmt: skip
            self.control.improve(first - 2 * walk[1] * graph.scale)
            if walk[3] - walk[2] >= patience or not self._on(ends):
                break
        self.flips += int(walk[3])
        return best[: graph.num_spins].astype(np.int8), first - 2 * walk[1] * graph.scale

    def _keep(self, state: NDArray[np.int8], energy: float) -> None:
        self.states = np.concatenate([self.states, state[None]])
        self.energies = np.append(self.energies, energy)

    def _replace(self, state: NDArray[np.int8], energy: float) -> None:
        worst = int(np.argmax(self.energies))
        known = (self.states == state).all(axis=1).any()
        if energy < self.energies[worst] and not known:
            self.states[worst] = state
            self.energies[worst] = energy
