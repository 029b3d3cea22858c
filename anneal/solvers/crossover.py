"""The population optimiser for sparse problems: anneal, recombine exactly, anneal again from the
elites.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anneal.control import Control
from anneal.ising import Couplings, Ising
from anneal.kernels.crossover import absorb
from anneal.kernels.random import new_state
from anneal.layouts import Numbers, SparseLayout
from anneal.multispin import BitLayout
from anneal.sampler import IsingSampler, in_threads
from anneal.schedules import Schedule, resolve
from anneal.solvers.anneal import anneal
from anneal.tuning import tune as race

FIRST_SHARE = 0.3  # of the time goes to the first, longest anneal
REHEAT = (0.2, 0.75)  # where in the schedule a round starts
MANY_SWEEPS = 1200  # a budget of fewer goes to one long anneal, without rounds
MIGRATE_EVERY = 8  # rounds between two migrations
DEMES = 8
LARGE_DEME = 32  # lanes; more of them make more demes
ABSORBED = 8  # lanes of a deme that its elite absorbs, the best


class CrossoverSampler(IsingSampler):
    """Simulated annealing with partition crossover in a population of demes.

    A row of lanes is split into demes, each with one elite. Each round anneals every lane from its
    deme's elite and absorbs into the elite every independent component of difference that lowers
    the energy. Now and then one elite absorbs another. On sparse graphs this joins the best parts
    of all replicas.

    num_reads: elites returned, best first (default 1). num_sweeps: of the first anneal (default
    1000); num_rounds, round_sweeps: what follows (default 30 rounds of 300); with a ``time_limit``
    all go by the clock. num_populations: independent populations (default one, or one a thread with
    a ``time_limit``). tune: as of ``anneal``.

    >>> ring = {(i, (i + 1) % 9): 1.0 for i in range(9)}
    >>> float(CrossoverSampler().sample_ising({}, ring, seed=1).first.energy)
    -7.0
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
        num_rounds: int = 30,
        round_sweeps: int = 300,
        num_populations: int | None = None,
        beta_range: Any = None,
        beta_schedule_type: str | None = None,
        beta_schedule: Any = None,
        tune: bool = False,
    ) -> NDArray[np.int8]:
        reads = num_reads or 1
        found = []
        for linear in h:
            numbers = Numbers.of(linear[None], J)
            layout = SparseLayout(linear[None], J, numbers)
            fits = BitLayout.fits(linear[None], J, numbers)
            lanes = BitLayout(linear, J, numbers) if fits else layout
            schedule = resolve(
                Ising(linear, J), lanes, control, rng, num_sweeps=num_sweeps,
                beta_range=beta_range, beta_schedule_type=beta_schedule_type,
                beta_schedule=beta_schedule,
            )  # fmt: skip
            tuned = None
            if tune:
                typical = Ising(linear, J)
                tuned = race(schedule, typical, lanes, control, rng, num_sweeps=num_sweeps)
                control.info["tune"] = None if tuned is None else tuned.report
            schedule = schedule if tuned is None else tuned.schedule
            count = num_populations or control.side_by_side(num_threads)
            count = max(count, -(-reads // demes_of(lanes)))
            populations = [
                Population(layout, lanes, schedule, control, own) for own in rng.spawn(count)
            ]
            seconds = control.remaining() * min(num_threads, count) / count / len(h)

            def work(population: Population, seconds: float = seconds) -> None:
                until = control.elapsed() + seconds
                population.first(initial, num_sweeps, seconds)
                population.rounds(num_rounds, round_sweeps, until)

            in_threads(work, populations, num_threads)
            elites = np.concatenate([population.elites for population in populations])
            energies = Ising(linear, J).energies(elites)
            best = elites[np.argsort(energies, kind="stable")[:reads]]
            found.append(
                best if tuned is None else tuned.join(best[None], linear[None], J, None)[0]
            )
            control.info.update(rounds=sum(population.done for population in populations))
        return np.stack(found)


def demes_of(layout: SparseLayout | BitLayout) -> int:
    """Demes in a row of lanes: at least two lanes each."""
    return max(layout.lanes // LARGE_DEME, min(DEMES, layout.lanes // 2))


class Population:
    """One row of lanes, split into demes with an elite each."""

    def __init__(
        self,
        layout: SparseLayout,
        lanes: SparseLayout | BitLayout,
        schedule: Schedule,
        control: Control,
        rng: np.random.Generator,
    ) -> None:
        self.layout = layout
        self.lanes = lanes
        self.schedule = schedule
        self.control = control
        self.rng = rng
        self.state = new_state(rng)
        self.symmetric = not layout.biases.any()
        self.replicas = lanes.replicas(rng)
        self.deme_size = lanes.lanes // demes_of(lanes)
        self.elites = np.empty((demes_of(lanes), layout.num_spins), np.int8)
        self.energies = np.full(len(self.elites), np.inf)
        self.done = 0

    def first(
        self, initial: NDArray[np.int8] | None, num_sweeps: int | None, seconds: float
    ) -> None:
        """The long anneal; each deme's best lane becomes its elite and absorbs the others."""
        if initial is not None:
            self.replicas.set_states(initial[np.arange(self.lanes.lanes) % len(initial)])
            given, given_energies = self.replicas.states(), self.replicas.energies()
        if num_sweeps is None and not math.isfinite(seconds):
            num_sweeps = 1000
        share = FIRST_SHARE if num_sweeps is None and self._fits(MANY_SWEEPS, seconds) else 1.0
        anneal(
            self.replicas,
            self.schedule,
            self.control,
            num_sweeps=num_sweeps,
            seconds=share * seconds,
        )
        states, energies = self.replicas.states(), self.replicas.energies()
        for deme in range(len(self.elites)):
            own = slice(deme * self.deme_size, (deme + 1) * self.deme_size)
            best = own.start + int(np.argmin(energies[own]))
            self.elites[deme] = states[best]
            self.energies[deme] = energies[best]
            self._absorb(deme, states[own], energies[own])
            if initial is not None:  # the result is no worse than what was given
                self._absorb(deme, given[own], given_energies[own])

    def _fits(self, num_sweeps: int, seconds: float) -> bool:
        """Whether that many sweeps fit in so much time, by trying one at the hot end."""
        before = self.control.elapsed()
        self.replicas.anneal(self.schedule.temperatures(np.zeros(1)))
        return (self.control.elapsed() - before) * num_sweeps < seconds

    def rounds(self, num_rounds: int, num_sweeps: int, until: float) -> None:
        """Rounds of annealing from the elites and absorbing what came of it."""
        timed = math.isfinite(until)
        while not self.control.stop():
            if self.control.elapsed() >= until if timed else self.done >= num_rounds:
                break
            self._round(num_sweeps)
            self.done += 1
            if self.done % MIGRATE_EVERY == 0:
                self._migrate()

    def _round(self, num_sweeps: int) -> None:
        self.replicas.set_states(np.repeat(self.elites, self.deme_size, axis=0))
        again = self.schedule.tail(self.rng.uniform(*REHEAT))
        anneal(self.replicas, again, self.control, num_sweeps=num_sweeps)
        states, energies = self.replicas.states(), self.replicas.energies()
        for deme in range(len(self.elites)):
            own = slice(deme * self.deme_size, (deme + 1) * self.deme_size)
            self._absorb(deme, states[own], energies[own])

    def _migrate(self) -> None:
        """The worse of two elites becomes their crossover."""
        a, b = self.rng.permutation(len(self.elites))[:2]
        worse, better = (a, b) if self.energies[a] > self.energies[b] else (b, a)
        child = self.elites[better].copy()
        partner, energies = self.elites[worse][None].copy(), self.energies[[worse]]
        self.elites[worse], self.energies[worse] = child, self.energies[better]
        self._absorb(worse, partner, energies)

    def _absorb(self, deme: int, states: NDArray[np.int8], energies: NDArray[np.float64]) -> None:
        """The best of all becomes the elite, whether or not there is time for the components of
        the next best.
        """
        layout = self.layout
        order = np.argsort(energies, kind="stable")[:ABSORBED]
        states, energies = states[order], energies[order]
        if energies[0] < self.energies[deme]:
            self.elites[deme], states[0] = states[0].copy(), self.elites[deme].copy()
            self.energies[deme] = energies[0]
        for state in states:
            if self.control.remaining() <= 0:
                break
            falls = absorb(
                layout.indptr, layout.indices, layout.weights, layout.biases, self.symmetric,
                self.elites[deme], state[None], self.state,
            )  # fmt: skip
            self.energies[deme] -= falls * layout.numbers.scale
        self.control.improve(float(self.energies[deme]))
